use super::*;
use crate::simulator::{Rotation, TokenState};

async fn with(rotation: Rotation) -> (Simulator, Arc<Hands>, String) {
    let (builder, hands) = timed();
    let sim = builder.switch(|switches| switches.rotation = rotation).start().await.expect("a port");
    let token = sim.refresh_token().await;
    (sim, hands, token)
}

fn dead() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}

async fn next(sim: &Simulator, token: &str) -> String {
    text(&sim.refresh(token).await, "refresh_token")
}

#[tokio::test]
async fn a_static_token_stays_and_is_not_repeated() {
    let (sim, _, token) = with(Rotation::Static).await;
    for generation in 1..=2 {
        let reply = sim.refresh(&token).await;
        assert_eq!(json(&reply).get("refresh_token"), None);
        let info = sim.describe(&text(&reply, "access_token")).expect("known");
        assert_eq!(info.generation, generation);
    }
    assert!(sim.is_live(&token));
    sim.switch(|switches| switches.echo_refresh_token = true);
    assert_eq!(next(&sim, &token).await, token);
}

#[tokio::test]
async fn a_strict_token_works_once_and_its_reuse_harms_nobody() {
    let (sim, _, token) = with(Rotation::Strict).await;
    let second = next(&sim, &token).await;
    assert_eq!(sim.describe(&second).expect("known").generation, 1);
    assert_eq!(sim.describe(&token).expect("known").state, TokenState::Spent);
    assert!(!sim.is_live(&token));
    assert_eq!(error(&sim.refresh(&token).await), dead());
    assert!(sim.is_live(&second));
    assert!(sim.is_live(&next(&sim, &second).await));
}

#[tokio::test]
async fn reuse_in_a_family_kills_all_of_it_and_no_other() {
    let (sim, _, token) = with(Rotation::Family).await;
    let other = sim.refresh_token().await;
    let reply = sim.refresh(&token).await;
    assert_eq!(error(&sim.refresh(&token).await), dead());
    assert!(!sim.is_live(&text(&reply, "refresh_token")));
    assert!(!sim.is_live(&text(&reply, "access_token")));
    assert!(sim.is_live(&other));
}

#[tokio::test]
async fn siblings_of_a_leeway_all_live_until_it_ends() {
    let (sim, hands, token) = with(Rotation::LeewaySiblings { secs: 30 }).await;
    let first = next(&sim, &token).await;
    hands.advance(30);
    assert!(sim.is_live(&token));
    let second = next(&sim, &token).await;
    assert_ne!(first, second);
    assert_eq!(sim.describe(&second).expect("known").generation, 1);
    assert!(sim.is_live(&first) && sim.is_live(&second));
    next(&sim, &first).await;
    hands.advance(1);
    assert!(!sim.is_live(&token));
    assert_eq!(error(&sim.refresh(&token).await), dead());
    assert!(sim.is_live(&second));
}

#[tokio::test]
async fn of_the_siblings_only_the_latest_lives_and_its_use_ends_the_leeway() {
    let (sim, _, token) = with(Rotation::LeewayLatest { secs: 30 }).await;
    let first = next(&sim, &token).await;
    let second = next(&sim, &token).await;
    assert!(!sim.is_live(&first) && sim.is_live(&second));
    assert_eq!(error(&sim.refresh(&first).await), dead());
    let third = next(&sim, &second).await;
    assert!(!sim.is_live(&token));
    assert_eq!(error(&sim.refresh(&token).await), dead());
    assert!(sim.is_live(&third));
}

#[tokio::test]
async fn an_idempotent_server_repeats_itself_for_a_while() {
    let (sim, hands, token) = with(Rotation::Idempotent { secs: 30 }).await;
    let first = sim.refresh(&token).await;
    hands.advance(30);
    assert_eq!(json(&sim.refresh(&token).await), json(&first));
    hands.advance(1);
    assert_eq!(error(&sim.refresh(&token).await), dead());
    assert!(sim.is_live(&text(&first, "refresh_token")));
}

#[tokio::test]
async fn refresh_tokens_end_when_said_so() {
    let (builder, hands) = timed();
    let set =
        |switches: &mut crate::simulator::Switches| switches.refresh_ttl = Some(Duration::from_secs(90));
    let sim = builder.switch(set).start().await.expect("a port");
    let reply = sim.connect("ada", "calendar.read").await;
    assert_eq!(json(&reply)["refresh_token_expires_in"], 90);
    hands.advance(90);
    assert_eq!(error(&sim.refresh(&text(&reply, "refresh_token")).await), dead());
}

#[tokio::test]
async fn a_refresh_ends_old_access_tokens_where_that_is_the_custom() {
    let sim = Simulator::start().await;
    sim.switch(|switches| switches.refresh_ends_access = true);
    let first = sim.connect("ada", "calendar.read").await;
    let second = sim.refresh(&text(&first, "refresh_token")).await;
    assert!(!sim.is_live(&text(&first, "access_token")));
    assert!(sim.is_live(&text(&second, "access_token")));
}

#[tokio::test]
async fn a_refresh_may_ask_for_less_and_not_for_more() {
    let sim = Simulator::start().await;
    let token = text(&sim.connect("ada", "calendar.read calendar.write").await, "refresh_token");
    let ask = async |token: &str, scope: &str| {
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)];
        sim.post("/token", &pairs).await.expect("a reply")
    };
    assert_eq!(error(&ask(&token, "calendar.read admin").await), (400, "invalid_scope".into()));
    let narrow = ask(&token, "calendar.read").await;
    assert_eq!(json(&narrow)["scope"], "calendar.read");
    let whole = sim.refresh(&text(&narrow, "refresh_token")).await;
    assert_eq!(json(&whole)["scope"], "calendar.read calendar.write");
}
