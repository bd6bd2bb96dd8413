//! Gone here at once, and at the provider as soon as it can be had.

mod shared;

use std::time::Duration;

use tokio::task::JoinSet;
use vault_core::event::Event;
use vault_core::id::ConnectorId;
use vault_core::{ClientSecret, Disconnected, ErrorKind, Maintenance, Provider};
use vault_testkit::simulator::{ClientAuth, Endpoint, Fault, Simulator, TokenState};
use vault_tests::World;

fn is_pending(event: &Event) -> bool {
    matches!(event, Event::RevocationPending { .. })
}

fn is_revoked(event: &Event) -> bool {
    matches!(event, Event::Revoked { .. })
}

fn is_abandoned(event: &Event) -> bool {
    matches!(event, Event::RevocationAbandoned { .. })
}

async fn connected() -> World {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world
}

async fn disconnect(world: &World, user: &str) -> Disconnected {
    world.note(world.user(user).disconnect(world.connector.id()).await).expect("a disconnect")
}

async fn assert_not_connected(world: &World, user: &str) {
    let error = world.token(user).await.expect_err("nothing to read");
    assert_eq!(*error.kind(), ErrorKind::NotConnected);
    assert!(error.to_string().contains(user), "{error}");
}

/// How many tokens the provider would still take.
fn live(world: &World, account: &str) -> usize {
    let tokens = world.provider.tokens_of(account);
    tokens.iter().filter(|token| token.state == TokenState::Live).count()
}

async fn pass(world: &World) -> Maintenance {
    world.note(world.vault.maintain(10).await).expect("a pass")
}

