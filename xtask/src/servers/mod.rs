//! The servers that tests talk to. A new one is a module with a `start`, and a line in [`ALL`].

mod oidc_provider;
mod process;

use crate::Result;
use crate::context::Context;
use process::Process;

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    /// What tells the tests where it is.
    pub(crate) env: Vec<(&'static str, String)>,
    _process: Process,
}

type Start = fn(&Context) -> Result<Server>;

const ALL: &[(&str, Start)] = &[("oidc-provider", oidc_provider::start)];

/// Starts all of them, each on a free loopback port. Returns when they answer.
pub(crate) fn start(context: &Context) -> Result<Vec<Server>> {
    ALL.iter()
        .map(|(name, start)| start(context).map_err(|error| format!("cannot start {name}: {error}").into()))
        .collect()
}
