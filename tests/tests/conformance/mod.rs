//! Every backend against the contract. `cargo xtask conformance` prints what comes of it as a table.

mod memory;
mod mixed;
mod pgbouncer;
mod postgres;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod sqlite;
mod valkey;
