use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::json as value;

use super::*;
use crate::simulator::{IdTokenFlaw, JwksFlaw, Revocation};

async fn fetch(sim: &Simulator, path: &str) -> Value {
    json(&raw::request("GET", &sim.url(path), &[], "").await.expect("a reply"))
}

/// The claims, if the token is in order.
async fn check(sim: &Simulator, id_token: &str) -> Option<Value> {
    let keys: JwkSet = serde_json::from_value(fetch(sim, "/jwks").await).expect("a key set");
    let header = jsonwebtoken::decode_header(id_token).ok()?;
    let key = DecodingKey::from_jwk(keys.find(&header.kid?)?).ok()?;
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&[sim.client_id()]);
    rules.set_issuer(&[sim.issuer()]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims = jsonwebtoken::decode::<Value>(id_token, &key, &rules).ok()?.claims;
    (claims["nonce"] == "canary-nonce").then_some(claims)
}

async fn id_token(sim: &Simulator) -> String {
    text(&sim.connect("grace", "openid email").await, "id_token")
}

#[tokio::test]
async fn the_metadata_points_at_the_endpoints() {
    let sim = Simulator::start().await;
    let document = fetch(&sim, "/.well-known/openid-configuration").await;
    assert_eq!(document["issuer"], sim.issuer());
    assert_eq!(document["token_endpoint"], sim.url("/token").as_str());
    assert_eq!(document, fetch(&sim, "/.well-known/oauth-authorization-server").await);

    sim.switch(|switches| {
        switches.revocation = Revocation::Absent;
        let merged = [
            ("issuer", value!("https://evil.example")),
            ("code_challenge_methods_supported", Value::Null),
            ("extra", value!([1])),
        ];
        switches.discovery.extend(merged.map(|(name, value)| (name.to_owned(), value)));
    });
    let document = fetch(&sim, "/.well-known/openid-configuration").await;
    assert_eq!(document["issuer"], "https://evil.example");
    assert_eq!(document["extra"], value!([1]));
    assert_eq!(document.get("code_challenge_methods_supported"), None);
    assert_eq!(document.get("revocation_endpoint"), None);
}

#[tokio::test]
async fn id_tokens_stand_up_to_validation() {
    let sim = Simulator::start().await;
    let claims = check(&sim, &id_token(&sim).await).await.expect("valid");
    assert_eq!((&claims["sub"], &claims["email"]), (&value!("grace"), &value!("grace@example.com")));
    let no_openid = sim.connect("grace", "email").await;
    assert_eq!(json(&no_openid).get("id_token"), None);
}

#[tokio::test]
async fn d12_every_flaw_of_an_id_token_is_one() {
    let sim = Simulator::start().await;
    let flaws = [
        IdTokenFlaw::AlgNone,
        IdTokenFlaw::BadSignature,
        IdTokenFlaw::ExpAsString,
        IdTokenFlaw::Expired,
        IdTokenFlaw::Hs256WithPublicKey,
        IdTokenFlaw::MissingClaim("sub".into()),
        IdTokenFlaw::UnknownKid,
        IdTokenFlaw::WrongAudience,
        IdTokenFlaw::WrongIssuer,
        IdTokenFlaw::WrongNonce,
    ];
    for flaw in flaws {
        sim.switch(|switches| switches.id_token_flaw = Some(flaw.clone()));
        assert_eq!(check(&sim, &id_token(&sim).await).await, None, "{flaw:?}");
    }
    sim.switch(|switches| switches.id_token_flaw = None);
    assert!(check(&sim, &id_token(&sim).await).await.is_some());
}

#[tokio::test]
async fn d13_key_sets_come_large_empty_and_symmetric() {
    let sim = Simulator::start().await;
    let keys = async |flaw| {
        sim.switch(|switches| switches.jwks_flaw = Some(flaw));
        fetch(&sim, "/jwks").await["keys"].as_array().expect("keys").clone()
    };
    let many = keys(JwksFlaw::ManyKeys(10_000)).await;
    assert_eq!((many.len(), &many[10_000]["kid"]), (10_001, &value!("sim-1")));
    assert_eq!(keys(JwksFlaw::Empty).await.len(), 0);
    let symmetric = keys(JwksFlaw::SymmetricKey).await;
    assert_eq!((&symmetric[0]["kty"], &symmetric[0]["kid"]), (&value!("oct"), &value!("sim-1")));
}
