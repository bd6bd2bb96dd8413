use serde_json::json;

use super::super::cached::{FAILURE, FRESH, REFETCH};
use super::super::scripted::{Answer, ManualClock, ScriptedHttp, TestKey};
use super::*;
use crate::http::HttpErrorKind;

const URI: &str = "https://id.example/keys";

struct Bench {
    http: Arc<ScriptedHttp>,
    clock: Arc<ManualClock>,
    jwks: Arc<Jwks>,
    uri: Url,
}

impl Bench {
    fn new(keys: &[Value]) -> Self {
        let (http, clock) = (ScriptedHttp::new(), ManualClock::new());
        let jwks = Jwks::new(
            Arc::clone(&http) as Arc<dyn HttpClient>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Duration::from_secs(10),
        );
        let bench = Self { http, clock, jwks: Arc::new(jwks), uri: Url::parse(URI).expect("a URL") };
        bench.publish(keys);
        bench
    }

    fn publish(&self, keys: &[Value]) {
        self.http.answer(URI, Answer::json(&json!({"keys": keys})));
    }

    /// Looks an ES256 key up.
    async fn key(&self, kid: &str) -> Result<Arc<VerifyingKey>, Error> {
        self.jwks.key(&self.uri, Some(kid), Algorithm::ES256).await
    }

    async fn problem(&self, kid: Option<&str>, alg: Algorithm) -> String {
        let error = self.jwks.key(&self.uri, kid, alg).await.expect_err("no such key");
        assert_eq!(error.kind(), &ErrorKind::IdTokenInvalid);
        error.to_string()
    }
}

fn ec(kid: &str) -> Value {
    with(&TestKey::es256().jwk(), "kid", kid)
}

fn with(key: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut key = key.clone();
    key[field] = value.into();
    key
}

#[tokio::test]
async fn d13_only_the_first_hundred_keys_are_read() {
    let key = ec("");
    let keys: Vec<_> = (0..10_000).map(|n| with(&key, "kid", n.to_string())).collect();
    let bench = Bench::new(&keys);
    bench.key("99").await.expect("the hundredth key");
    assert_eq!(bench.problem(Some("100"), Algorithm::ES256).await, "id_token invalid: unknown kid");
    let known = bench.jwks.cached.get(&bench.uri, || bench.jwks.fetch(&bench.uri)).await;
    assert_eq!(known.expect("a good document").0.len(), 100);
}

#[tokio::test]
async fn d13_keys_that_must_not_verify_are_ignored() {
    let (ec, rsa) = (ec("k"), with(&TestKey::rsa(Algorithm::RS256).jwk(), "kid", "k"));
    for ignored in [
        json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256"}),
        json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "ES256"}),
        with(&ec, "d", "c2VjcmV0"),
        with(&ec, "use", "enc"),
        with(&ec, "key_ops", json!(["sign"])),
        with(&ec, "alg", "ECDH-ES"),
        with(&ec, "crv", "P-521"),
        with(&ec, "x", "AAAA"),
        with(&ec, "x", "not base64!"),
        with(&ec, "kty", 7),
        with(&rsa, "n", "AQAB"),
        json!("k"),
        json!(null),
    ] {
        let bench = Bench::new(std::slice::from_ref(&ignored));
        for alg in [Algorithm::ES256, Algorithm::RS256, Algorithm::HS256] {
            let problem = bench.problem(Some("k"), alg).await;
            assert_eq!(problem, "id_token invalid: unknown kid", "{ignored}");
        }
        let beside = Bench::new(&[ignored, ec.clone()]);
        beside.key("k").await.expect("the good key beside it");
    }
}

#[tokio::test]
async fn a_key_is_for_its_own_algorithms_only() {
    let rsa = TestKey::rsa(Algorithm::RS256).jwk();
    let bench = Bench::new(&[ec("ec"), with(&rsa, "alg", "PS256")]);
    for (kid, alg) in [
        ("ec", Algorithm::RS256),
        ("ec", Algorithm::ES384),
        ("ec", Algorithm::EdDSA),
        ("ec", Algorithm::HS256),
        ("rsa", Algorithm::RS256),
        ("rsa", Algorithm::ES256),
    ] {
        assert_eq!(bench.problem(Some(kid), alg).await, "id_token invalid: alg", "{kid} {alg:?}");
    }
    bench.jwks.key(&bench.uri, Some("rsa"), Algorithm::PS256).await.expect("the key");
}

