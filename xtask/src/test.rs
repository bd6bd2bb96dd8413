//! `cargo xtask test`.
//!
//! Every cargo command here selects the whole workspace with its dev-dependencies, so that all of them see the same
//! features and nothing is compiled twice.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::{fs, mem};

use crate::Result;
use crate::context::{Context, run};
use crate::servers::{self, Server};

/// Every test, then the benches and the quickstart as smoke tests.
pub(crate) fn everything() -> Result<ExitCode> {
    let mut session = Session::start()?;
    session.cargo_test(&["--workspace", "--no-fail-fast"]);
    // Without `cargo bench`'s own flag a criterion bench runs each function once.
    session.cargo_test(&["--workspace", "--bench", "*"]);
    session.step("quickstart", quickstart);
    Ok(session.finish())
}

/// `cargo test` with arguments of one's own.
pub(crate) fn some(args: &[&str]) -> Result<ExitCode> {
    let mut session = Session::start()?;
    session.cargo_test(args);
    Ok(session.finish())
}

/// The example must work from nothing, and again with the data that it left.
fn quickstart(session: &mut Session) -> Result<()> {
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

/// The running servers, and what came of the tests. The servers are declared first, to stop before their folder goes.
#[derive(Debug)]
struct Session {
    servers: Vec<Server>,
    context: Context,
    tally: Tally,
}

impl Session {
    fn start() -> Result<Self> {
        let context = Context::new()?;
        Ok(Self { servers: servers::start(&context)?, context, tally: Tally::default() })
    }

    fn cargo_test(&mut self, args: &[&str]) {
        self.step(&format!("cargo test {}", args.join(" ")), |session| {
            let mut command = session.context.cargo();
            let command = session.with_servers(command.args(["test", "--locked"]).args(args));
            session.tally.follow(command)
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

    fn with_servers<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let env = self.servers.iter().flat_map(|server| &server.env);
        command.envs(env.map(|(name, value)| (name, value))).stdin(Stdio::null())
    }

    fn finish(self) -> ExitCode {
        let Self { servers, context, tally: Tally { passed, failed } } = self;
        drop(servers);
        if failed > 0 {
            eprintln!("\nthe servers' logs are in {}", context.scratch().display());
            mem::forget(context);
        }
        println!("\n{passed} passed, {failed} failed");
        if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Tests over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Runs a test command, passes its output on as it comes, and counts.
    fn follow(&mut self, command: &mut Command) -> Result<()> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("the child has no stdout")?);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line)? > 0 {
            io::stdout().write_all(&line)?;
            self.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(status.to_string().into()) }
    }

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
