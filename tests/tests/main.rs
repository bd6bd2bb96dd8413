//! Scenarios of the whole vault.

mod conformance;
mod accounts;
mod callback;
mod connect;
mod connectors;
mod disconnect;
mod discovery;
mod http;
mod life;
mod maintenance;
mod peer;
mod persist;
mod refresh;
mod sealing;
mod storage;
mod store_calls;
mod token_refusals;
mod token_replies;