#[tokio::test]
async fn without_a_kid_there_must_be_one_key_for_the_algorithm() {
    let alone = Bench::new(&[ec("a"), TestKey::ed25519().jwk()]);
    alone.jwks.key(&alone.uri, None, Algorithm::ES256).await.expect("the only one");
    assert_eq!(alone.problem(None, Algorithm::RS256).await, "id_token invalid: unknown kid");
    let two = Bench::new(&[ec("a"), ec("b")]);
    assert_eq!(two.problem(None, Algorithm::ES256).await, "id_token invalid: kid");
}

#[tokio::test]
async fn d12_an_unknown_kid_has_the_set_fetched_again_at_most_every_five_minutes() {
    let bench = Bench::new(&[ec("old")]);
    bench.key("old").await.expect("a published key");
    bench.publish(&[ec("new")]);
    bench.key("new").await.expect("a key published since");
    assert_eq!(bench.http.requests().len(), 2);

    bench.clock.advance(REFETCH - Duration::from_millis(1));
    bench.publish(&[ec("newer")]);
    for _ in 0..10 {
        assert_eq!(bench.problem(Some("newer"), Algorithm::ES256).await, "id_token invalid: unknown kid");
    }
    assert_eq!(bench.http.requests().len(), 2);

    bench.clock.advance(Duration::from_millis(1));
    bench.key("newer").await.expect("a key published since");
    assert_eq!(bench.http.requests().len(), 3);
}

#[tokio::test]
async fn a_hundred_lookups_of_an_unknown_kid_share_one_refetch() {
    let bench = Bench::new(&[ec("old")]);
    bench.key("old").await.expect("a published key");
    bench.publish(&[ec("new")]);
    bench.http.hold(true);
    let lookups: Vec<_> = (0..100)
        .map(|_| {
            let (jwks, uri) = (Arc::clone(&bench.jwks), bench.uri.clone());
            tokio::spawn(async move { jwks.key(&uri, Some("new"), Algorithm::ES256).await })
        })
        .collect();
    bench.http.arrived(2).await;
    bench.http.hold(false);
    for lookup in lookups {
        lookup.await.expect("no panic").expect("the new key");
    }
    assert_eq!(bench.http.requests().len(), 2);
}

#[tokio::test]
async fn d11_known_keys_serve_while_the_provider_is_down() {
    let bench = Bench::new(&[ec("old")]);
    bench.key("old").await.expect("a published key");
    bench.http.answer(URI, Answer::Fail(HttpErrorKind::Connect));
    bench.clock.advance(FRESH * 100);
    bench.key("old").await.expect("the last good set");
    for _ in 0..10 {
        let error = bench.key("new").await.expect_err("whether it exists is unknown");
        assert_eq!(error.kind(), &ErrorKind::ProviderUnavailable);
    }
    assert_eq!(bench.http.requests().len(), 2);
    bench.clock.advance(FAILURE);
    bench.publish(&[ec("new")]);
    bench.key("new").await.expect("a key published since");
}

#[tokio::test]
async fn a_missing_or_broken_set_is_no_verdict_on_the_token() {
    for (answer, kind) in [
        (Answer::Reply(404, "text/html", String::new()), ErrorKind::ProviderUnavailable),
        (Answer::Reply(302, "text/html", String::new()), ErrorKind::EndpointRefused),
        (Answer::json(&json!({"keys": {}})), ErrorKind::ProviderReplyInvalid),
        (Answer::json(&json!([])), ErrorKind::ProviderReplyInvalid),
    ] {
        let bench = Bench::new(&[]);
        bench.http.answer(URI, answer);
        let error = bench.key("k").await.expect_err("no set");
        assert_eq!(error.kind(), &kind);
    }
}
