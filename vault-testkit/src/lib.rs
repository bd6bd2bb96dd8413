//! Prove a storage backend, and drive a vault through every fault that a store can have.

pub mod clock;
pub mod conformance;
pub mod faults;
