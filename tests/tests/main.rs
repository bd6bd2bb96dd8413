//! Scenarios of the whole vault.

mod discovery;
mod http;
mod life;
mod peer;
mod token_refusals;
mod token_replies;
