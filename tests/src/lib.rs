//! What the scenarios share: a whole vault on SQLite against the simulated provider, on a manual clock, with every store
//! call open to faults, and a search for secrets in everything that came out of it.

mod canary;
mod checks;
mod world;

pub use self::canary::Canary;
pub use self::checks::assert_refused;
pub use self::world::{BINDING, World, WorldBuilder, binding, other_binding};
