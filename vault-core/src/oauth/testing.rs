//! A scripted network, a clock that stands still, and a client between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::{HeaderMap, Method};
use url::Url;

use super::client::{Client, ExchangeRequest, RefreshRequest};
use super::revoke::RevokeTokens;
use super::types::{Failure, Grant, RevokeOutcome, TokenReply};
use crate::clock::{Clock, Timestamp};
use crate::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use crate::provider::endpoints::Endpoints;
use crate::provider::spec::{ClientAuthKind, Spec};
use crate::secret::{ClientSecret, SecretBytes, SecretString};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

/// Answers in order.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What comes after the last answer: silence, or a failed test.
    silent: bool,
    replies: Mutex<VecDeque<Result<HttpResponse, HttpError>>>,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[async_trait]
impl HttpClient for Script {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let seen = Seen {
            method: parts.method,
            url: parts.uri.to_string(),
            headers: parts.headers,
            body: String::from_utf8(body.expose_secret().to_vec()).expect("requests are text"),
        };
        self.seen.lock().expect("not poisoned").push(seen);
        let reply = self.replies.lock().expect("not poisoned").pop_front();
        match reply {
            Some(reply) => reply,
            None if self.silent => std::future::pending().await,
            None => panic!("a request that the script has no reply for"),
        }
    }
}

#[derive(Debug)]
struct StillClock {
    sleeps_end: bool,
}

#[async_trait]
impl Clock for StillClock {
    fn now(&self) -> SystemTime {
        SystemTime::from(NOW)
    }

    fn monotonic(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    async fn sleep(&self, _: Duration) {
        if !self.sleeps_end {
            std::future::pending::<()>().await;
        }
    }
}

/// A client with `id` and `secret`, and a server that follows the script.
pub(super) struct Fixture {
    pub(super) spec: Spec,
    pub(super) endpoints: Endpoints,
    pub(super) client_id: String,
    pub(super) secrets: Vec<ClientSecret>,
    pub(super) auth: ClientAuthKind,
    pub(super) callback: BTreeMap<String, String>,
    http: Script,
    clock: StillClock,
}

impl Fixture {
    pub(super) fn new(spec: &str) -> Self {
        let spec: Spec = toml::from_str(spec).expect("valid spec");
        let url = |path| Url::parse(&format!("https://as.test/{path}")).expect("valid URL");
        Self {
            auth: spec.client_auth.kinds[0],
            spec,
            endpoints: Endpoints {
                issuer: None,
                authorize: url("authorize"),
                token: url("token"),
                refresh: None,
                revoke: Some(url("revoke")),
                jwks: None,
                userinfo: Some(url("userinfo")),
                sends_iss: false,
                auth_methods: Vec::new(),
                pkce_methods: None,
            },
            client_id: "id".into(),
            secrets: vec![ClientSecret::new("secret")],
            callback: BTreeMap::new(),
            http: Script::default(),
            clock: StillClock { sleeps_end: false },
        }
    }

    /// With one JSON reply.
    pub(super) fn replying(spec: &str, status: u16, body: &str) -> Self {
        let fixture = Self::new(spec);
        fixture.reply(status, "application/json", body);
        fixture
    }

    /// With a server that never answers and a clock on which every wait ends.
    pub(super) fn impatient(mut self) -> Self {
        self.http.silent = true;
        self.clock.sleeps_end = true;
        self
    }

    pub(super) fn reply(&self, status: u16, content_type: &str, body: impl AsRef<[u8]>) {
        self.reply_with(status, &[("content-type", content_type)], body);
    }

    pub(super) fn reply_with(&self, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(SecretBytes::new(body.as_ref().to_vec()));
        self.push(Ok(response.expect("valid reply")));
    }

    pub(super) fn fail(&self, error: HttpError) {
        self.push(Err(error));
    }

    fn push(&self, reply: Result<HttpResponse, HttpError>) {
        self.http.replies.lock().expect("not poisoned").push_back(reply);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.http.seen.lock().expect("not poisoned").clone()
    }

    pub(super) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "requests sent");
        seen[0].clone()
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client {
            spec: &self.spec,
            endpoints: &self.endpoints,
            client_id: &self.client_id,
            secrets: &self.secrets,
            auth: self.auth,
            http: &self.http,
            clock: &self.clock,
            timeout: Duration::from_secs(20),
        }
    }

    pub(super) async fn exchange(&self) -> Result<Vec<Grant>, Failure> {
        let request = ExchangeRequest {
            code: &SecretString::new("the-code"),
            verifier: Some(&SecretString::new("the-verifier")),
            redirect_uri: "https://app.test/cb",
            scopes: &["read".into(), "write".into()],
            callback: &self.callback,
            state: Some(&SecretString::new("the-state")),
        };
        self.client().exchange(&request).await
    }

    pub(super) async fn exchange_one(&self) -> Result<TokenReply, Failure> {
        let mut grants = self.exchange().await?;
        assert_eq!(grants.len(), 1, "grants");
        Ok(grants.remove(0).reply)
    }

    pub(super) async fn refresh(&self) -> Result<TokenReply, Failure> {
        let request = RefreshRequest {
            audience: None,
            token: Some(&SecretString::new("canary-old-refresh")),
            scopes: &["read".into(), "write".into()],
            redirect_uri: "https://app.test/cb",
            config: &BTreeMap::from([("device".into(), "d-1".into())]),
        };
        self.client().refresh(&request).await
    }

    pub(super) async fn revoke(&self) -> Result<RevokeOutcome, Failure> {
        let tokens = RevokeTokens {
            access: Some(&SecretString::new("canary-access")),
            refresh: Some(&SecretString::new("canary-refresh")),
        };
        self.client().revoke(tokens).await
    }
}

/// Nothing of the failure shows a secret; every secret of the fixtures has `canary` in it where that matters.
pub(super) fn assert_mute(failure: &Failure) {
    let shown = format!("{failure:?} {}", failure.error);
    assert!(!shown.contains("canary"), "{shown}");
}
