use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, encode};
use serde_json::json;

use super::super::scripted::{Answer, ManualClock, ScriptedHttp, TestKey};
use super::*;
use crate::clock::Clock;
use crate::http::HttpClient;

const ISSUER: &str = "https://id.example";
const URI: &str = "https://id.example/keys";
const GUID: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

struct Bench {
    http: Arc<ScriptedHttp>,
    clock: Arc<ManualClock>,
    jwks: Jwks,
    uri: Url,
    nonce: SecretString,
}

impl Bench {
    fn new() -> Self {
        let (http, clock) = (ScriptedHttp::new(), ManualClock::new());
        let keys = [
            TestKey::ed25519().jwk(),
            TestKey::es256().jwk(),
            TestKey::es384().jwk(),
            TestKey::rsa(Algorithm::RS256).jwk(),
        ];
        http.answer(URI, Answer::json(&json!({"keys": keys})));
        let jwks = Jwks::new(
            Arc::clone(&http) as Arc<dyn HttpClient>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Duration::from_secs(10),
        );
        Self {
            http,
            clock,
            jwks,
            uri: Url::parse(URI).expect("a URL"),
            nonce: SecretString::new("the nonce"),
        }
    }

    fn expected(&self) -> Expected<'_> {
        Expected {
            issuer: ISSUER,
            client_id: "client",
            nonce: Some(&self.nonce),
            nonce_mode: NonceMode::Required,
            max_age: None,
            now: self.clock.timestamp(),
        }
    }

    fn claims(&self) -> Value {
        let now = self.clock.seconds();
        json!({
            "iss": ISSUER, "aud": "client", "sub": "user", "nonce": "the nonce",
            "iat": now, "exp": now + 300, "email": "canary@example.com",
        })
    }

    fn claims_with(&self, name: &str, value: impl Into<Value>) -> Value {
        let mut claims = self.claims();
        claims[name] = value.into();
        claims
    }

    async fn validate(&self, token: &SecretString) -> Result<Value, Error> {
        validate(&self.jwks, &self.uri, token, self.expected()).await
    }

    /// What is wrong with a well-signed token of these claims; empty when nothing is.
    async fn verdict_on(&self, claims: &Value, expected: Expected<'_>) -> String {
        let token = TestKey::es256().sign(claims);
        verdict(validate(&self.jwks, &self.uri, &token, expected).await)
    }
}

fn verdict(outcome: Result<Value, Error>) -> String {
    let Err(error) = outcome else { return String::new() };
    assert_eq!(error.kind(), &ErrorKind::IdTokenInvalid);
    assert!(!format!("{error:?}").contains("canary"));
    let message = error.to_string();
    message.strip_prefix("id_token invalid: ").expect("it says so").to_owned()
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

#[tokio::test]
async fn a_good_token_of_every_algorithm_yields_its_claims() {
    let bench = Bench::new();
    let rsa = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256].map(TestKey::rsa);
    for key in [TestKey::ed25519(), TestKey::es256(), TestKey::es384()].into_iter().chain(rsa) {
        let claims = bench.validate(&key.sign(&bench.claims())).await.expect("a good token");
        assert_eq!(claims, bench.claims());
    }
    assert_eq!(bench.http.requests().len(), 1);
}

#[tokio::test]
async fn d12_alg_none_is_refused() {
    let bench = Bench::new();
    for alg in ["none", "None", "nOnE", ""] {
        let unsigned = format!("{}.{}.", part(&json!({"alg": alg, "kid": "ec"})), part(&bench.claims()));
        assert_eq!(verdict(bench.validate(&SecretString::new(unsigned)).await), "alg");
    }
}

#[tokio::test]
async fn d12_hs256_keyed_with_a_public_key_is_refused() {
    let bench = Bench::new();
    let key = TestKey::rsa(Algorithm::RS256);
    let modulus = key.jwk()["n"].as_str().map(str::to_owned).expect("a modulus");
    for public in [modulus.clone().into_bytes(), URL_SAFE_NO_PAD.decode(modulus).expect("base64")] {
        let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
        header.kid = Some("rsa".to_owned());
        let token = encode(&header, &bench.claims(), &EncodingKey::from_secret(&public)).expect("a key");
        assert_eq!(verdict(bench.validate(&SecretString::new(token)).await), "alg");
    }
    assert!(bench.http.requests().is_empty());
}

