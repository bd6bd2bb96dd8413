//! Stub.

pub mod simulator;
