//! The same flows against a certified provider of OpenID Connect that knows nothing of us: `tests/oidc-provider`.

pub(crate) mod http;
pub(crate) mod provider;
mod world;

use std::time::{Duration, SystemTime};

use serde_json::json;
use vault_core::event::Event;
use vault_core::{Disconnected, ErrorKind, ReauthReason};
use vault_testkit::clock::ManualClock;
use vault_tests::run_on;

use self::provider::{Client, random};
use self::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_connects_by_code_pkce_nonce_and_a_validated_id_token() {
    let world = World::start(Client::basic()).await;
    let url = world.start_as(&world.person).await;
    let asked =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!(asked("code_challenge_method").as_deref(), Some("S256"));
    assert!(asked("nonce").is_some());

    let connected = world.connect().await.expect("the person connects");
    assert_eq!(connected.account_id(), Some(&*world.person));
    assert_eq!(connected.scopes().collect::<Vec<_>>(), ["openid", "offline_access", "read"]);
    assert!(world.has_asked("/jwks"), "the signature was checked");
    let token = world.token().await.expect("a token");
    assert!(world.provider.is_active(token.expose_secret()).await);
    assert_eq!(world.provider.stats(&world.client).await.token_calls, 1);
}

/// The signature of a replayed `id_token` is genuine; only its nonce tells.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_that_is_missing_forged_or_replayed_stores_nothing() {
    let world = World::start(Client::basic()).await;
    world.connect().await.expect("the person connects");
    let replayed = world.latest("id_token");
    world.disconnect().await.expect("disconnected");

    let (signed, signature) = replayed.rsplit_once('.').expect("a JWT");
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    for id_token in [json!(null), json!(forged), json!(replayed)] {
        let fault = json!({ "when": "after", "merge": { "id_token": id_token } });
        world.provider.inject(&world.client, fault).await;
        let error = world.connect().await.expect_err("refused");
        assert_eq!(error.kind(), &ErrorKind::IdTokenInvalid, "{error}");
        assert_eq!(world.token().await.expect_err("not connected").kind(), &ErrorKind::NotConnected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_with_a_forged_iss_is_refused_before_the_code_leaves() {
    let world = World::start(Client::basic()).await;
    for forged in [Some("https://evil.example"), None] {
        let mut callback = world.visit_as(&world.person).await;
        let pairs: Vec<_> = callback.query_pairs().into_owned().collect();
        assert!(pairs.iter().any(|(name, value)| name == "iss" && value == world.provider.issuer()));
        let others = pairs.iter().filter(|(name, _)| name != "iss");
        callback.query_pairs_mut().clear().extend_pairs(others);
        callback.query_pairs_mut().extend_pairs(forged.map(|iss| ("iss", iss)));

        let error = world.complete(&callback).await.expect_err("refused");
        assert_eq!(error.kind(), &ErrorKind::IssuerMismatch, "{error}");
        assert!(world.provider.log(&world.client).await.is_empty(), "no code left");
        assert!(matches!(
            world.events().last(),
            Some(Event::ConnectFailed { kind: ErrorKind::IssuerMismatch, .. })
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_refuses_keeps_the_connection_they_have() {
    let world = World::start(Client::basic()).await;
    let denied = world.visit_as("deny").await;
    assert_eq!(world.complete(&denied).await.expect_err("denied").kind(), &ErrorKind::Denied);
    assert_eq!(world.token().await.expect_err("not connected").kind(), &ErrorKind::NotConnected);
    assert!(world.provider.log(&world.client).await.is_empty());

    world.connect().await.expect("the person connects");
    let denied = world.visit_as("deny").await;
    let error = world.complete(&denied).await.expect_err("denied");
    assert!(error.to_string().contains("access_denied the person refused"), "{error}");
    let token = world.fresh().await.expect("the old connection works");
    assert!(world.provider.is_active(token.expose_secret()).await);
}

/// The provider ends the grant if a refresh token is ever sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn two_vaults_on_one_database_never_spend_a_rotating_token_twice() {
    let world = World::tireless(Client::basic(), None).await;
    let other = world.second_vault().await;
    world.connect().await.expect("the person connects");

    let mut tokens = Vec::new();
    for round in 0..15 {
        let vault = if round % 2 == 0 { &world.vault } else { &other };
        tokens.push(world.fresh_from(vault).await.expect("a fresh token"));
    }
    for _ in 0..15 {
        let (one, two) = tokio::join!(world.fresh_from(&world.vault), world.fresh_from(&other));
        tokens.extend([one.expect("a fresh token"), two.expect("a fresh token")]);
    }

    let stats = world.provider.stats(&world.client).await;
    assert_eq!((stats.reuse_detected, stats.max_in_flight), (0, 1), "{stats:?}");
    // Fewer than asked for: one vault's clock may be some milliseconds ahead, and then its token is young for the other.
    assert!((15..=45).contains(&stats.refresh_ok) && stats.refresh_calls == stats.refresh_ok, "{stats:?}");
    let newest = tokens.iter().map(|token| token.generation()).max();
    assert_eq!(newest, Some(1 + stats.refresh_ok), "every token set was stored");
    for token in &tokens {
        assert!(world.provider.is_active(token.expose_secret()).await);
    }
    assert!(world.provider.is_active(&world.latest("refresh_token")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_ends_both_tokens_at_the_provider() {
    let world = World::start(Client::basic()).await;
    world.connect().await.expect("the person connects");
    let (access, refresh) = (world.latest("access_token"), world.latest("refresh_token"));
    assert!(world.provider.is_active(&access).await && world.provider.is_active(&refresh).await);

    assert_eq!(world.disconnect().await.expect("disconnected"), Disconnected::Revoked);
    assert!(!world.provider.is_active(&access).await && !world.provider.is_active(&refresh).await);
    assert_eq!(world.provider.stats(&world.client).await.revocations, 1);
    assert_eq!(world.token().await.expect_err("gone").kind(), &ErrorKind::NotConnected);
}

#[tokio::test(flavor = "multi_thread")]
async fn access_taken_away_at_the_provider_wants_the_person_and_a_reconnect_heals() {
    let world = World::start(Client::basic()).await;
    world.connect().await.expect("the person connects");
    world.provider.take_access_away(&world.person, &world.client).await;

    let error = world.fresh().await.expect_err("refused");
    assert!(error.needs_user_action());
    world.assert_needs_reauthorization(ReauthReason::GrantRevoked).await;
    world.fresh().await.expect_err("still marked");
    assert_eq!(world.provider.stats(&world.client).await.refresh_calls, 1, "a dead token is not sent again");

    world.connect().await.expect("the person connects again");
    let token = world.fresh().await.expect("healed");
    assert!(world.provider.is_active(token.expose_secret()).await);
}

/// The provider rotated and its answer was lost: the new token exists only there. Nobody can save this grant; what counts
/// is that the vault says so, and that a reconnect heals.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_lost_after_rotation_ends_in_reauthorization() {
    let clock = ManualClock::starting_at(SystemTime::now());
    let world = World::with_clock(Client::basic(), Some(clock.clone())).await;
    world.connect().await.expect("the person connects");
    let lost = json!({ "grant_type": "refresh_token", "when": "after", "drop": true });
    world.provider.inject(&world.client, lost).await;

    let error = world.fresh().await.expect_err("no answer");
    assert_eq!(error.kind(), &ErrorKind::ProviderUnavailable);
    let token = world.token().await.expect("the old access token still lives");
    assert!(world.provider.is_active(token.expose_secret()).await);

    // A provider that is not known to be lenient is given a minute.
    run_on(&clock, Duration::from_secs(60)).await;
    world.until_event(|event| matches!(event, Event::RotationLost { sends: 2, .. })).await;
    world.fresh().await.expect_err("the family is dead");
    world.assert_needs_reauthorization(ReauthReason::LostRotation).await;
    assert_eq!(world.provider.stats(&world.client).await.reuse_detected, 1);
    assert!(!world.provider.is_active(token.expose_secret()).await, "reuse ended the whole grant");

    world.connect().await.expect("the person connects again");
    world.fresh().await.expect("healed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_itself_by_basic() {
    lives_and_ends(Client::basic()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_itself_by_post() {
    lives_and_ends(Client::post()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_secret_works() {
    lives_and_ends(Client::public()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn id_and_secret_with_odd_characters_are_form_urlencoded() {
    lives_and_ends(Client::odd()).await;
}

/// Every request in which a client proves itself.
async fn lives_and_ends(client: Client) {
    let world = World::start(client).await;
    world.connect().await.expect("the person connects");
    let token = world.fresh().await.expect("refreshed");
    assert!(world.provider.is_active(token.expose_secret()).await);
    assert_eq!(world.disconnect().await.expect("disconnected"), Disconnected::Revoked);
    assert!(!world.provider.is_active(token.expose_secret()).await);
    let calls = world.provider.log(&world.client).await;
    assert_eq!(calls.len(), 3, "exchange, refresh, revocation");
    for call in calls {
        assert_eq!(call["status"], 200, "{call}");
    }
}

/// Shorter than the margin that reads ask for by default: such a token is handed out for as long as it lives.
#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_of_two_seconds_are_handed_out_and_replaced() {
    let clock = ManualClock::starting_at(SystemTime::now());
    let world = World::tireless(Client::short(), Some(clock.clone())).await;
    world.connect().await.expect("the person connects");
    assert_eq!(world.token().await.expect("young").generation(), 1);
    assert_eq!(world.token().await.expect("young").generation(), 1);
    for generation in 2..5 {
        clock.advance(Duration::from_secs(3));
        assert_eq!(world.token().await.expect("replaced").generation(), generation);
        assert_eq!(world.token().await.expect("young").generation(), generation);
    }
    assert_eq!(world.provider.stats(&world.client).await.refresh_calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_changes_without_losing_a_connection() {
    let mut world = World::tireless(Client::basic(), None).await;
    world.connect().await.expect("the person connects");
    let next = format!("secret-{}", random());

    world.rotate_secret(&next).await;
    world.fresh().await.expect("the provider still takes the current secret");
    world.client.secret = Some(next);
    world.provider.register(&world.client).await;
    world.fresh().await.expect("the next secret is tried when the current one is refused");
    let statuses: Vec<_> =
        world.provider.log(&world.client).await.iter().map(|call| call["status"].clone()).collect();
    assert_eq!(statuses, [200, 200, 401, 200]);

    world.vault.connectors().promote_secret(world.connector.id()).await.expect("promoted");
    world.fresh().await.expect("the next secret is the current one");
    let stats = world.provider.stats(&world.client).await;
    assert_eq!((stats.refresh_calls, stats.refresh_ok, stats.reuse_detected), (4, 3, 0));
}

/// The operator's mistake is nobody's reason to reconnect.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_only_the_provider_changed_touches_no_connection() {
    let mut world = World::start(Client::basic()).await;
    world.connect().await.expect("the person connects");
    let next = format!("secret-{}", random());
    world.client.secret = Some(next.clone());
    world.provider.register(&world.client).await;

    let error = world.fresh().await.expect_err("refused");
    assert_eq!(error.kind(), &ErrorKind::ProviderMisconfigured, "{error}");
    world.token().await.expect("the token that lives is handed out");

    world.rotate_secret(&next).await;
    let token = world.fresh().await.expect("the connection is as it was");
    assert!(world.provider.is_active(token.expose_secret()).await);
}
