//! Which flow a callback belongs to, and how often and how long it can be finished.

use std::time::Duration;

use vault_core::ErrorKind;
use vault_tests::{World, assert_refused, binding};

use super::{assert_closed, assert_stopped, change, param};

/// How long a user may take.
const LIMIT: Duration = Duration::from_secs(10 * 60);

#[tokio::test]
async fn k01_a_callback_without_a_state_goes_nowhere() {
    let world = World::start().await;
    let query = world.query("alice").await;
    for state in [None, Some("")] {
        let stateless = change(&query, "state", state);
        assert_stopped(&world, world.deliver(&stateless).await, ErrorKind::InvalidCallback, "no state").await;
    }
    assert_stopped(&world, world.deliver("").await, ErrorKind::InvalidCallback, "no state").await;
    assert_eq!(world.faults.calls("flows.take"), 0);
    world.deliver(&query).await.expect("the honest callback still completes");
}

#[tokio::test]
async fn k02_a_state_is_known_only_whole_and_exact() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let state = param(&query, "state");
    let altered = |at: usize| {
        let other = if state[at..].starts_with('A') { "B" } else { "A" };
        format!("{}{other}{}", &state[..at], &state[at + 1..])
    };
    for wrong in [
        altered(0),
        altered(20),
        altered(state.len() - 1),
        state[..state.len() - 1].to_owned(),
        format!("{state}A"),
        format!("{state}="),
        format!(" {state}"),
        state.to_uppercase(),
        "0".repeat(43),
        "'; DROP TABLE vault_flows; --".to_owned(),
    ] {
        let result = world.deliver(&change(&query, "state", Some(&wrong))).await;
        assert_stopped(&world, result, ErrorKind::UnknownState, "state").await;
    }
    world.deliver(&query).await.expect("the honest callback still completes");
}

#[tokio::test]
async fn k03_a_flow_ends_at_its_limit() {
    let world = World::builder().switches(|switches| switches.code_ttl = 2 * LIMIT).start().await;
    let (in_time, late) = (world.query("bob").await, world.query("alice").await);
    world.clock.advance(LIMIT);
    world.deliver(&in_time).await.expect("in time");
    let exchanges = world.provider.exchanges().len();
    world.clock.advance(Duration::from_secs(1));
    assert_refused(world.deliver(&late).await, ErrorKind::FlowExpired, "too long");
    assert_eq!(world.provider.exchanges().len(), exchanges);
    world.assert_not_connected("alice").await;
    assert_closed(&world, &late).await;
}

#[tokio::test]
async fn k04_a_replayed_callback_changes_nothing() {
    let world = World::start().await;
    let query = world.query("alice").await;
    world.deliver(&query).await.expect("connects");
    let token = world.token("alice").await.expect("a token");
    for _ in 0..3 {
        assert_refused(world.deliver(&query).await, ErrorKind::UnknownState, "used");
    }
    world.assert_unchanged("alice", &token).await;
    assert_eq!(world.provider.exchanges().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn k05_a_callback_delivered_twice_at_once_is_exchanged_once() {
    let world = World::start().await;
    let (second, _) = world.second_vault().await;
    for user in ["alice", "bob", "carol", "dave", "erin"] {
        let query = world.query(user).await;
        let deliver = |vault: &vault_core::Vault| {
            let callback = vault_core::Callback::from_query(&query).expect("a callback");
            let vault = vault.clone();
            tokio::spawn(async move { vault.complete(callback, &binding()).await })
        };
        let deliveries = [&world.vault, &second, &world.vault, &second].map(deliver);
        let mut connected = 0;
        for delivery in deliveries {
            match world.note(delivery.await.expect("no panic")) {
                Ok(_) => connected += 1,
                Err(error) => assert_refused::<()>(Err(error), ErrorKind::UnknownState, "used"),
            }
        }
        assert_eq!(connected, 1);
        assert!(world.token(user).await.is_ok());
        assert_eq!(world.user(user).connections().await.expect("a listing").len(), 1);
    }
    assert_eq!(world.provider.exchanges().len(), 5);
}

#[tokio::test]
async fn k19_a_wall_clock_that_was_set_back_ends_the_flow() {
    let world = World::builder().switches(|switches| switches.code_ttl = 24 * LIMIT).start().await;
    let query = world.query("alice").await;
    world.clock.jump_wall(-3600);
    assert_stopped(&world, world.deliver(&query).await, ErrorKind::FlowExpired, "too long").await;
    assert_closed(&world, &query).await;
}

#[tokio::test]
async fn k19_an_hour_set_back_is_not_an_hour_more() {
    let world = World::builder().switches(|switches| switches.code_ttl = 24 * LIMIT).start().await;
    let query = world.query("alice").await;
    world.clock.jump_wall(-3600);
    // By the wall, the flow is two minutes old.
    world.clock.advance(Duration::from_secs(3600 + 120));
    assert_stopped(&world, world.deliver(&query).await, ErrorKind::FlowExpired, "too long").await;
}
