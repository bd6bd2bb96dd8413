//! Scenarios of the whole vault.

mod callback;
mod connect;
mod life;
