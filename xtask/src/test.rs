//! `cargo xtask test`.
//!
//! Every cargo command here selects the whole workspace with its dev-dependencies, so that all of them see the same
//! features and nothing is compiled twice.

use std::fs;
use std::process::{Command, ExitCode};

use crate::context::run;
use crate::session::Session;
use crate::{Result, bench, servers};

/// Every test, then the benches and the quickstart as smoke tests.
pub(crate) fn everything() -> Result<ExitCode> {
    let mut run = Run::start()?;
    run.cargo_test(&["--workspace", "--no-fail-fast"]);
    // Without `cargo bench`'s own flag a criterion bench runs each function once.
    run.cargo_test(&["--workspace", "--bench", "*"]);
    run.step("quickstart", |run| quickstart(&run.session));
    Ok(run.finish())
}

/// `cargo test` with arguments of one's own.
pub(crate) fn some(args: &[&str]) -> Result<ExitCode> {
    let mut run = Run::start()?;
    run.cargo_test(args);
    Ok(run.finish())
}

/// The example must work from nothing, and again with the data that it left.
fn quickstart(session: &Session) -> Result<()> {
    // `--examples` is what makes cargo resolve features with dev-dependencies, as for the tests.
    let mut build = session.context.cargo();
    run(build.args(["build", "--locked", "--workspace", "--bins", "--examples"]))?;
    let data = session.context.scratch().join("quickstart");
    fs::create_dir(&data)?;
    for _ in 0..2 {
        let mut command = Command::new(session.context.bins().join("quickstart"));
        run(session.with_servers(command.arg("--script").arg("--dir").arg(&data)))?;
    }
    Ok(())
}

/// The running servers, and what came of the tests.
#[derive(Debug)]
struct Run {
    session: Session,
    tally: Tally,
}

impl Run {
    fn start() -> Result<Self> {
        Ok(Self { session: Session::start()?, tally: Tally::default() })
    }

    fn cargo_test(&mut self, args: &[&str]) {
        if has_benches(args) {
            let build = |run: &mut Self| bench::tell_of_others(&mut run.session, bench::Profile::Dev);
            self.step("what benches compare", build);
        }
        let args = without_absent(args, servers::valkey().is_some());
        self.step(&format!("cargo test {}", args.join(" ")), |run| {
            run.session.cargo_test(&args, |line| run.tally.add(line))
        });
    }

    /// A failed step counts as a failed test, unless it has counted its own.
    fn step(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<()>) {
        eprintln!("\n=== {name}");
        let failed = self.tally.failed;
        if let Err(error) = work(self) {
            eprintln!("xtask: {name}: {error}");
            self.tally.failed = self.tally.failed.max(failed + 1);
        }
    }

    fn finish(self) -> ExitCode {
        let Tally { passed, failed } = self.tally;
        self.session.finish(failed > 0);
        println!("\n{passed} passed, {failed} failed");
        if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Leaves the tests of a server out that this machine does not have. A bench takes no such argument, and has no such
/// test.
fn without_absent<'a>(args: &[&'a str], valkey: bool) -> Vec<&'a str> {
    let mut args = args.to_vec();
    if !valkey && !has_benches(&args) {
        if !args.contains(&"--") {
            args.push("--");
        }
        args.extend(["--skip", "conformance::valkey::"]);
    }
    args
}

fn has_benches(args: &[&str]) -> bool {
    args.iter().take_while(|arg| **arg != "--").any(|arg| arg.starts_with("--bench"))
}

/// Tests over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// A line such as `test result: ok. 8 passed; 0 failed; 1 ignored; …`; any other changes nothing.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let count = |word| {
            let found =
                result.split(['.', ';']).find_map(|part| part.strip_suffix(word)?.trim().parse::<u64>().ok());
            found.unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_an_absent_server_are_left_out() {
        let skip = ["--skip", "conformance::valkey::"];
        assert_eq!(
            without_absent(&["-p", "a", "name"], false),
            [&["-p", "a", "name", "--"], &skip[..]].concat()
        );
        assert_eq!(without_absent(&["--", "--exact"], false), [&["--", "--exact"], &skip[..]].concat());
        for (args, valkey) in [(["--workspace", "--bench", "*"], false), (["-p", "a", "name"], true)] {
            assert_eq!(without_absent(&args, valkey), args);
        }
    }

    #[test]
    fn a_tally_adds_result_lines_and_nothing_else() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests\n",
            "test result: ok. 40 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.31s\n",
            "test a::b ... FAILED\n",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n",
            "said: test result: ok. 9 passed; 9 failed\n",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 42, failed: 3 });
    }
}
