//! The servers that tests talk to. A new one is a function that starts it, and a line in [`ALL`].

mod databases;
mod oidc_provider;

use std::any::Any;
use std::ffi::OsString;
use std::{env, fmt, thread};

use vault_servers::packages;

use crate::Result;
use crate::context::Context;

/// The variable that names a Valkey server's program: Debian 12 has no package of it.
const VALKEY: &str = "VALKEY_SERVER";

/// A running server. Dropping it stops it.
pub(crate) struct Server {
    /// What tells the tests where it is.
    pub(crate) env: Vec<(&'static str, String)>,
    _running: Box<dyn Any + Send>,
}

impl Server {
    fn new(env: Vec<(&'static str, String)>, running: impl Any + Send) -> Self {
        Self { env, _running: Box::new(running) }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("env", &self.env).finish_non_exhaustive()
    }
}

type Start = fn(&Context) -> Result<Server>;

const ALL: &[(&str, Start)] = &[
    ("oidc-provider", oidc_provider::start),
    ("postgres", databases::postgres),
    ("redis", databases::redis),
    ("redis-evicting", databases::redis_evicting),
    ("redis-cluster", databases::redis_cluster),
    ("redis-sentinel", databases::redis_sentinel),
];

/// Starts all of them at once, each on free loopback ports. Returns when they answer.
pub(crate) fn start(context: &Context) -> Result<Vec<Server>> {
    packages::install()?;
    let mut all = ALL.to_vec();
    if valkey().is_some() {
        all.push(("valkey", databases::valkey));
    } else {
        eprintln!(
            "{VALKEY} names no program: there is no Valkey, and its tests (conformance::valkey) are left out"
        );
    }
    thread::scope(|scope| {
        let starting: Vec<_> =
            all.iter().map(|(name, start)| (name, scope.spawn(move || start(context)))).collect();
        // All of them are waited for: when one fails, the others stop.
        let started: Vec<Result<Server>> = starting
            .into_iter()
            .map(|(name, server)| {
                let server = server.join().unwrap_or_else(|_| Err("its thread panicked".into()));
                server.map_err(|error| format!("cannot start {name}: {error}").into())
            })
            .collect();
        started.into_iter().collect()
    })
}

/// Starts those that benches compare, each with nothing else to do.
pub(crate) fn start_for_benches(context: &Context) -> Result<Vec<Server>> {
    packages::install()?;
    databases::for_benches(context)
}

/// Valkey's program, where there is one.
pub(crate) fn valkey() -> Option<OsString> {
    env::var_os(VALKEY).filter(|program| !program.is_empty())
}
