//! `cargo xtask sim`: the deterministic simulation of the whole vault.

use std::process::ExitCode;

use crate::Result;
use crate::context::Context;

/// `args` are the program's own: `--seed N`, `--seeds K`, `--steps S`, `--history FOLDER`.
pub(crate) fn run(args: &[&str]) -> Result<ExitCode> {
    let context = Context::new()?;
    let mut cargo = context.cargo();
    cargo.args(["run", "--locked", "--release", "-p", "vault-sim", "--"]).args(args);
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
