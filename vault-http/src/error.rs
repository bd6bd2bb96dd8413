//! What went wrong: while building a client, and (crate-private) what a transport failure means to the vault.

use std::error::Error;
use std::io;

use vault_core::http::{HttpError, HttpErrorKind};

use crate::resolve::Refused;

/// Why [`GuardedHttpBuilder::build`](crate::GuardedHttpBuilder::build) gave no client: a setting is malformed, or
/// this machine has no root certificates.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BuildError(#[from] pub(crate) Fault);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("allowed address range {0:?} is not a network such as 10.20.0.0/16")]
    AddressRange(String),
    #[error("allowed host {0:?} is not a host name or an address")]
    Host(String),
    #[error("HTTP client does not start")]
    Client(#[source] reqwest::Error),
    /// Carries no URL: it may hold a password.
    #[error("proxy is not an http or https URL with a host")]
    Proxy,
    #[error("root certificate is not PEM")]
    RootCertificate(#[source] rustls::pki_types::pem::Error),
    #[error("root certificates cannot be loaded")]
    Roots(#[source] rustls::Error),
    #[error("a timeout or the body limit is zero")]
    Zero,
}

/// Maps reqwest's error, whose own text would name the whole URL.
pub(crate) fn transport(error: &reqwest::Error, host: &str) -> HttpError {
    let kind = if let Some(refused) = find::<Refused>(error) {
        tracing::debug!(host, cause = %refused, "no address to dial");
        match refused {
            Refused::Address(_) => HttpErrorKind::AddressNotAllowed,
            Refused::Lookup(_) => HttpErrorKind::Connect,
        }
    } else if let Some(tls) = find::<rustls::Error>(error) {
        tracing::debug!(host, cause = %tls, "TLS failed");
        HttpErrorKind::Tls
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() || error.is_builder() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Interrupted
    };
    // Both are raised before a connection takes the request. All else may come after.
    if error.is_connect() || error.is_builder() {
        HttpError::not_sent(kind, host)
    } else {
        HttpError::outcome_unknown(kind, host)
    }
}

/// The first `T` among `error` and its causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        // An io::Error skips what it wraps: its source is the source of the wrapped error.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
