//! Scenarios of the whole vault.

mod life;
mod peer;
