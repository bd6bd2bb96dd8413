//! The token read, and the refresh behind it.
//!
//! A read that finds a token good enough is one store round trip and nothing else, or not even that with a
//! [`TokenCache`](crate::TokenCache). Otherwise one refresh runs for
//! everybody who waits, in a task of its own:
//!
//! | step | what | where |
//! |---|---|---|
//! | 0 | read; good enough: answer | `request` |
//! | 1 | join the flight of this connection and generation, or start it | `flight` |
//! | 2 | the driver runs detached; callers wait, each with a deadline | `flight` |
//! | 3 | take the store's lease, or wait for whoever has it | `driver`, `lease` |
//! | 4 | the record as it came with the lease, or from the primary: gone, moved or marked ends it here | `ready` |
//! | 5 | somebody sent this refresh token and did not write how it ended: wait until it has | `ready` |
//! | 6 | write the attempt marker | `send` |
//! | 7 | send gate: only while the lease certainly outlives the request | `send`, `lease` |
//! | 8 | ask the provider, at the origin that the grant came from | `send` |
//! | 9 | new tokens: write until durable, unless the connection moved on | `persist`, `keep`, `import` |
//! | 10 | refused: believed only after one more read, and when no alternate is left | `outcome` |
//! | 11 | anything else: nothing is known against the grant; back off | `outcome` |
//! | 12 | release the lease, unless the write of new tokens did; publish | `driver`, `lease` |
//!
//! What to do at each step is decided in `decide`, which does no I/O: a model checker runs the same functions. What a
//! record remembers of its refreshes is `state`.
//!
//! Locks: the flight map's mutex is held for a look-up and never across an await.

mod breaker;
pub mod decide;
mod driver;
mod due;
mod flight;
mod import;
mod keep;
mod lease;
mod merge;
mod outcome;
mod persist;
mod read;
mod ready;
mod request;
pub(crate) mod schedule;
mod send;
mod spill;
mod state;

pub(crate) use self::breaker::Breakers;
pub(crate) use self::due::refresh_due;
pub(crate) use self::flight::Flights;
pub(crate) use self::import::import;
pub(crate) use self::read::report_rejected;
pub use self::request::{TokenFuture, TokenRequest};
pub use self::spill::{Spill, SpillFolder, Spilled};
pub(crate) use self::state::State;
