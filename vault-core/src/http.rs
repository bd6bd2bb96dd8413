//! The seam to the network. `vault-core` opens no socket: the host passes an [`HttpClient`] in, usually
//! `vault_http::GuardedHttp`.

use std::fmt;

use async_trait::async_trait;

use crate::secret::SecretBytes;

/// A request; its body may carry client secrets and refresh tokens.
pub type HttpRequest = http::Request<SecretBytes>;
/// A reply; its body may carry tokens.
pub type HttpResponse = http::Response<SecretBytes>;

/// Sends one request and returns the reply.
///
/// # Contract
/// - **No redirects**: a 3xx is returned like any other reply. Following it would hand credentials to its target.
/// - **No retries**: once a byte has been sent, the request is never repeated. A second send of a single-use refresh
///   token can end a grant.
/// - **No cookies**, and no header that one request leaves behind for the next.
/// - **No proxy from the environment** unless the host configured it.
/// - The address dialled is checked, not only the name: a provider's host name must not lead into the private network.
/// - Reply bodies are capped; a longer one is [`HttpErrorKind::TooLarge`] and memory stays bounded.
/// - The whole exchange, name lookup to last byte, ends within a fixed time (20 s is usual).
///
/// # Errors
/// [`HttpError`]. A reply with any status is a success here.
///
/// # Cancel safety
/// Dropping the future abandons the exchange; whether the request arrived is then unknown.
#[async_trait]
pub trait HttpClient: fmt::Debug + Send + Sync + 'static {
    /// Sends `request`. Its URI is absolute.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;
}

/// What went wrong below HTTP. Names the host; never carries a body, a header or a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} ({host})")]
pub struct HttpError {
    kind: HttpErrorKind,
    host: String,
    sent: bool,
}

impl HttpError {
    /// A failure before any byte of the request left this machine.
    #[must_use]
    pub fn not_sent(kind: HttpErrorKind, host: impl Into<String>) -> Self {
        Self { kind, host: host.into(), sent: false }
    }

    /// A failure after which it is unknown whether the request arrived and was acted on.
    #[must_use]
    pub fn outcome_unknown(kind: HttpErrorKind, host: impl Into<String>) -> Self {
        Self { kind, host: host.into(), sent: true }
    }

    /// What happened.
    #[must_use]
    pub const fn kind(&self) -> HttpErrorKind {
        self.kind
    }

    /// The host of the request.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the server may have received the request. `false` is certain; `true` is the cautious answer.
    #[must_use]
    pub const fn may_have_been_sent(&self) -> bool {
        self.sent
    }
}

/// Kinds of failure below HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// The host's address is not one that a provider may have: private, loopback, link-local and so on.
    #[error("address not allowed")]
    AddressNotAllowed,
    /// No connection: name unknown, refused, unreachable.
    #[error("could not connect")]
    Connect,
    /// Plain HTTP where only HTTPS is allowed.
    #[error("insecure endpoint")]
    InsecureEndpoint,
    /// The connection broke during the exchange, or the reply was not HTTP.
    #[error("connection interrupted")]
    Interrupted,
    /// Not answered in time.
    #[error("timed out")]
    Timeout,
    /// The server's certificate was refused, or TLS failed otherwise.
    #[error("TLS failed")]
    Tls,
    /// The reply was longer than the cap.
    #[error("response too large")]
    TooLarge,
}