#[tokio::test]
async fn d12_weak_and_foreign_algorithms_are_refused() {
    let bench = Bench::new();
    for alg in ["HS384", "HS512", "RS1", "PS384", "ES256K", "ES512", "RSA-OAEP", "rs256"] {
        let token = format!("{}.{}.AAAA", part(&json!({"alg": alg, "kid": "rsa"})), part(&bench.claims()));
        assert_eq!(verdict(bench.validate(&SecretString::new(token)).await), "alg", "{alg}");
    }
}

#[tokio::test]
async fn d12_a_signature_that_does_not_fit_is_refused() {
    let bench = Bench::new();
    let token = TestKey::es256().sign(&bench.claims());
    let (message, signature) = token.expose_secret().rsplit_once('.').expect("three parts");
    let header = message.split('.').next().expect("a header");
    let forged = part(&bench.claims_with("sub", "somebody else"));
    let rs256 = part(&json!({"alg": "RS256", "kid": "ec"}));
    for (token, problem) in [
        (format!("{header}.{forged}.{signature}"), "signature"),
        (format!("{message}."), "signature"),
        (format!("{message}.AAAA"), "signature"),
        (format!("{message}.{signature}="), "signature"),
        (format!("{rs256}.{forged}.{signature}"), "alg"),
    ] {
        assert_eq!(verdict(bench.validate(&SecretString::new(token)).await), problem);
    }
    let mut other = TestKey::rsa(Algorithm::RS256);
    other.alg = Algorithm::PS256;
    let pss = other.sign(&bench.claims());
    let relabelled = pss.expose_secret().replacen(
        pss.expose_secret().split('.').next().expect("a header"),
        &part(&json!({"alg": "RS256", "kid": "rsa"})),
        1,
    );
    assert_eq!(verdict(bench.validate(&SecretString::new(relabelled)).await), "signature");
}

#[tokio::test]
async fn d12_an_unknown_kid_is_refused() {
    let bench = Bench::new();
    let mut key = TestKey::es256();
    key.kid = "canary-kid";
    assert_eq!(verdict(bench.validate(&key.sign(&bench.claims())).await), "unknown kid");
}

#[tokio::test]
async fn d12_what_is_no_signed_token_is_refused() {
    let bench = Bench::new();
    let header = part(&json!({"alg": "ES256", "kid": "ec"}));
    let critical = part(&json!({"alg": "ES256", "kid": "ec", "crit": ["exp"]}));
    for (token, problem) in [
        (String::new(), "form"),
        ("canary".to_owned(), "form"),
        ("canary.canary".to_owned(), "form"),
        ("canary.canary.canary".to_owned(), "header"),
        (format!("{header}.a.b.c.d"), "signature"),
        (format!("{critical}.e30.AAAA"), "crit"),
        ("a".repeat(MAX_LEN + 1), "too long"),
    ] {
        assert_eq!(verdict(bench.validate(&SecretString::new(token)).await), problem);
    }
}

#[tokio::test]
async fn d12_a_missing_claim_is_named() {
    let bench = Bench::new();
    for name in ["iss", "aud", "exp", "iat", "nonce", "sub"] {
        let mut claims = bench.claims();
        claims.as_object_mut().expect("an object").remove(name);
        assert_eq!(bench.verdict_on(&claims, bench.expected()).await, name);
    }
    for claims in [json!([]), json!("canary"), json!(null)] {
        assert_eq!(bench.verdict_on(&claims, bench.expected()).await, "iss");
    }
}

