//! `GuardedHttp` against servers that misbehave on purpose, all on loopback.

mod addresses;
mod exchange;
mod limits;
mod once;
mod proxy;
mod server;
mod tls;
