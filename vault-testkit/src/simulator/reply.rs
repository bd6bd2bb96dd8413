//! A reply before it takes to the wire.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Vec::new() }
    }

    pub(super) fn new(status: StatusCode, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::empty(status) }.with(CONTENT_TYPE, content_type)
    }

    /// JSON that no cache may keep.
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
            .with(CACHE_CONTROL, "no-store")
            .with(PRAGMA, "no-cache")
    }

    pub(super) fn html(status: StatusCode, page: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", page)
            .with(CACHE_CONTROL, "no-store")
            .with(HeaderName::from_static("referrer-policy"), "no-referrer")
            .with(
                HeaderName::from_static("content-security-policy"),
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            )
    }

    pub(super) fn redirect(to: &str) -> Self {
        Self::empty(StatusCode::SEE_OTHER).with(LOCATION, to).with(CACHE_CONTROL, "no-store")
    }

    /// An error reply of RFC 6749 section 5.2.
    pub(super) fn refusal(status: StatusCode, error: &str, description: &str) -> Self {
        Self::json(status, &json!({ "error": error, "error_description": description }))
    }

    /// A refused bearer token, RFC 6750 section 3.
    pub(super) fn bearer_refusal(status: StatusCode, challenge: &str) -> Self {
        Self::empty(status).with(WWW_AUTHENTICATE, challenge)
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("values come from constants, URLs and checked input");
        self.headers.insert(name, value);
        self
    }
}
