//! What the scenarios share: a whole vault, on SQLite or any other backend, against the simulated provider, on a manual
//! clock, with every store call open to faults, and a search for secrets in everything that came out of it.

#![expect(clippy::missing_panics_doc, reason = "a harness for tests: it panics when the test has failed")]

pub mod backend;
mod canary;
pub mod changes;
pub mod chaos;
mod checks;
pub mod crowd;
pub mod load;
mod polled;
pub mod servers;
mod world;

pub use self::canary::Canary;
pub use self::checks::assert_refused;
pub use self::polled::polled;
pub use self::world::{
    BINDING, CACHES, Events, KEYS, World, WorldBuilder, binding, other_binding, run_on, run_until,
};

/// The README's program, run as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
