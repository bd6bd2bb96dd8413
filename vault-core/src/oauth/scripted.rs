//! What the unit tests of metadata and keys share: a scripted server, a clock that a test moves, and signing keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clock::{Clock, Timestamp};
use crate::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use crate::secret::{SecretBytes, SecretString};

/// Both clocks start at the same round time.
#[derive(Debug)]
pub(crate) struct ManualClock(watch::Sender<Duration>);

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Duration::from_secs(1_800_000_000))))
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.0.send_modify(|now| *now += span);
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from(self.now())
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.monotonic().as_secs()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        *self.0.borrow()
    }

    async fn sleep(&self, span: Duration) {
        let until = self.monotonic() + span;
        let mut time = self.0.subscribe();
        time.wait_for(|now| *now >= until).await.expect("the clock outlives its sleepers");
    }
}

/// Answers GET requests by URL, with 404 where nothing was set, and logs them.
#[derive(Debug)]
pub(crate) struct ScriptedHttp {
    answers: Mutex<HashMap<String, Answer>>,
    log: Mutex<Vec<String>>,
    held: watch::Sender<bool>,
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Fail(HttpErrorKind),
    Never,
    Reply(u16, &'static str, String),
}

impl Answer {
    pub(crate) fn json(value: &Value) -> Self {
        Self::Reply(200, "application/json", value.to_string())
    }
}

impl ScriptedHttp {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { answers: Mutex::default(), log: Mutex::default(), held: watch::Sender::new(false) })
    }

    pub(crate) fn answer(&self, url: &str, answer: Answer) {
        self.answers.lock().expect("not poisoned").insert(url.to_owned(), answer);
    }

    /// While held, requests arrive and are not answered.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.log.lock().expect("not poisoned").clone()
    }

    /// Lets the other tasks run until so many requests have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        while self.requests().len() < count {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl HttpClient for ScriptedHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.uri().to_string();
        self.log.lock().expect("not poisoned").push(url.clone());
        let mut held = self.held.subscribe();
        held.wait_for(|held| !held).await.expect("the script outlives its requests");
        let answer = self.answers.lock().expect("not poisoned").get(&url).cloned();
        match answer.unwrap_or_else(|| Answer::Reply(404, "text/plain", String::new())) {
            Answer::Fail(kind) => Err(HttpError::outcome_unknown(kind, "scripted")),
            Answer::Never => std::future::pending().await,
            Answer::Reply(status, content_type, body) => Ok(http::Response::builder()
                .status(status)
                .header("content-type", content_type)
                .header("location", "https://elsewhere.example/")
                .body(SecretBytes::new(body.into_bytes()))
                .expect("the scripted reply is valid")),
        }
    }
}

/// A key pair made for these tests; its private half is public with this source.
#[derive(Debug)]
pub(crate) struct TestKey {
    pub(crate) alg: Algorithm,
    pub(crate) kid: &'static str,
    pub(crate) private: EncodingKey,
}

impl TestKey {
    pub(crate) fn ed25519() -> Self {
        let private = EncodingKey::from_ed_der(include_bytes!("test_keys/ed25519.TEST-ONLY.der"));
        Self { alg: Algorithm::EdDSA, kid: "ed", private }
    }

    pub(crate) fn es256() -> Self {
        let private = EncodingKey::from_ec_der(include_bytes!("test_keys/es256.TEST-ONLY.der"));
        Self { alg: Algorithm::ES256, kid: "ec", private }
    }

    pub(crate) fn es384() -> Self {
        let private = EncodingKey::from_ec_der(include_bytes!("test_keys/es384.TEST-ONLY.der"));
        Self { alg: Algorithm::ES384, kid: "ec384", private }
    }

    pub(crate) fn rsa(alg: Algorithm) -> Self {
        let private = EncodingKey::from_rsa_der(include_bytes!("test_keys/rsa2048.TEST-ONLY.der"));
        Self { alg, kid: "rsa", private }
    }

    /// The public half, without `alg`.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.alg).expect("the key is valid");
        jwk.common.key_algorithm = None;
        jwk.common.key_id = Some(self.kid.to_owned());
        json!(jwk)
    }

    pub(crate) fn sign(&self, claims: &Value) -> SecretString {
        let mut header = Header::new(self.alg);
        header.kid = Some(self.kid.to_owned());
        SecretString::new(encode(&header, claims, &self.private).expect("the key is valid"))
    }
}
