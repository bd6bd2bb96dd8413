//! The token read, and the refresh behind it.
//!
//! A read that finds a token good enough is one store round trip and nothing else. Otherwise one refresh runs for
//! everybody who waits, in a task of its own:
//!
//! | step | what | where |
//! |---|---|---|
//! | 0 | read; good enough: answer | `read` |
//! | 1 | join the flight of this connection and generation, or start it | `flight` |
//! | 2 | the driver runs detached; callers wait, each with a deadline | `flight` |
//! | 3 | take the store's lease, or wait for whoever has it | `driver` |
//! | 4 | read again, from the primary: gone, moved or marked ends it here | `driver` |
//! | 5-7 | attempt marker, settle, send gate | not yet |
//! | 8 | ask the provider, at the origin that the grant came from | `driver` |
//! | 9 | new tokens: write until durable, unless the connection moved on | `persist` |
//! | 10 | refused: believed only after one more read | `driver` |
//! | 11 | anything else: nothing is known against the grant; back off | `driver` |
//! | 12 | release the lease, publish | `driver` |
//!
//! Locks: the flight map's mutex is held for a look-up and never across an await.

pub mod decide;
mod driver;
mod due;
mod flight;
mod judge;
mod persist;
mod read;
pub(crate) mod schedule;

pub(crate) use self::due::refresh_due;
pub(crate) use self::flight::Flights;
pub use self::read::TokenRequest;
pub(crate) use self::read::report_rejected;
