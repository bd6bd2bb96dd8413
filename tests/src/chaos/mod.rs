//! Real processes that share one storage and are killed, stopped and cut off at their worst moments.
//!
//! A test starts an [`Arena`]: the simulated provider on a real port, and a storage. Each of its [`Worker`]s is a process
//! with a vault of its own, which the test tells what to do over stdin and hears from over stdout ([`protocol`]). A worker
//! can be told to die or to stop at a named step of connect, refresh or disconnect ([`steps`]), and a [`Relay`] between it
//! and a server to be cut. What happened is asked of the provider, whose log says which refresh token was spent how often.

mod arena;
mod clock;
mod desk;
mod process;
pub mod protocol;
mod relay;
mod report;
pub mod steps;
mod storage;
mod worker;

pub use self::arena::{Arena, Options, Sends};
pub use self::clock::SkipClock;
pub use self::process::{Died, Worker};
pub use self::relay::Relay;
pub use self::report::{Tally, sized};
pub use self::storage::{Kind, Storage};
pub use self::worker::run;
