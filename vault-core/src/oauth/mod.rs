//! Requests to and replies from an authorization server. Crate-private: none of the `oauth2` crate's types get out.
//!
//! The RFC work is the `oauth2` crate's; what providers do differently is applied around it.

mod cached;
pub(crate) mod discovery;
mod document;
pub(crate) mod id_token;
pub(crate) mod jwks;
#[cfg(test)]
mod scripted;
mod types;
pub(crate) use self::types::{Account, Failure, FailureClass, Grant, RevokeOutcome, TokenReply};
