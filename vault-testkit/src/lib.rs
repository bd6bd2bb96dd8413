//! Prove a storage backend, and drive a vault against a simulated provider through every fault that either can have.

pub mod clock;
pub mod conformance;
pub mod faults;
pub mod simulator;
