//! The simulator against a client written by hand.

mod discovery;
mod faults;
mod flow;
mod gates;
mod log;
mod revocation;
mod rotation;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::Value;
use url::{Url, form_urlencoded};
use vault_core::clock::{Clock, Timestamp};

use super::raw::{self, RawReply};
use super::token::challenge_of;
use super::{Simulator, SimulatorBuilder};

const REDIRECT_URI: &str = "http://127.0.0.1:9/callback?from=sim";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-0";

/// A clock that moves when told to. Sleeping on it takes no time, and is counted.
#[derive(Debug, Default)]
struct Hands {
    now: AtomicI64,
    slept: AtomicU64,
}

impl Hands {
    fn advance(&self, secs: i64) {
        self.now.fetch_add(secs * 1000, Ordering::SeqCst);
    }

    fn slept(&self) -> u64 {
        self.slept.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Clock for Hands {
    fn now(&self) -> SystemTime {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst)).into()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, span: Duration) {
        self.slept.fetch_add(span.as_secs(), Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

fn timed() -> (SimulatorBuilder, Arc<Hands>) {
    let hands = Arc::new(Hands::default());
    hands.advance(1_000_000);
    let clock: Arc<dyn Clock> = Arc::<Hands>::clone(&hands);
    (Simulator::builder().clock(clock), hands)
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn json(reply: &RawReply) -> Value {
    serde_json::from_slice(&reply.body).expect("a JSON reply")
}

/// A field of a reply that is text.
fn text(reply: &RawReply, field: &str) -> String {
    let body = json(reply);
    body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}")).to_owned()
}

fn error(reply: &RawReply) -> (u16, String) {
    (reply.status, text(reply, "error"))
}

impl Simulator {
    fn authorize_url(&self, scope: &str) -> Url {
        let mut url = self.url("/authorize");
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", self.client_id()),
            ("redirect_uri", REDIRECT_URI),
            ("scope", scope),
            ("state", "canary-state"),
            ("nonce", "canary-nonce"),
            ("code_challenge_method", "S256"),
            ("code_challenge", &challenge_of(VERIFIER)),
        ]);
        url
    }

    async fn code(&self, account: &str, scope: &str) -> String {
        let url = self.authorize_url(scope);
        let callback = self.browse(url).as_account(account).await.expect("a redirect");
        query(&callback, "code").expect("a code")
    }

    /// Posts a form with the first client's credentials in it.
    async fn post(&self, path: &str, pairs: &[(&str, &str)]) -> io::Result<RawReply> {
        let own = [("client_id", self.client_id()), ("client_secret", self.client_secret())];
        raw::post_form(&self.url(path), &[], &form(&[pairs, &own].concat())).await
    }

    async fn exchange(&self, code: &str) -> RawReply {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.post("/token", &pairs).await.expect("a reply")
    }

    async fn connect(&self, account: &str, scope: &str) -> RawReply {
        let code = self.code(account, scope).await;
        let reply = self.exchange(&code).await;
        assert_eq!(reply.status, 200, "{:?}", String::from_utf8_lossy(&reply.body));
        reply
    }

    /// A fresh refresh token.
    async fn refresh_token(&self) -> String {
        text(&self.connect("ada", "calendar.read").await, "refresh_token")
    }

    async fn try_refresh(&self, token: &str) -> io::Result<RawReply> {
        self.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn refresh(&self, token: &str) -> RawReply {
        self.try_refresh(token).await.expect("a reply")
    }

    async fn get(&self, path: &str, bearer: &str) -> RawReply {
        let authorization = format!("Bearer {bearer}");
        raw::request("GET", &self.url(path), &[("authorization", &authorization)], "").await.expect("a reply")
    }
}
