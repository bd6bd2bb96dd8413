use super::*;
use crate::simulator::{AuthMethod, Endpoint, Fault, Pkce, TokenKind};

#[tokio::test]
async fn the_log_tells_what_came_and_keeps_no_secret() {
    let sim = Simulator::start().await;
    let first = sim.connect("ada", "openid calendar.read").await;
    let second = sim.refresh(&text(&first, "refresh_token")).await;
    sim.refresh(&text(&second, "refresh_token")).await;

    assert_eq!((sim.count(Endpoint::Authorize), sim.count(Endpoint::Token)), (1, 3));
    let [exchange] = &sim.exchanges()[..] else { panic!("one exchange") };
    assert_eq!((exchange.pkce, exchange.auth), (Some(Pkce::Matched), AuthMethod::Post));
    assert_eq!(exchange.client.as_deref(), Some("sim-client"));
    assert_eq!(exchange.param("redirect_uri"), Some(REDIRECT_URI));
    assert_eq!(
        exchange.param_names(),
        ["grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret"]
    );
    assert!(exchange.query_names().is_empty() && !exchange.has_cookie());
    let spent: Vec<u32> =
        sim.refreshes().iter().filter_map(|call| Some(call.presented.as_ref()?.generation)).collect();
    assert_eq!(spent, [0, 1]);
    assert_eq!(sim.max_in_flight(Endpoint::Token), 1);

    let told = format!("{:?} {sim:?}", sim.calls());
    let secrets = [sim.issued(), sim.received(), vec![sim.client_secret().to_owned()]].concat();
    assert!(secrets.len() > 8);
    for secret in &secrets {
        assert!(!told.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn equal_secrets_have_equal_digests() {
    let sim = Simulator::start().await;
    let token = sim.refresh_token().await;
    sim.inject(Endpoint::Token, Fault::html(502));
    sim.refresh(&token).await;
    let reply = sim.refresh(&token).await;
    sim.refresh(&text(&reply, "refresh_token")).await;
    let digests: Vec<_> =
        sim.refreshes().iter().map(|call| call.param("refresh_token").map(str::to_owned)).collect();
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[1], digests[2]);
}

#[tokio::test]
async fn secrets_given_and_taken_can_be_searched_for() {
    let sim = Simulator::start().await;
    let reply = sim.connect("ada", "openid").await;
    let issued = sim.issued();
    for field in ["access_token", "refresh_token", "id_token"] {
        assert!(issued.contains(&text(&reply, field)), "{field}");
    }
    assert!(issued.iter().any(|secret| secret.starts_with("simco_")));
    for secret in ["canary-state", "canary-nonce", VERIFIER] {
        assert!(sim.received().iter().any(|received| received == secret), "{secret}");
    }
}

#[tokio::test]
async fn one_can_wait_for_requests() {
    let sim = Simulator::start().await;
    let visitor = sim.clone();
    let visit = tokio::spawn(async move {
        for _ in 0..3 {
            visitor.get("/jwks", "").await;
        }
    });
    sim.arrived(Endpoint::Jwks, 3).await;
    assert_eq!(sim.count(Endpoint::Jwks), 3);
    visit.await.expect("ended");
    let tokens = sim.tokens_of("ada");
    assert!(tokens.iter().all(|token| token.kind == TokenKind::Access));
}
