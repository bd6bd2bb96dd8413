//! Every backend against the contract. `cargo xtask conformance` prints what comes of it as a table.

mod memory;
mod pgbouncer;
mod postgres;
mod sqlite;
