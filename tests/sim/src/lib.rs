//! The whole vault, several processes of it, on a simulated clock, store and network. Everything that happens is decided
//! by a seed: the same seed is the same run, entry by entry.
//!
//! Whatever a vault waits for is a call to a store or a provider, a sleep, or another task of the same process. Here a
//! call leaves, takes effect and is answered at three moments of the kernel's choice, in any order with all others; it
//! may be lost on either way; the process may be stopped, suspended or killed in between. So there is a fault at every
//! await. The providers keep the rules of six modes and tag every token with whom it was issued to.
//!
//! A run is a storm of `steps` steps, then a calm of hours in which nothing fails. [`check`] then judges the history.
//!
//! What it does not do: real parallelism (a process runs until it waits), real stores, replicas that lag, a store that
//! loses acknowledged writes, clocks that run at different rates.

mod audit;
mod call;
pub mod check;
mod clock;
mod history;
mod http;
mod kernel;
mod process;
mod provider;
mod rng;
mod setup;
mod spill;
mod store;
mod trouble;
mod users;
mod weather;
mod world;

use std::collections::BTreeMap;

use self::check::Verdict;
pub use self::history::History;
pub use self::provider::Mode;

/// What to run.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "all that there is to choose")]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// How long the storm is.
    pub steps: u64,
    /// A fault that no vault can survive, to see that the checker sees it.
    pub plant: Option<Plant>,
}

/// A broken world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plant {
    /// The store writes whatever version stands there.
    IgnoreVersions,
    /// The provider now and then gives somebody another user's tokens.
    SwapTokens,
}

/// What came of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Run {
    /// What happened.
    pub history: History,
    /// What is to be said about it.
    pub verdict: Verdict,
    /// How often which fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// Steps in all, the calm included.
    pub steps: u64,
}

/// Runs a seed to its end and judges it.
///
/// # Panics
/// When the simulation itself cannot be set up.
#[must_use]
pub fn run(options: Options) -> Run {
    let mut kernel = setup::kernel(options);
    kernel.run();
    let steps = kernel.steps;
    let modes: Vec<_> = kernel.lock().conns.iter().map(|conn| conn.mode).collect();
    let (history, faults) = {
        let mut world = kernel.lock();
        (std::mem::take(&mut world.history), std::mem::take(&mut world.faults))
    };
    drop(kernel);
    let verdict = check::check(&history, &modes);
    Run { history, verdict, faults, steps }
}
