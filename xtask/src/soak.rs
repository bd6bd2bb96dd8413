//! `cargo xtask soak`: what many cycles and many connections leave behind and take.

use std::process::ExitCode;

use crate::Result;
use crate::session::Session;

/// `args` are the program's own: `--cycles N`, `--rows N`. It prints its own tables.
pub(crate) fn run(args: &[&str]) -> Result<ExitCode> {
    let session = Session::start()?;
    let mut cargo = session.context.cargo();
    cargo.args(["run", "--locked", "--release", "-p", "vault-soak", "--"]).args(args);
    let status = session.with_servers(&mut cargo).status();
    session.finish(!status.as_ref().is_ok_and(|status| status.success()));
    let status = status.map_err(|error| format!("cannot run cargo: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
