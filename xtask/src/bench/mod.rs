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
    let bench = build_bench(&session.context)?;
    tell_of_others(&mut session, Profile::Release)?;
    let outcome = work(&session, &bench, &wanted);
    session.finish(outcome.is_err());
    outcome
}

/// Builds the program of `benches/peers`, and tells the benches of it and of what else they compare.
pub(crate) fn tell_of_others(session: &mut Session, profile: Profile) -> Result<()> {
    let target = session.context.bins().join("../peers");
    let mut cargo = session.context.cargo();
    cargo.args(["build", "--locked", "--manifest-path", "benches/peers/Cargo.toml", "--target-dir"]);
    cargo.arg(&target).args((profile == Profile::Release).then_some("--release"));
    run_to_end(&mut cargo)?;
    let folder = if profile == Profile::Release { "release" } else { "debug" };
    session.tell("VAULT_BENCH_PEERS", target.join(folder).join("vault-bench-peers").display().to_string());
    session.tell("VAULT_BENCH_STARTER", std::process::id().to_string());
    session.tell("VAULT_BENCH_PGBENCH", packages::pgbench()?.display().to_string());
    Ok(())
}

/// How `benches/peers` is built: it shares nothing with the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

fn work(session: &Session, program: &Path, wanted: &Wanted) -> Result<ExitCode> {
    let (docs, kept) = (session.context.root().join("docs"), session.context.cache("bench")?);
    if wanted.profile {
        return profile::run(session, program, &kept);
    }
    let bench = |args: &[&OsStr]| {
        let mut command = Command::new(program);
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

fn build_bench(context: &Context) -> Result<PathBuf> {
    let target = context.bins().join("..");
    let mut cargo = context.cargo();
    cargo.args(["build", "--locked", "--release", "--target-dir"]).arg(&target);
    run_to_end(cargo.args(["--package", "vault-benches", "--bin", "vault-bench"]))?;
    Ok(target.join("release/vault-bench"))
}
