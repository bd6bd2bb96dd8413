//! Whose browser it is, and what became of the user meanwhile.

use std::time::Duration;

use std::future::IntoFuture as _;

use vault_core::connector::ConnectorUpdate;
use vault_core::id::Slot;
use vault_core::{Callback, Disconnected, ErrorKind, SessionBinding};
use vault_testkit::simulator::{Endpoint, TokenState};
use vault_tests::{World, assert_refused, binding, other_binding};

use super::{assert_closed, assert_stopped, change, failures};

#[tokio::test]
async fn k06_somebody_elses_browser_burns_the_flow() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let callback = Callback::from_query(&query).expect("a callback");
    let result = world.note(world.vault.complete(callback, &other_binding()).await);
    assert_stopped(&world, result, ErrorKind::SessionMismatch, "another session").await;
    assert_closed(&world, &query).await;
}

#[tokio::test]
async fn k07_a_binding_is_long_enough_or_says_that_it_is_none() {
    assert_refused(SessionBinding::new("15 bytes of it!"), ErrorKind::InvalidInput, "at least 16 bytes");
    assert!(SessionBinding::new([0xff; 16]).is_ok());

    let unbound = SessionBinding::insecure_unbound();
    for (at_start, at_callback) in [(binding(), unbound.clone()), (unbound.clone(), binding())] {
        let world = World::start().await;
        let started = world.connecting("alice").start(&at_start).await.expect("starts");
        let back = world.visit(started.url().clone(), "alice").await;
        let callback = Callback::from_query(back.query().expect("a query")).expect("a callback");
        let result = world.note(world.vault.complete(callback, &at_callback).await);
        assert_stopped(&world, result, ErrorKind::SessionMismatch, "another session").await;
    }
}

#[tokio::test]
async fn k17_a_disconnect_cancels_what_is_under_way() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let gone = world.note(world.user("alice").disconnect(world.connector.id()).await);
    assert_eq!(gone.expect("nothing to do"), Disconnected::NotConnected);
    assert_stopped(&world, world.deliver(&query).await, ErrorKind::UnknownState, "cancelled").await;
}

#[tokio::test]
async fn k17_a_disconnect_cancels_a_reconnect_too() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let (query, bobs) = (world.query("alice").await, world.query("bob").await);
    let gone = world.note(world.user("alice").disconnect(world.connector.id()).await);
    assert_eq!(gone.expect("disconnects"), Disconnected::Revoked);
    assert_refused(world.deliver(&query).await, ErrorKind::UnknownState, "cancelled");
    world.assert_not_connected("alice").await;
    assert_eq!(world.provider.exchanges().len(), 1);
    world.deliver(&bobs).await.expect("nobody else's flow is touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_disconnect_during_the_exchange_of_a_reconnect_wins() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    disconnect_during_exchange(&world, Disconnected::Revoked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_disconnect_during_the_exchange_of_a_first_connect_wins() {
    let world = World::start().await;
    disconnect_during_exchange(&world, Disconnected::NotConnected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_reconnect_that_was_cancelled_leaves_alone_what_it_would_have_replaced() {
    let world = World::start().await;
    let other = Slot::new("other").expect("a slot");
    world.connect("alice").await.expect("connects");
    let second = world.connecting("alice").slot(other.clone());
    world.connect_as(second, "alice").await.expect("connects");
    let alice = world.user("alice");
    let read = || alice.token(world.connector.id()).slot(other.clone()).into_future();
    let before = world.note(read().await).expect("a token");

    // Disconnecting one slot cancels what is under way for the other.
    let query = world.query_of(world.connecting("alice").slot(other.clone()), "alice").await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let (result, ()) = tokio::join!(world.deliver(&query), async {
        gate.arrived().await;
        world.note(world.user("alice").disconnect(world.connector.id()).await).expect("disconnects");
        gate.release();
    });
    assert_refused(result, ErrorKind::FlowCancelled, "disconnected");
    let after = world.note(read().await).expect("nobody disconnected it");
    assert_eq!(after.expose_secret(), before.expose_secret());
    assert!(world.provider.is_live(after.expose_secret()));
}

async fn disconnect_during_exchange(world: &World, gone: Disconnected) {
    let query = world.query("alice").await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let (result, ()) = tokio::join!(world.deliver(&query), async {
        gate.arrived().await;
        let answer = world.note(world.user("alice").disconnect(world.connector.id()).await);
        assert_eq!(answer.expect("disconnects"), gone);
        gate.release();
    });
    assert_refused(result, ErrorKind::FlowCancelled, "disconnected");
    assert_eq!(failures(world), [ErrorKind::FlowCancelled]);
    world.assert_not_connected("alice").await;
    let tokens = world.provider.tokens_of("alice");
    assert!(tokens.iter().all(|token| token.state != TokenState::Live), "what the code brought is revoked");
    world.connect("alice").await.expect("the user may change their mind");
}

#[tokio::test]
async fn k17_a_callback_leaves_no_claim_behind() {
    let world = World::start().await;
    // More of each than a user may have under way.
    for _ in 0..25 {
        let query = world.query("alice").await;
        assert_refused(
            world.deliver(&change(&query, "code", None)).await,
            ErrorKind::InvalidCallback,
            "code",
        );
        world.connect("alice").await.expect("connects");
    }
    world.clock.advance(Duration::from_secs(60 * 60));
    assert_eq!(world.vault.maintain(100).await.expect("a pass").purged, 0);
}

#[tokio::test]
async fn k17_a_connector_that_changed_meanwhile_gets_no_code() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let off = ConnectorUpdate::new().enabled(false);
    world.vault.connectors().update(world.connector.id(), off).await.expect("switched off");
    assert_stopped(&world, world.deliver(&query).await, ErrorKind::ConnectorDisabled, "switched off").await;

    let world = World::start().await;
    let query = world.query("alice").await;
    world.vault.connectors().delete(world.connector.id()).await.expect("deleted");
    let id = world.connector.id().as_str().to_owned();
    assert_stopped(&world, world.deliver(&query).await, ErrorKind::UnknownConnector, &id).await;
}
