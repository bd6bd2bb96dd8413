//! What the benches measure, and how: every figure of the vault's beside its floor, in the same run.
//!
//! A [`group::Group`] holds contestants that do the same work, the vault's first. Two runners take groups: the
//! [interleaving one](interleave), whose figures `cargo xtask bench` publishes, and [criterion's](criterion), for a look
//! at one place and for smoke tests. [`groups`] has what is measured, [`backend`] how each store is seeded and read
//! without a vault, [`targets`] what is promised.
#![allow(
    missing_docs,
    missing_debug_implementations,
    reason = "no interface: the programs of this package use it"
)]
#![expect(
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "no interface: the programs of this package use it"
)]

pub mod backend;
pub mod cipher;
pub mod circumstances;
pub mod criterion;
pub mod external;
pub mod group;
pub mod groups;
pub mod interleave;
pub mod operation;
pub mod placement;
pub mod plan;
pub mod provider;
pub mod report;
pub mod scale;
pub mod servers;
pub mod setup;
pub mod targets;
pub mod vault;
