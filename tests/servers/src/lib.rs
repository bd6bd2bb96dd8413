//! Private database servers for tests.
//!
//! Each runs in a temporary folder on a free loopback port, and stops when its value is dropped. It also stops, and its
//! folder goes, when this program ends in any other way, `kill -9` included. A test can kill a server, start it again on
//! the same port with the same data, pause it, or promote its replica:
//!
//! ```no_run
//! use vault_servers::postgres::{Options, Postgres};
//!
//! # fn main() -> vault_servers::Result<()> {
//! let mut primary = Postgres::start(&Options::durable())?;
//! let mut standby = primary.standby()?;
//! primary.kill()?;
//! standby.promote()?;
//! println!("{}", standby.url());
//! # Ok(())
//! # }
//! ```
//!
//! The servers' programs must be installed: [`packages::install`] does that as root on Debian, and `cargo xtask test`
//! calls it first. Every call here blocks; from async code use `spawn_blocking`. The crate is made for Linux: pausing a
//! server and waiting for the processes of a killed one read `/proc`.
#![expect(
    clippy::missing_errors_doc,
    reason = "they are all alike: what failed, and the end of the server's log"
)]

pub mod cluster;
mod daemon;
mod folder;
pub mod packages;
pub mod pgbouncer;
mod poll;
mod port;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod resp;
pub mod sentinel;
mod sql;

use std::error::Error;

/// What a call came to, or a text that says what failed.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
