//! Fetches public JSON documents: authorization server metadata and key sets.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, printable};
use crate::http::{HttpClient, HttpError, HttpErrorKind, HttpResponse};
use crate::secret::SecretBytes;

/// Asks without credentials, follows nothing, and believes only what says that it is JSON.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

impl Documents {
    /// Each request ends within `timeout` of the clock, whatever the client does.
    pub(crate) fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        Self { http, clock, timeout }
    }

    /// The document at `url`; `None` when the server says that there is none there. Many servers say so with other 4xx
    /// than 404.
    ///
    /// # Errors
    /// - `EndpointRefused`: a redirect, or an address or certificate that the client refuses.
    /// - `ProviderReplyInvalid`: too large, not declared as JSON, or not the JSON of a `T`.
    /// - `ProviderUnavailable`: everything else.
    ///
    /// # Cancel safety
    /// Dropping it abandons the request.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<Option<T>, Error> {
        let response = self.send(url).await?;
        let status = response.status();
        if status.is_redirection() {
            return Err(refusal(ErrorKind::EndpointRefused, url, "redirects, which is refused"));
        }
        if is_absent(status) {
            return Ok(None);
        }
        if status != StatusCode::OK {
            let problem = format!("answered with status {}", status.as_u16());
            return Err(refusal(ErrorKind::ProviderUnavailable, url, &problem));
        }
        if !is_json(response.headers()) {
            return Err(refusal(ErrorKind::ProviderReplyInvalid, url, "is not declared as JSON"));
        }
        // The parser's own message may quote the document.
        serde_json::from_slice(response.body().expose_secret()).map(Some).map_err(|error| {
            let problem =
                format!("is not the JSON expected (line {}, column {})", error.line(), error.column());
            refusal(ErrorKind::ProviderReplyInvalid, url, &problem)
        })
    }

    async fn send(&self, url: &Url) -> Result<HttpResponse, Error> {
        let request = http::Request::get(url.as_str())
            .header(ACCEPT, "application/json")
            .body(SecretBytes::default())
            .map_err(|error| refusal(ErrorKind::EndpointRefused, url, "is not usable").with_source(error))?;
        tokio::select! {
            biased;
            reply = self.http.send(request) => reply.map_err(|error| unreachable(url, error)),
            () = self.clock.sleep(self.timeout) => {
                Err(refusal(ErrorKind::ProviderUnavailable, url, "did not answer in time"))
            }
        }
    }
}

/// Refusals that concern this URL, not the server's state.
fn is_absent(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(declared) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn unreachable(url: &Url, error: HttpError) -> Error {
    let kind = match error.kind() {
        HttpErrorKind::AddressNotAllowed | HttpErrorKind::InsecureEndpoint | HttpErrorKind::Tls => {
            ErrorKind::EndpointRefused
        }
        HttpErrorKind::TooLarge => ErrorKind::ProviderReplyInvalid,
        HttpErrorKind::Connect | HttpErrorKind::Interrupted | HttpErrorKind::Timeout => {
            ErrorKind::ProviderUnavailable
        }
    };
    refusal(kind, url, &error.kind().to_string()).with_source(error)
}

fn refusal(kind: ErrorKind, url: &Url, problem: &str) -> Error {
    Error::new(kind, format!("document {} {problem}", printable(url.as_str())))
}
