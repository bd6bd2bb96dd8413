//! One error for everything an application calls.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::entropy::EntropyError;
use crate::id::IdError;

type Source = Arc<dyn StdError + Send + Sync>;

/// Why an operation of the vault failed.
///
/// [`kind`](Self::kind) is what to branch on. `Display` is one lowercase line that names the offending thing, without
/// the source; neither it nor any source carries a token, a secret or a body. Cloning is cheap: everybody who waited for
/// the same refresh gets the same error.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    source: Option<Source>,
}

/// What a caller would branch on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The user authorized, or the provider answered for, another account than the connection's.
    AccountMismatch,
    /// What was asked for is done, but the audit trail does not have it: the sink failed or took too long. Asking again
    /// shows how things stand.
    AuditUnavailable,
    /// The connector is switched off, or not for this kind of owner.
    ConnectorDisabled,
    /// Another writer kept winning; the same call may succeed now.
    Contended,
    /// A stored record does not open: truncated, edited, moved, or in an unknown format. It is left as it is.
    CorruptRecord,
    /// The provider denied the authorization, usually because the user said no.
    Denied,
    /// An endpoint of the provider may not be used: its address, scheme, certificate, or a change of host.
    EndpointRefused,
    /// The user disconnected, or was removed, while the browser was at the provider.
    FlowCancelled,
    /// The authorization took too long.
    FlowExpired,
    /// The `id_token` did not stand up to validation.
    IdTokenInvalid,
    /// The callback came from another authorization server than the flow went to, or does not say which.
    IssuerMismatch,
    /// The callback is not one that an honest browser brings: parameters missing, doubled, oversized.
    InvalidCallback,
    /// Configuration that cannot be used: keys, providers, the builder's options.
    InvalidConfig,
    /// An argument that cannot be used.
    InvalidInput,
    /// The key that sealed a record is not in the key ring, or a key service is away. The data is intact.
    KeyUnavailable,
    /// The provider granted less than is required.
    MissingScopes {
        /// What is missing.
        missing: Vec<String>,
    },
    /// Another connector of the tenant has that name.
    NameTaken,
    /// The user has to authorize again.
    NeedsReauthorization {
        /// Why.
        reason: ReauthReason,
    },
    /// There is no such connection.
    NotConnected,
    /// The provider refuses the OAuth client itself: credentials, redirect URI, grant type. No connection is at fault.
    ProviderMisconfigured,
    /// The provider answered with something that is not a token reply.
    ProviderReplyInvalid,
    /// The provider is down, slow or throttling.
    ProviderUnavailable,
    /// No secure random bytes. Nothing was stored.
    RandomUnavailable,
    /// Another process is refreshing, and did not finish within the caller's time.
    RefreshInProgress,
    /// The callback arrived in another session than the one that started the flow. The flow is closed.
    SessionMismatch,
    /// The data key was destroyed; what it sealed is gone for good.
    Shredded,
    /// The vault is shutting down.
    ShuttingDown,
    /// The store is down, busy or read-only.
    StoreUnavailable,
    /// The user has too many authorizations under way.
    TooManyFlows,
    /// This tenant has no such connector.
    UnknownConnector,
    /// The catalog has no such provider.
    UnknownProvider,
    /// The callback's state belongs to no flow: never issued, already used, cancelled by a disconnect, or long expired.
    UnknownState,
}

/// Why a connection has to be authorized again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReauthReason {
    /// The provider refused the refresh token, and it is certain that it was the current one: the user or an
    /// administrator took the access away, or it lapsed.
    GrantRevoked,
    /// The provider wants the user in front of it: a policy, a second factor, a new consent.
    InteractionRequired,
    /// A refresh was sent, its reply was lost, and the provider has since refused the old refresh token.
    LostRotation,
    /// The access token ended and the provider gave nothing to refresh it with.
    NoRefreshToken,
}

impl fmt::Display for ReauthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GrantRevoked => "the provider ended the grant",
            Self::InteractionRequired => "the provider wants the user to sign in again",
            Self::LostRotation => "a rotated refresh token was lost in transit",
            Self::NoRefreshToken => "the access token ended and there is no refresh token",
        })
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), retry_after: None, source: None }))
    }

    pub(crate) fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.change(|inner| inner.source = Some(Arc::new(source)))
    }

    pub(crate) fn with_retry_after(self, after: Option<Duration>) -> Self {
        self.change(|inner| inner.retry_after = after)
    }

    fn change(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            kind: shared.kind.clone(),
            message: shared.message.clone(),
            retry_after: shared.retry_after,
            source: shared.source.clone(),
        });
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// What to branch on.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// How long the provider asked to wait, where it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later without anybody changing anything.
    ///
    /// ```
    /// # fn handle(error: &vault_core::Error) {
    /// if error.is_retryable() { /* put the job back into the queue */ }
    /// # }
    /// ```
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use ErrorKind as K;
        matches!(
            self.0.kind,
            K::AuditUnavailable
                | K::Contended
                | K::KeyUnavailable
                | K::ProviderUnavailable
                | K::RandomUnavailable
                | K::RefreshInProgress
                | K::ShuttingDown
                | K::StoreUnavailable
        )
    }

    /// Whether the app user can mend it, by connecting or authorizing (again).
    ///
    /// ```
    /// # fn handle(error: &vault_core::Error) {
    /// if error.needs_user_action() { /* show the "connect" button */ }
    /// # }
    /// ```
    #[must_use]
    pub fn needs_user_action(&self) -> bool {
        use ErrorKind as K;
        matches!(
            self.0.kind,
            K::AccountMismatch
                | K::Denied
                | K::FlowCancelled
                | K::FlowExpired
                | K::MissingScopes { .. }
                | K::NeedsReauthorization { .. }
                | K::NotConnected
                | K::SessionMismatch
                | K::Shredded
                | K::UnknownState
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, retry_after, source } = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", kind).field("message", message);
        if let Some(after) = retry_after {
            out.field("retry_after", after);
        }
        if let Some(source) = source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

impl From<IdError> for Error {
    fn from(error: IdError) -> Self {
        Self::new(ErrorKind::InvalidInput, error.to_string())
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<EntropyError> for Error {
    fn from(error: EntropyError) -> Self {
        Self::new(ErrorKind::RandomUnavailable, "the random source failed").with_source(error)
    }
}

/// Makes text that came from outside fit for one line of a log: control characters escaped, at most 200 characters.
pub(crate) fn printable(text: &str) -> String {
    const LIMIT: usize = 200;
    let mut out: String = text.chars().take(LIMIT).flat_map(char::escape_debug).collect();
    if text.chars().nth(LIMIT).is_some() {
        out.push('…');
    }
    out
}
