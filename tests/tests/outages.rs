//! Servers that die, move and fill up under load. Each test has servers of its own.

mod cluster;
mod postgres;
mod redis;
mod sentinel;
pub(crate) mod support;
