//! Requests to and replies from an authorization server. Crate-private: none of the `oauth2` crate's types get out.
//!
//! The RFC work is the `oauth2` crate's: authorization URL, PKCE, client authentication, the token and revocation
//! requests, and the RFC 6749 token reply. What providers do differently is applied around it: a request passes through
//! `rewrite` on its way out, a reply through `reply` on its way in. Two things stay outside the crate:
//! - Error replies. What one means depends on its status, the provider's own rules and the phase (`classify`), and the
//!   crate's errors carry the whole body, which may echo a token.
//! - What RFC 6749 has no field for: expiry forms, captured fields, several grants in one reply, `id_token`, and the
//!   revocation shapes that are not RFC 7009.
//!
//! The crate does not wipe its copies of tokens and secrets; ours are.

mod account;
mod authorize;
mod cached;
mod classify;
mod client;
mod discovery;
mod document;
mod expiry;
mod grant;
mod id_token;
mod json;
mod jwks;
mod reply;
mod revoke;
mod rewrite;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token;
mod types;
mod wire;

pub(crate) use self::account::account_from_claims;
pub(crate) use self::authorize::{AuthorizeRequest, asked_scopes, new_verifier};
pub(crate) use self::client::{Client, ExchangeRequest, RefreshRequest};
pub(crate) use self::discovery::{Discovery, Metadata};
pub(crate) use self::id_token::{Expected, validate as validate_id_token};
pub(crate) use self::jwks::Jwks;
pub(crate) use self::revoke::RevokeTokens;
pub(crate) use self::types::{Account, Failure, FailureClass, Grant, RevokeOutcome, TokenReply};
