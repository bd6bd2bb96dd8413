//! Scenarios of the whole vault.

mod accounts;
mod callback;
mod connect;
mod connectors;
mod disconnect;
mod life;
mod maintenance;
mod peer;
mod persist;
mod refresh;
mod sealing;
mod storage;
mod store_calls;
