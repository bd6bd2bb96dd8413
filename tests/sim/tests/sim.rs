//! The short form for CI.
