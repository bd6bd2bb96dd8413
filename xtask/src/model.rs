//! `cargo xtask model`: the refresh protocol in every provider mode, with two and three processes.

use std::process::ExitCode;

use crate::Result;
use crate::context::Context;

/// Runs the model checker, which prints its own table. All is well only when every property holds.
pub(crate) fn run() -> Result<ExitCode> {
    let mut cargo = Context::new()?.cargo();
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "vault-model"]);
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
