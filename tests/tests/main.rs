//! Scenarios of the whole vault.

mod accounts;
mod backends;
mod callback;
mod conformance;
mod connect;
mod connectors;
mod differential;
mod disconnect;
mod discovery;
mod explain;
mod http;
mod life;
mod maintenance;
mod outages;
mod peer;
mod persist;
mod postgres;
mod protocol;
mod refresh;
mod sealing;
mod storage;
mod store_calls;
mod token_refusals;
mod token_replies;
