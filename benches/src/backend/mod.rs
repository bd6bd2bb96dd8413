//! Each store: how it is opened and filled, and the least that a read of it costs without a vault.

pub mod memory;
pub mod postgres;
pub mod redis;
mod sql;
pub mod sqlite;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other set-up has, of this run or another.
fn namespace() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("b{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}
