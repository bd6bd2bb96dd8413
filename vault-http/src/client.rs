//! [`GuardedHttp`]: checks the target, sends once, reads a bounded reply.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue};
use url::{Host, Url};
use vault_core::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};

use crate::body::{self, ReadError};
use crate::builder::GuardedHttpBuilder;
use crate::error::{self, BuildError};
use crate::guard::Guard;

/// The vault's HTTP client. Cheap to clone; clones share their connections.
///
/// Lives in a Tokio runtime with I/O and time enabled. See the [crate] for what it guarantees.
#[derive(Clone)]
pub struct GuardedHttp {
    pub(crate) client: reqwest::Client,
    pub(crate) guard: Arc<Guard>,
    pub(crate) timeout: Duration,
    pub(crate) body_limit: usize,
}

impl GuardedHttp {
    /// A client with the usual limits, for providers on the public internet.
    ///
    /// # Errors
    /// [`BuildError`] if this machine has no root certificates.
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Starts from the settings of [`new`](Self::new).
    pub fn builder() -> GuardedHttpBuilder {
        GuardedHttpBuilder::default()
    }

    /// Parses and checks the target. From here on only the parsed form is used, so that what was checked is what is
    /// dialled: `url` turns `0x7f.1` and `2130706433` into the addresses that they mean.
    fn target(&self, uri: &http::Uri) -> Result<Url, HttpError> {
        let url = Url::parse(&uri.to_string())
            .map_err(|_| HttpError::not_sent(HttpErrorKind::Connect, uri.host().unwrap_or_default()))?;
        let host = url.host_str().unwrap_or_default();
        let secure =
            url.scheme() == "https" || (url.scheme() == "http" && self.guard.permits_plain_http(host));
        if !secure || !url.username().is_empty() || url.password().is_some() {
            return Err(HttpError::not_sent(HttpErrorKind::InsecureEndpoint, host));
        }
        // The resolver checks names. It is never asked about a literal.
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => Some(v4.into()),
            Some(Host::Ipv6(v6)) => Some(v6.into()),
            _ => None,
        };
        if literal.is_some_and(|address| !self.guard.permits(host, address)) {
            return Err(HttpError::not_sent(HttpErrorKind::AddressNotAllowed, host));
        }
        Ok(url)
    }

    async fn exchange(&self, request: reqwest::Request, host: &str) -> Result<HttpResponse, HttpError> {
        let sent = self.client.execute(request).await;
        let mut reply = sent.map_err(|error| error::transport(&error, host))?;
        if is_encoded(reply.headers()) {
            return Err(HttpError::outcome_unknown(HttpErrorKind::Interrupted, host));
        }
        let body = body::incoming(&mut reply, self.body_limit).await.map_err(|error| match error {
            ReadError::TooLarge => HttpError::outcome_unknown(HttpErrorKind::TooLarge, host),
            ReadError::Transport(error) => error::transport(&error, host),
        })?;
        let mut response = HttpResponse::new(body);
        *response.status_mut() = reply.status();
        *response.version_mut() = reply.version();
        *response.headers_mut() = std::mem::take(reply.headers_mut());
        Ok(response)
    }
}

#[async_trait]
impl HttpClient for GuardedHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = self.target(request.uri())?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = outgoing(url, request);
        tokio::time::timeout(self.timeout, self.exchange(request, &host))
            .await
            .unwrap_or_else(|_elapsed| Err(HttpError::outcome_unknown(HttpErrorKind::Timeout, host)))
    }
}

impl fmt::Debug for GuardedHttp {
    /// Leaves reqwest's part out: it may hold a proxy's password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedHttp")
            .field("guard", &self.guard)
            .field("timeout", &self.timeout)
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}

/// The request as reqwest wants it. Version and extensions stay behind: TLS agrees on the one, and reqwest reads
/// settings from the other.
fn outgoing(url: Url, request: HttpRequest) -> reqwest::Request {
    let (parts, body) = request.into_parts();
    let mut outgoing = reqwest::Request::new(parts.method, url);
    let headers = outgoing.headers_mut();
    *headers = parts.headers;
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(credentials) = headers.get_mut(AUTHORIZATION) {
        // Keeps it out of Debug output and out of HTTP/2's header table.
        credentials.set_sensitive(true);
    }
    if !body.expose_secret().is_empty() {
        *outgoing.body_mut() = Some(body::outgoing(body));
    }
    outgoing
}

/// Whether the server compressed the body although it was told not to.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}
