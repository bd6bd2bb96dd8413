//! `cargo xtask bench`: servers, release builds, and the program of `benches/` that measures.

mod profile;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use vault_servers::packages;

use crate::Result;
use crate::context::{Context, run as run_to_end};
use crate::session::Session;

/// What the flags ask for.
#[derive(Debug, Default)]
struct Wanted {
    check: bool,
    quick: bool,
    scale: bool,
    profile: bool,
}

impl Wanted {
    fn of(flags: &[&str]) -> Result<Self> {
        let mut wanted = Self::default();
        for flag in flags {
            *match *flag {
                "--check" => &mut wanted.check,
                "--quick" => &mut wanted.quick,
                "--scale" => &mut wanted.scale,
                "--profile" => &mut wanted.profile,
                other => {
                    return Err(format!("bench has no flag `{other}`; `cargo xtask help` lists them").into());
                }
            } = true;
        }
        Ok(wanted)
    }

    fn plan(&self) -> &'static str {
        if self.quick { "quick" } else { "full" }
    }
}

pub(crate) fn run(flags: &[&str]) -> Result<ExitCode> {
    let wanted = Wanted::of(flags)?;
    let mut session = Session::for_benches()?;
    let programs = Programs::build(&session.context)?;
    session.tell("VAULT_BENCH_PEERS", programs.peers.display().to_string());
    session.tell("VAULT_BENCH_STARTER", std::process::id().to_string());
    session.tell("VAULT_BENCH_PGBENCH", packages::pgbench()?.display().to_string());
    let outcome = work(&session, &programs, &wanted);
    session.finish(outcome.is_err());
    outcome
}

fn work(session: &Session, programs: &Programs, wanted: &Wanted) -> Result<ExitCode> {
    let (docs, kept) = (session.context.root().join("docs"), session.context.cache("bench")?);
    if wanted.profile {
        return profile::run(session, &programs.bench, &kept);
    }
    let bench = |args: &[&OsStr]| {
        let mut command = Command::new(&programs.bench);
        command.args(args).current_dir(session.context.root());
        session.with_servers(&mut command);
        command
    };
    let plan = OsStr::new(wanted.plan());
    if wanted.scale {
        run_to_end(&mut bench(&["scale".as_ref(), plan, docs.join("scale.md").as_ref()]))?;
        return Ok(ExitCode::SUCCESS);
    }
    let results = kept.join(wanted.plan()).with_extension("json");
    let page = if wanted.quick { kept } else { docs };
    run_to_end(&mut bench(&["run".as_ref(), plan, results.as_ref()]))?;
    run_to_end(&mut bench(&["report".as_ref(), results.as_ref(), page.as_ref()]))?;
    println!("{}", page.join("performance.md").display());
    let checked = bench(&["check".as_ref(), results.as_ref()]).status()?;
    Ok(if checked.success() || !wanted.check { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Built for release.
#[derive(Debug)]
struct Programs {
    bench: PathBuf,
    peers: PathBuf,
}

impl Programs {
    fn build(context: &Context) -> Result<Self> {
        let target = context.bins().join("..");
        let build = |args: &[&str], target: &Path| {
            let mut cargo = context.cargo();
            cargo.args(["build", "--locked", "--release", "--target-dir"]).arg(target).args(args);
            run_to_end(&mut cargo)
        };
        build(&["--package", "vault-benches", "--bin", "vault-bench"], &target)?;
        let apart = target.join("peers");
        build(&["--manifest-path", "benches/peers/Cargo.toml"], &apart)?;
        Ok(Self { bench: target.join("release/vault-bench"), peers: apart.join("release/vault-bench-peers") })
    }
}
