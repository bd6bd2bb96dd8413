//! Authorization server metadata: RFC 8414 and OIDC Discovery.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use url::{Host, Url};

use super::cached::Cached;
use super::document::Documents;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, printable};
use crate::http::HttpClient;
use crate::provider::spec;
use crate::provider::url_rules::is_plain;

/// How many issuers are remembered.
const CAPACITY: usize = 1_000;
/// Stands for a tenant in the issuers of servers that serve many (Entra).
pub(super) const TENANT: &str = "{tenantid}";

/// Looks metadata up and remembers it; see [`Cached`] for how long and what happens when the provider is down.
#[derive(Debug)]
pub(crate) struct Discovery {
    documents: Documents,
    cached: Cached<Key, Metadata>,
}

/// Whatever decides which document is asked for and whether it is believed. Two connectors that differ in any of it
/// must not see each other's documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    issuer: String,
    url: Option<String>,
    issuer_template: Option<String>,
    endpoint_hosts: Vec<String>,
}

/// A metadata document that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// As the document states it: the configured issuer, or one of its template. With `{tenantid}` still in it, every
    /// token names its tenant itself.
    pub(crate) issuer: String,
    pub(crate) authorize: Option<Url>,
    pub(crate) token: Option<Url>,
    pub(crate) revoke: Option<Url>,
    pub(crate) jwks: Option<Url>,
    pub(crate) userinfo: Option<Url>,
    /// Callbacks carry `iss` (RFC 9207).
    pub(crate) sends_iss: bool,
    /// Never empty unless the document says so: absent means `client_secret_basic` (RFC 8414 2).
    pub(crate) auth_methods: Vec<String>,
    /// `None` when the document does not say.
    pub(crate) pkce_methods: Option<Vec<String>>,
    /// `None` when the document does not say.
    pub(crate) scopes_supported: Option<Vec<String>>,
}

/// The fields that the vault reads; others are ignored, doubled ones are an error.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    jwks_uri: Option<String>,
    userinfo_endpoint: Option<String>,
    authorization_response_iss_parameter_supported: Option<bool>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    scopes_supported: Option<Vec<String>>,
}

impl Discovery {
    /// `timeout` bounds each request; a lookup makes at most three.
    pub(crate) fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        Self {
            documents: Documents::new(http, Arc::clone(&clock), timeout),
            cached: Cached::new(clock, CAPACITY),
        }
    }

    /// The metadata of `issuer`. Templates in both arguments are already filled in, except for the `{tenantid}` of
    /// `issuer_template`.
    ///
    /// Looked for in the order RFC 8414, OIDC inserted, OIDC appended, or only at `url` when that is
    /// configured. The document must name `issuer` byte for byte; or `issuer_template`, as it is or with a GUID for
    /// `{tenantid}` (Entra answers for `common` with the placeholder, for a named tenant with its id). Its endpoints must
    /// stand on the issuer's host and port or on one of `endpoint_hosts` (`host`, or `host:port` where it is not 443).
    ///
    /// # Errors
    /// `IssuerMismatch`, `EndpointRefused`, `ProviderReplyInvalid`, `ProviderUnavailable`; `InvalidConfig` when the
    /// issuer or `url` is not an https URL (http on loopback) without query and fragment. Only when no good document
    /// was ever had.
    ///
    /// # Cancel safety
    /// As [`Cached`].
    pub(crate) async fn metadata(
        &self,
        issuer: &str,
        spec_discovery: &spec::Discovery,
    ) -> Result<Arc<Metadata>, Error> {
        let key = Key {
            issuer: issuer.to_owned(),
            url: spec_discovery.url.clone(),
            issuer_template: spec_discovery.issuer_template.clone(),
            endpoint_hosts: spec_discovery.endpoint_hosts.clone(),
        };
        self.cached.get(&key, || self.fetch(&key)).await
    }

    async fn fetch(&self, key: &Key) -> Result<Metadata, Error> {
        let issuer = issuer_url(&key.issuer)?;
        let places = match &key.url {
            Some(url) => vec![configured_url(url, &issuer)?],
            None => well_known(&issuer),
        };
        for place in &places {
            if let Some(document) = self.documents.get(place).await? {
                return key.check(document, &issuer);
            }
        }
        let message = format!("issuer {} publishes no metadata", printable(&key.issuer));
        Err(Error::new(ErrorKind::ProviderUnavailable, message))
    }
}