#[tokio::test]
async fn d12_a_wrong_claim_is_named() {
    let bench = Bench::new();
    let now = bench.clock.seconds();
    for (name, value) in [
        ("iss", json!("https://id.example/")),
        ("iss", json!("https://ID.example")),
        ("iss", json!([ISSUER])),
        ("aud", json!("other")),
        ("aud", json!("client2")),
        ("aud", json!(["other"])),
        ("aud", json!([])),
        ("aud", json!({"client": true})),
        ("nonce", json!("another nonce")),
        ("nonce", json!("the nonce2")),
        ("nonce", json!("")),
        ("nonce", json!(7)),
        ("exp", json!((now + 300).to_string())),
        ("exp", json!(now - 60)),
        ("exp", json!(0)),
        ("exp", json!(-1e18)),
        ("exp", json!({})),
        ("iat", json!(now + 61)),
        ("iat", json!(now.to_string())),
        ("nbf", json!(now + 61)),
        ("nbf", json!("0")),
        ("sub", json!("")),
        ("sub", json!(7)),
    ] {
        let claims = bench.claims_with(name, value.clone());
        assert_eq!(bench.verdict_on(&claims, bench.expected()).await, name, "{name} = {value}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let bench = Bench::new();
    let now = bench.clock.seconds();
    for (name, value) in [
        ("exp", json!(now - 59)),
        ("exp", json!(1e18)),
        ("exp", json!(now as f64 + 0.5)),
        ("iat", json!(now + 60)),
        ("iat", json!(now - 86_400)),
        ("nbf", json!(now + 60)),
        ("nbf", json!(null)),
    ] {
        let claims = bench.claims_with(name, value.clone());
        assert_eq!(bench.verdict_on(&claims, bench.expected()).await, "", "{name} = {value}");
    }
}

#[tokio::test]
async fn the_vaults_clock_decides_on_expiry() {
    let bench = Bench::new();
    let token = TestKey::es256().sign(&bench.claims());
    bench.clock.advance(Duration::from_secs(359));
    bench.validate(&token).await.expect("not yet expired");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(verdict(bench.validate(&token).await), "exp");
}

#[tokio::test]
async fn of_several_audiences_the_authorized_party_must_be_the_client() {
    let bench = Bench::new();
    for (audience, party, problem) in [
        (json!(["client"]), json!(null), ""),
        (json!(["client", "api"]), json!("client"), ""),
        (json!(["client", "api"]), json!("api"), "azp"),
        (json!(["client", "api"]), json!(null), "azp"),
        (json!(["api", "other"]), json!("client"), "aud"),
    ] {
        let mut claims = bench.claims_with("aud", audience);
        claims["azp"] = party;
        assert_eq!(bench.verdict_on(&claims, bench.expected()).await, problem);
    }
}

#[tokio::test]
async fn a_nonce_may_be_absent_only_where_none_was_sent_or_none_returns() {
    let bench = Bench::new();
    let absent = bench.claims_with("nonce", json!(null));
    let wrong = bench.claims_with("nonce", "another");
    let not_sent = Expected { nonce: None, ..bench.expected() };
    let not_returned = Expected { nonce_mode: NonceMode::NotReturned, ..bench.expected() };
    assert_eq!(bench.verdict_on(&absent, not_sent).await, "");
    assert_eq!(bench.verdict_on(&absent, not_returned).await, "");
    assert_eq!(bench.verdict_on(&wrong, not_returned).await, "nonce");
    assert_eq!(bench.verdict_on(&absent, bench.expected()).await, "nonce");
}

#[tokio::test]
async fn with_a_max_age_the_sign_in_must_be_recent() {
    let bench = Bench::new();
    let now = bench.clock.seconds();
    let expected = Expected { max_age: Some(Duration::from_secs(600)), ..bench.expected() };
    for (auth_time, problem) in [
        (json!(now - 660), ""),
        (json!(now - 661), "auth_time"),
        (json!(null), "auth_time"),
        (json!("now"), "auth_time"),
    ] {
        let claims = bench.claims_with("auth_time", auth_time);
        assert_eq!(bench.verdict_on(&claims, expected).await, problem);
    }
}

#[tokio::test]
async fn a_tenant_template_takes_the_tokens_own_tenant() {
    let bench = Bench::new();
    let expected = Expected { issuer: "https://id.example/{tenantid}/v2.0", ..bench.expected() };
    let own = format!("https://id.example/{GUID}/v2.0");
    for (iss, tid, problem) in [
        (own.as_str(), json!(GUID), ""),
        (&own, json!("00000000-6c67-4c5b-b112-36a304b66dad"), "iss"),
        (&own, json!(null), "tid"),
        ("https://id.example/x/y/v2.0", json!("x/y"), "tid"),
        ("https://id.example/{tenantid}/v2.0", json!("{tenantid}"), "tid"),
        ("https://evil.example/v2.0", json!(GUID), "iss"),
    ] {
        let mut claims = bench.claims_with("iss", iss);
        claims["tid"] = tid;
        assert_eq!(bench.verdict_on(&claims, expected).await, problem, "{iss}");
    }
}
