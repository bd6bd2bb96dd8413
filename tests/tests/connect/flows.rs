//! Flows under way: which one counts, how random they are, how many there may be.

use std::collections::HashSet;
use std::time::Duration;

use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_core::store::StoreErrorKind;
use vault_core::{Error, ErrorKind, NewConnector, Provider};
use vault_testkit::faults::Fault;
use vault_testkit::simulator::{Endpoint, Pkce};
use vault_tests::{World, assert_refused, binding};

use super::{param, params, start};

#[tokio::test]
async fn c08_of_two_flows_the_last_to_complete_is_the_connection() {
    let world = World::start().await;
    for (user, first, last) in [("alice", 0, 1), ("bob", 1, 0)] {
        let queries = [world.query(user).await, world.query(user).await];
        world.deliver(&queries[first]).await.expect("the first connects");
        let before = world.token(user).await.expect("a token");
        world.deliver(&queries[last]).await.expect("the last connects");
        assert_holds_grant_of(&world, user, &queries[last]).await;
        let after = world.note(world.vault.report_rejected(&before).await).expect("a token");
        assert_ne!(after.expose_secret(), before.expose_secret(), "another incarnation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c08_flows_that_overlap_do_not_mix() {
    let world = World::start().await;
    let (slow, quick) = (world.query("alice").await, world.query("alice").await);
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let (slow_done, ()) = tokio::join!(world.deliver(&slow), async {
        gate.arrived().await;
        world.deliver(&quick).await.expect("the quick one connects");
        assert_holds_grant_of(&world, "alice", &quick).await;
        gate.release();
    });
    slow_done.expect("the slow one connects");
    assert_holds_grant_of(&world, "alice", &slow).await;
}

/// Access and refresh token both come from the authorization that the callback brought, and there is one connection.
async fn assert_holds_grant_of(world: &World, user: &str, query: &str) {
    let (_, code) = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "code")
        .expect("an honest callback has a code");
    let grant = world.provider.describe(&code).expect("the provider's code").authorization;
    let stored = world.token(user).await.expect("a token");
    let refreshed = world.note(world.user(user).token(world.connector.id()).fresh().await);
    for token in [stored, refreshed.expect("a refresh")] {
        let known = world.provider.describe(token.expose_secret()).expect("the provider's token");
        assert_eq!(known.authorization, grant);
    }
    assert_eq!(world.user(user).connections().await.expect("a listing").len(), 1);
}

#[tokio::test]
async fn c09_without_the_store_no_url_is_handed_out() {
    let world = World::start().await;
    for nth in 1.. {
        world.faults.reset();
        world.faults.on_call(nth, Fault::Fail(StoreErrorKind::Unavailable));
        let started = start(&world, world.connecting("alice")).await;
        if world.faults.total_calls() < nth {
            assert!(started.is_ok());
            assert!(nth > 2, "connector and flow are looked at");
            break;
        }
        assert!(started.as_ref().is_err_and(Error::is_retryable));
        assert_refused(started, ErrorKind::StoreUnavailable, "store");
    }
    assert_eq!(world.provider.calls().len(), 0);
}

#[tokio::test]
async fn c10_states_challenges_and_nonces_are_random_and_unique() {
    const FLOWS: usize = 300;
    let world = World::start().await;
    let mut seen = HashSet::new();
    for index in 0..FLOWS {
        let started = start(&world, world.connecting(&format!("user-{index}"))).await.expect("starts");
        let url = started.url();
        assert_eq!(param(url, "code_challenge_method"), "S256");
        for name in ["state", "nonce", "code_challenge"] {
            let value = param(url, name);
            // 43 characters of base64url: 256 bits.
            assert!(
                value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
            if name != "code_challenge" {
                world.remember(Some(value.clone()));
            }
            assert!(seen.insert(value), "{name} repeats");
        }
    }
    assert_eq!(seen.len(), 3 * FLOWS);

    // What they are drawn from, often enough to matter.
    let mut drawn = HashSet::new();
    for _ in 0..100_000 {
        let mut bytes = [0; 32];
        SystemEntropy::default().fill(&mut bytes).expect("random bytes");
        assert!(drawn.insert(bytes));
    }
}

#[tokio::test]
async fn c10_each_flow_has_a_verifier_of_its_own_that_matches() {
    let world = World::start().await;
    for user in ["alice", "bob", "carol"] {
        world.connect(user).await.expect("connects");
    }
    let exchanges = world.provider.exchanges();
    let verifiers: HashSet<_> = exchanges.iter().map(|call| call.param("code_verifier")).collect();
    assert_eq!(verifiers.len(), 3);
    assert!(exchanges.iter().all(|call| call.pkce == Some(Pkce::Matched)));
}

#[tokio::test]
async fn c11_pkce_is_s256_or_off_for_a_stated_reason() {
    let world = World::start().await;
    let file = |pkce: &str| {
        Provider::from_toml(
            &world
                .provider
                .provider_toml()
                .replace("[authorize.scope]", &format!("[authorize.pkce]\n{pkce}\n[authorize.scope]")),
        )
    };
    let kind = ErrorKind::InvalidConfig;
    assert_refused(world.note(file(r#"method_label = "plain""#)), kind.clone(), "S256");
    assert_refused(world.note(file(r#"mode = "unsupported""#)), kind.clone(), "pkce.reason");
    assert_refused(world.note(file("mode = \"unsupported\"\nreason = \" \"")), kind, "pkce.reason");

    let without = file("mode = \"unsupported\"\nreason = \"the server predates it\"").expect("opted out");
    let without = NewConnector::new("without", without).public_client("public");
    let without = world.vault.connectors().register(without).await.expect("registers");
    let started = start(&world, world.user("alice").connect(without.id())).await.expect("starts");
    assert_eq!(params(started.url(), "code_challenge"), [""; 0]);
    let started = start(&world, world.connecting("alice")).await.expect("starts");
    assert_eq!(param(started.url(), "code_challenge_method"), "S256");
}

#[tokio::test]
async fn c11_metadata_cannot_talk_the_vault_out_of_s256() {
    let world = World::builder().provider(|sim| sim.discovered_provider()).start().await;
    world.provider.switch(|switches| {
        let plain = serde_json::json!(["plain"]);
        switches.discovery.insert("code_challenge_methods_supported".to_owned(), plain);
    });
    let started = start(&world, world.connecting("alice")).await;
    assert_refused(started, ErrorKind::ProviderMisconfigured, "PKCE with S256");
    assert_eq!(world.faults.calls("flows.insert"), 0);
}

#[tokio::test]
async fn c12_a_user_has_a_bounded_number_of_flows() {
    let world = World::start().await;
    for _ in 0..20 {
        start(&world, world.connecting("alice")).await.expect("starts");
    }
    for _ in 20..1_000 {
        let started = world.connecting("alice").start(&binding()).await;
        assert_refused(started, ErrorKind::TooManyFlows, "user alice");
    }
    world.connect("bob").await.expect("others are not affected");

    world.clock.advance(Duration::from_secs(10 * 60));
    assert_eq!(world.vault.maintain(12).await.expect("a pass").purged, 12);
    assert_eq!(world.vault.maintain(12).await.expect("a pass").purged, 8);
    world.connect("alice").await.expect("the old flows are gone");
}
