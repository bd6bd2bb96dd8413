//! Providers as data.
pub(crate) mod endpoints;
pub(crate) mod spec;