impl Key {
    fn check(&self, document: Document, issuer: &Url) -> Result<Metadata, Error> {
        if !self.names(&document.issuer) {
            let (found, wanted) = (printable(&document.issuer), printable(&self.issuer));
            let message = format!("metadata of issuer {wanted} names issuer {found}");
            return Err(Error::new(ErrorKind::IssuerMismatch, message));
        }
        let endpoint = |name, value| self.endpoint(issuer, name, value);
        Ok(Metadata {
            authorize: endpoint("authorization_endpoint", document.authorization_endpoint)?,
            token: endpoint("token_endpoint", document.token_endpoint)?,
            revoke: endpoint("revocation_endpoint", document.revocation_endpoint)?,
            jwks: endpoint("jwks_uri", document.jwks_uri)?,
            userinfo: endpoint("userinfo_endpoint", document.userinfo_endpoint)?,
            issuer: document.issuer,
            sends_iss: document.authorization_response_iss_parameter_supported.unwrap_or(false),
            auth_methods: document
                .token_endpoint_auth_methods_supported
                .unwrap_or_else(|| vec!["client_secret_basic".to_owned()]),
            pkce_methods: document.code_challenge_methods_supported,
            scopes_supported: document.scopes_supported,
        })
    }

    /// Whether a document that says `found` is this issuer's.
    fn names(&self, found: &str) -> bool {
        found == self.issuer
            || self
                .issuer_template
                .as_deref()
                .is_some_and(|template| found == template || is_tenant_of(template, found))
    }

    fn endpoint(&self, issuer: &Url, name: &str, value: Option<String>) -> Result<Option<Url>, Error> {
        let Some(value) = value else { return Ok(None) };
        let refuse = |problem: &str| {
            let message = format!("metadata of issuer {}: {name} {problem}", printable(&self.issuer));
            Err(Error::new(ErrorKind::EndpointRefused, message))
        };
        let Ok(url) = Url::parse(&value) else {
            return refuse("is not an absolute URL");
        };
        if !is_secure(&url, issuer.scheme() == "http") {
            return refuse("is not an https URL");
        }
        if url.fragment().is_some() || has_credentials(&url) {
            return refuse("has a fragment or credentials");
        }
        if !value.chars().all(is_plain) {
            return refuse("contains a character that no endpoint needs");
        }
        if !self.is_related(&url, issuer) {
            let origin = printable(&url.origin().ascii_serialization());
            return refuse(&format!("is on another origin, {origin}"));
        }
        Ok(Some(url))
    }

    fn is_related(&self, url: &Url, issuer: &Url) -> bool {
        let place = (url.host_str(), url.port_or_known_default());
        place == (issuer.host_str(), issuer.port_or_known_default())
            || self.endpoint_hosts.iter().any(|allowed| {
                Url::parse(&format!("https://{allowed}/"))
                    .is_ok_and(|allowed| place == (allowed.host_str(), allowed.port_or_known_default()))
            })
    }
}

/// Where the metadata of `issuer` may be, in order (RFC 8414 3.1 and 5, OIDC Discovery 4.1).
fn well_known(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    let mut places = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
    ];
    if !path.is_empty() {
        places.push(at(format!("{path}/.well-known/openid-configuration")));
    }
    places
}

fn issuer_url(issuer: &str) -> Result<Url, Error> {
    Url::parse(issuer)
        .ok()
        .filter(|url| is_secure(url, true) && url.query().is_none() && url.fragment().is_none())
        .filter(|url| !has_credentials(url))
        .ok_or_else(|| {
            let message = format!("issuer {} is not a plain https URL", printable(issuer));
            Error::new(ErrorKind::InvalidConfig, message)
        })
}

fn configured_url(url: &str, issuer: &Url) -> Result<Url, Error> {
    Url::parse(url)
        .ok()
        .filter(|url| is_secure(url, issuer.scheme() == "http"))
        .filter(|url| url.fragment().is_none() && !has_credentials(url))
        .ok_or_else(|| {
            let message = format!("discovery url {} is not an https URL", printable(url));
            Error::new(ErrorKind::InvalidConfig, message)
        })
}

/// https; or http on this machine, where `loopback_http` allows it.
fn is_secure(url: &Url, loopback_http: bool) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (loopback_http && is_loopback && url.scheme() == "http")
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether `issuer` is `template` with a GUID for its tenant.
fn is_tenant_of(template: &str, issuer: &str) -> bool {
    template.split_once(TENANT).is_some_and(|(before, after)| {
        issuer.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(is_guid)
    })
}

/// `8-4-4-4-12` hexadecimal digits.
pub(super) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests;
