//! The provider has answered, and the store has not: the one moment in which tokens could be lost.

use std::time::Duration;

use tokio::task::JoinHandle;
use vault_core::event::Event;
use vault_core::store::StoreErrorKind;
use vault_core::{AccessToken, Disconnected, Error, ErrorKind};
use vault_testkit::faults::Fault as StoreFault;
use vault_testkit::simulator::{Endpoint, Fault};
use vault_tests::{World, run_on};

async fn due() -> World {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.expire_tokens();
    world
}

fn reading(world: &World) -> JoinHandle<Result<AccessToken, Error>> {
    tokio::spawn(world.reads(&world.vault, "alice", |read| read))
}

/// A read whose tokens the store does not take: they are held in memory.
async fn held(world: &World) -> AccessToken {
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let reading = reading(world);
    gate.arrived().await;
    world.faults.always_on_method("connections.put", StoreFault::Fail(StoreErrorKind::Unavailable));
    gate.release();
    world.note(reading.await.expect("no panic")).expect("held in memory")
}

fn is_refreshed(event: &Event) -> bool {
    matches!(event, Event::Refreshed { .. })
}

fn is_orphaned(event: &Event) -> bool {
    matches!(event, Event::OrphanedTokens { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_tokens_that_cannot_be_stored_are_held_announced_and_stored_later() {
    let world = due().await;
    let (second, _faults) = world.second_vault().await;
    let token = held(&world).await;
    assert_eq!(token.generation(), 2);
    assert!(world.provider.is_live(token.expose_secret()));
    assert_eq!(world.token("alice").await.expect("the same").expose_secret(), token.expose_secret());

    for _ in 0..6 {
        // The lease's renewal, and the pause before the next try.
        world.clock.wait_for_sleepers(2).await;
        world.clock.advance(Duration::from_secs(5));
    }
    world.clock.wait_for_sleepers(2).await;
    assert_eq!(world.count_events(is_refreshed), 0);
    world.faults.heal();
    world.clock.advance(Duration::from_secs(5));
    world.until_event(is_refreshed).await;

    let stored = world.note(second.user("alice").token(world.connector.id()).await).expect("stored");
    assert_eq!(stored.expose_secret(), token.expose_secret());
    assert_eq!(world.provider.refreshes().len(), 1, "no second call");
    assert_eq!(world.count_events(|event| matches!(event, Event::PersistPending { .. })), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_tokens_of_a_second_send_are_announced_too_after_the_first_has_failed() {
    let world = due().await;
    world.provider.inject(Endpoint::Token, Fault::unavailable("0"));
    world.token("alice").await.expect_err("the first send");
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    run_on(&world.clock, Duration::from_secs(30)).await;
    gate.arrived().await;
    world.faults.always_on_method("connections.put", StoreFault::Fail(StoreErrorKind::Unavailable));
    gate.release();
    world.until_event(|event| matches!(event, Event::PersistPending { .. })).await;
    // The host is told first, and a moment later whoever waits.
    let held = loop {
        match world.token("alice").await {
            Ok(held) => break held,
            Err(error) => assert_eq!(*error.kind(), ErrorKind::ProviderUnavailable),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(held.generation(), 2);
    world.faults.heal();
    world.clock.wait_for_sleepers(2).await;
    world.clock.advance(Duration::from_secs(5));
    world.until_event(is_refreshed).await;
    assert_eq!(world.token("alice").await.expect("stored").expose_secret(), held.expose_secret());
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_tokens_are_held_too_while_the_store_says_that_it_is_set_up_wrongly() {
    let world = due().await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let reading = reading(&world);
    gate.arrived().await;
    world.faults.always_on_method("connections.put", StoreFault::Fail(StoreErrorKind::Misconfigured));
    gate.release();
    let held = world.note(reading.await.expect("no panic")).expect("held in memory");
    world.clock.wait_for_sleepers(2).await;
    world.faults.heal();
    world.clock.advance(Duration::from_secs(5));
    world.until_event(is_refreshed).await;
    assert_eq!(world.token("alice").await.expect("stored").expose_secret(), held.expose_secret());
    assert_eq!(world.provider.refreshes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_a_write_whose_acknowledgement_was_lost_is_recognised() {
    // The marker's, and that of the new tokens.
    for write in [1, 2] {
        let world = due().await;
        world.faults.reset();
        world.faults.on_method("connections.put", write, StoreFault::LoseAck);
        let token = world.token("alice").await.expect("a token");
        if write == 2 {
            // The lease's renewal, and the pause before the next try.
            world.clock.wait_for_sleepers(2).await;
            world.clock.advance(Duration::from_secs(1));
        }
        world.until_event(is_refreshed).await;

        assert_eq!(world.faults.calls("connections.put"), 2, "not written again");
        let listed = world.user("alice").connections().await.expect("a listing");
        assert_eq!((listed[0].generation(), token.generation()), (2, 2));
        assert_eq!(world.count_events(is_refreshed), 1);
        assert_eq!(world.provider.refreshes().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_a_connect_whose_acknowledgement_was_lost_is_a_connect() {
    let world = World::start().await;
    let callback = world.callback("alice").await;
    world.faults.on_method("connections.put", 1, StoreFault::LoseAck);
    world.complete(callback).await.expect("it is stored");
    world.token("alice").await.expect("a token");
    assert_eq!(world.count_events(|event| matches!(event, Event::Connected { .. })), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r09_a_disconnect_during_a_refresh_stays_a_disconnect() {
    for reply in [false, true] {
        let world = due().await;
        let gate = match reply {
            false => world.provider.hold_next(Endpoint::Token),
            true => world.provider.hold_next_reply(Endpoint::Token),
        };
        let reading = reading(&world);
        gate.arrived().await;
        // The lease is lost with the record; that holds up nobody.
        let gone = world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
        assert_eq!(gone, Disconnected::Revoked);
        gate.release();

        let error = world.note(reading.await.expect("no panic")).expect_err("disconnected");
        assert_eq!(*error.kind(), ErrorKind::NotConnected);
        assert_eq!(*world.token("alice").await.expect_err("gone").kind(), ErrorKind::NotConnected);
        assert_eq!(world.rows("vault_connections").await, 0);
        // Asked after the revocation, the provider gave nothing.
        assert_eq!(world.count_events(is_orphaned), usize::from(reply));
        assert_eq!(world.count_events(is_refreshed), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_a_new_grant_is_not_touched_by_a_refresh_of_the_old_one() {
    let world = due().await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let reading = reading(&world);
    gate.arrived().await;
    world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    world.connect("alice").await.expect("alice connects again");
    let new = world.token("alice").await.expect("a token");
    gate.release();

    let told = world.note(reading.await.expect("no panic")).expect("what is there now");
    world.until_event(is_orphaned).await;
    for token in [told, world.token("alice").await.expect("a token")] {
        assert_eq!((token.generation(), token.expose_secret()), (1, new.expose_secret()));
    }
    world.expire_tokens();
    let next = world.token("alice").await.expect("its refresh token works");
    assert_eq!(next.generation(), 2);
    assert!(world.provider.is_live(next.expose_secret()));
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_tokens_held_for_a_connection_that_goes_are_dropped() {
    let world = due().await;
    held(&world).await;
    let (second, _faults) = world.second_vault().await;
    second.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    world.faults.heal();
    world.clock.wait_for_sleepers(2).await;
    world.clock.advance(Duration::from_secs(1));
    world.until_event(is_orphaned).await;
    assert_eq!(*world.token("alice").await.expect_err("gone").kind(), ErrorKind::NotConnected);
    assert_eq!(world.rows("vault_connections").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn r10_tokens_that_come_after_a_newer_generation_are_discarded() {
    let world = due().await;
    held(&world).await;
    // Another process got further meanwhile, which two rows of the database stand for.
    let ahead = "UPDATE vault_connections SET generation = 7, version = version - 1";
    let mut credential = world.blob("alice", "credential").await;
    credential[24] = 7;
    world.set_blob("alice", "credential", &credential).await;
    world.sql(ahead).await;
    world.faults.heal();
    // It does not open here, so they are held for a while.
    tokio::select! {
        () = world.until_event(|event| matches!(event, Event::RefreshFailed { .. })) => {}
        () = run_on(&world.clock, Duration::from_secs(60 * 60)) => panic!("held for ever"),
    }
    assert_eq!(world.blob("alice", "credential").await, credential, "left as it is");
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_does_not_open_costs_no_tokens() {
    let world = due().await;
    world.set_blob("alice", "summary", b"noise").await;
    let narrower = Fault::genuine().set("scope", "openid email").for_grant("refresh_token");
    world.provider.inject(Endpoint::Token, narrower);
    let token = world.token("alice").await.expect("the new token");
    assert_eq!(token.scopes().collect::<Vec<_>>(), ["openid", "email"]);
    assert_eq!(world.token("alice").await.expect("stored").expose_secret(), token.expose_secret());
    assert_eq!(world.blob("alice", "summary").await, b"noise");
}
