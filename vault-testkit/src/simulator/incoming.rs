//! A request, read whole.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method, Request};
use url::form_urlencoded;

use super::log::Endpoint;

const BODY_LIMIT: usize = 1 << 20;
/// By which [`Browse`](super::Browse) says who sits in front of the browser.
pub(super) const ACCOUNT_HEADER: HeaderName = HeaderName::from_static("x-simulated-account");
pub(super) const DENY_HEADER: HeaderName = HeaderName::from_static("x-simulated-denial");

pub(super) struct Incoming {
    pub(super) endpoint: Endpoint,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// Of the query and of a form body, in order.
    pub(super) params: Vec<(String, String)>,
    /// The names among them that came in the query.
    pub(super) query_names: Vec<String>,
}

impl Incoming {
    /// `None` when the body breaks off or is too long for any honest request.
    pub(super) async fn read(endpoint: Endpoint, request: Request<Body>) -> Option<Self> {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_LIMIT).await.ok()?;
        let query = parse(head.uri.query().unwrap_or_default().as_bytes());
        let query_names = query.iter().map(|(name, _)| name.clone()).collect();
        let mut params = query;
        params.extend(parse(&body));
        Some(Self {
            endpoint,
            method: head.method,
            path: head.uri.path().to_owned(),
            headers: head.headers,
            params,
            query_names,
        })
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn params_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.params.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is there more than once and may not be (RFC 6749 section 3.2).
    pub(super) fn doubled(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.params.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
            .windows(2)
            .find(|pair| pair[0] == pair[1] && !matches!(pair[0], "resource" | "audience"))
            .map(|pair| pair[0])
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(&AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    }

    /// User and password of HTTP Basic, as sent.
    pub(super) fn basic(&self) -> Option<(String, String)> {
        let (scheme, credentials) = self.header(&AUTHORIZATION)?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
        let (user, password) = pair.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == Method::POST
    }
}

fn parse(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

/// Undoes the form encoding of one name or value.
pub(super) fn form_decoded(text: &str) -> String {
    let whole = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(whole.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// The scopes of a space-separated list.
pub(super) fn scopes(list: Option<&str>) -> Vec<String> {
    list.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
}
