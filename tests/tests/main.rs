//! Scenarios of the whole vault.

mod accounts;
mod callback;
mod connect;
mod connectors;
mod life;
