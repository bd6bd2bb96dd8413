//! What an authorization server said, in the vault's own words.

use std::collections::BTreeMap;
use std::time::Duration;

use super::account::account_from_claims;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::provider::spec::{IdentitySource, Spec};
use crate::secret::SecretString;

/// A token set as received. Expiries are absolute, counted from the local time of receipt.
#[derive(Debug)]
pub(crate) struct TokenReply {
    pub(crate) access_token: SecretString,
    /// `None` when the reply has none, an empty one or null: the old one stays in force.
    pub(crate) refresh_token: Option<SecretString>,
    /// `None` when unknown or never.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) refresh_expires_at: Option<Timestamp>,
    pub(crate) earliest_refresh_at: Option<Timestamp>,
    /// `None` when the reply does not say: as requested (RFC 6749 5.1).
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) id_token: Option<SecretString>,
    /// Non-secret captured fields: the connection config.
    pub(crate) config: BTreeMap<String, String>,
    /// Captured fields that are secrets themselves (webhook URLs and such).
    pub(crate) secrets: BTreeMap<String, SecretString>,
    /// The whole reply, for providers whose account identity stands in it.
    pub(crate) body: ReplyBody,
}

/// A reply's JSON. It holds tokens: wiped on drop, not shown.
pub(crate) struct ReplyBody(pub(crate) serde_json::Value);

impl TokenReply {
    /// Whom the reply says it is about, where it says so. An `id_token` in it is not verified: what it says can only
    /// speak against the reply, which came from the token endpoint over TLS.
    pub(crate) fn account_id(&self, spec: &Spec) -> Option<String> {
        match spec.identity.source {
            IdentitySource::TokenResponse => {
                account_from_claims(spec, &self.body.0).map(|account| account.id)
            }
            IdentitySource::IdToken => account_from_claims(spec, &self.claims()?).map(|account| account.id),
            IdentitySource::Userinfo if spec.identity.id.first().is_some_and(|id| id == "/sub") => {
                Some(self.claims()?.get("sub")?.as_str()?.to_owned())
            }
            _ => None,
        }
    }

    fn claims(&self) -> Option<serde_json::Value> {
        use base64::Engine as _;
        let payload = self.id_token.as_ref()?.expose_secret().split('.').nth(1)?;
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
        serde_json::from_slice(&payload).ok()
    }
}

/// One of the grants that a consent yielded; the first has no name of its own and goes into the flow's slot.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) slot: Option<String>,
    pub(crate) reply: TokenReply,
}

/// The account at the provider.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
}

/// How a revocation ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevokeOutcome {
    /// The token is dead, or was unknown.
    Revoked,
    /// The provider cannot revoke; this is final.
    Unsupported,
}

/// A request that did not bring what was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) class: FailureClass,
    /// What the caller of the vault sees. Carries no body.
    pub(crate) error: Error,
}

/// What a failure means for the grant (`ARCHITECTURE.md`, classification).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureClass {
    /// The provider refuses the OAuth client. No grant is at fault.
    ClientMisconfigured,
    /// Whether the server acted is unknown.
    Indeterminate,
    /// The provider wants the user.
    InteractionRequired,
    /// The provider says that the grant is dead.
    InvalidGrant,
    /// Nothing left this machine.
    NotSent,
    /// The server refused for now and did not act.
    Throttled(Option<Duration>),
}

impl Failure {
    pub(crate) fn new(
        class: FailureClass,
        kind: ErrorKind,
        message: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Self {
        let error = Error::new(kind, message);
        let error = match class {
            FailureClass::Throttled(after) => error.with_retry_after(after),
            _ => error,
        };
        Self { class, error }
    }
}

/// For what could not even be sent.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { class: FailureClass::NotSent, error }
    }
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut serde_json::Value) {
    use serde_json::Value;
    use zeroize::Zeroize as _;
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