#[tokio::test(flavor = "multi_thread")]
async fn v01_a_revocation_that_fails_is_pending_visible_and_tried_again_until_done() {
    for failure in [Fault::error(503, "temporarily_unavailable"), Fault::dropped(), Fault::throttled("90")] {
        let world = connected().await;
        world.provider.inject(Endpoint::Revoke, failure.times(2));
        assert_eq!(disconnect(&world, "alice").await, Disconnected::Pending);
        assert_not_connected(&world, "alice").await;
        let owed = world.note(world.user("alice").owed_revocations().await).expect("a listing");
        assert_eq!((owed.len(), owed[0].attempts), (1, 1));
        assert!(owed[0].next_attempt > owed[0].since);
        assert!(world.user("bob").owed_revocations().await.expect("a listing").is_empty());

        assert_eq!(pass(&world).await, Maintenance::default(), "not before its time");
        world.clock.advance(Duration::from_secs(2 * 60));
        assert_eq!(pass(&world).await.still_owed, 1);
        assert!(live(&world, "alice") > 0);
        world.clock.advance(Duration::from_secs(5 * 60));
        assert_eq!(pass(&world).await.revoked, 1);

        assert_eq!(live(&world, "alice"), 0);
        assert!(world.user("alice").owed_revocations().await.expect("a listing").is_empty());
        assert_eq!((world.count_events(is_pending), world.count_events(is_revoked)), (2, 1));
        assert_eq!(world.provider.count(Endpoint::Revoke), 3);
        assert_not_connected(&world, "alice").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v02_a_grant_that_the_provider_no_longer_knows_is_revoked() {
    let world = connected().await;
    world.provider.revoke_grant("alice");
    assert_eq!(disconnect(&world, "alice").await, Disconnected::Revoked);
    assert_not_connected(&world, "alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v03_a_provider_that_cannot_revoke_is_said_to_and_the_connection_goes() {
    fn unrevoking(simulator: &Simulator) -> Provider {
        let toml = simulator.provider_toml();
        let lines = toml.lines().filter(|line| !line.starts_with("revoke ="));
        Provider::from_toml(&lines.collect::<Vec<_>>().join("\n")).expect("a provider without revocation")
    }
    let world = World::builder().provider(unrevoking).start().await;
    world.connect("alice").await.expect("alice connects");
    assert_eq!(disconnect(&world, "alice").await, Disconnected::Unsupported);
    assert_not_connected(&world, "alice").await;
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
    assert_eq!(world.count_events(is_abandoned), 1);
    assert_eq!(world.rows("vault_owed").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn v04_disconnecting_twice_and_all_at_once_revokes_once() {
    let world = connected().await;
    assert_eq!(disconnect(&world, "alice").await, Disconnected::Revoked);
    assert_eq!(disconnect(&world, "alice").await, Disconnected::NotConnected);

    world.connect("bob").await.expect("bob connects");
    let (second, _faults) = world.second_vault().await;
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let vault = if n % 2 == 0 { world.vault.clone() } else { second.clone() };
        let id = world.connector.id().clone();
        tasks.spawn(async move { vault.user("bob").disconnect(&id).await });
    }
    let mut revoked = 0;
    while let Some(done) = tasks.join_next().await {
        match world.note(done.expect("no panic")).expect("a disconnect") {
            Disconnected::Revoked => revoked += 1,
            other => assert_eq!(other, Disconnected::NotConnected),
        }
    }
    assert_eq!(revoked, 1);
    assert_eq!(world.provider.count(Endpoint::Revoke), 2, "alice's and bob's");
}

#[tokio::test(flavor = "multi_thread")]
async fn v05_another_tenants_connection_is_as_if_there_were_none() {
    let world = connected().await;
    let calls = world.provider.calls().len();
    let acme = world.vault.tenant("acme").user("alice");
    let id = world.connector.id();
    let unknown = ConnectorId::new("no-such-connector").expect("a good id");
    for id in [id, &unknown] {
        let gone = world.note(acme.disconnect(id).await).expect("nothing to do");
        assert_eq!(gone, Disconnected::NotConnected);
        let error = world.note(acme.token(id).await).expect_err("nothing to read");
        assert_eq!(*error.kind(), ErrorKind::NotConnected);
        let expected = format!("no connection of user alice to {id} (slot default, tenant acme)");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(world.provider.calls().len(), calls);
    world.token("alice").await.expect("alice's own is untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_no_process_hands_out_the_token_of_a_connection_that_is_gone() {
    let world = connected().await;
    let (second, _faults) = world.second_vault().await;
    let there = second.user("alice");
    let token = world.note(there.token(world.connector.id()).await).expect("a token");
    disconnect(&world, "alice").await;
    for read in [there.token(world.connector.id()).await, second.report_rejected(&token).await] {
        let error = world.note(read).expect_err("gone here too");
        assert_eq!(*error.kind(), ErrorKind::NotConnected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v08_a_refusal_that_repeats_the_token_tells_nobody() {
    let world = connected().await;
    world.provider.inject(
        Endpoint::Revoke,
        Fault::genuine().status(503).map_body(|_| b"{\"error\":\"simrt_secret was not revoked\"}".to_vec()),
    );
    world.remember(Some("simrt_secret was not revoked".to_owned()));
    disconnect(&world, "alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_works_after_the_connectors_secret_was_rotated() {
    let world = connected().await;
    world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable"));
    assert_eq!(disconnect(&world, "alice").await, Disconnected::Pending);

    let next = "another client secret, of today";
    world.remember(Some(next.to_owned()));
    world.provider.add_client(world.provider.client_id(), next, ClientAuth::Any);
    let (connectors, id) = (world.vault.connectors(), world.connector.id());
    connectors.rotate_secret(id, ClientSecret::new(next)).await.expect("a next secret");
    connectors.promote_secret(id).await.expect("it is the current one");

    world.clock.advance(Duration::from_secs(2 * 60));
    assert_eq!(pass(&world).await.revoked, 1);
    assert_eq!(live(&world, "alice"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_works_after_its_connector_is_gone() {
    let world = connected().await;
    world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable"));
    assert_eq!(disconnect(&world, "alice").await, Disconnected::Pending);
    world.vault.connectors().delete(world.connector.id()).await.expect("nothing uses it");
    world.clock.advance(Duration::from_secs(2 * 60));
    assert_eq!(pass(&world).await.revoked, 1);
    assert_eq!(live(&world, "alice"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_does_not_open_keeps_nobody_connected() {
    let world = shared::sharing().await;
    world.connect("alice").await.expect("alice connects");
    world.sql("UPDATE vault_connectors SET sealed = x'00'").await;
    // Until then it is in memory.
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(disconnect(&world, "alice").await, Disconnected::Unsupported);
    assert_not_connected(&world, "alice").await;
}
