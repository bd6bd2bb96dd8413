//! The storage has failed, or has done its work and said nothing.

use std::sync::Arc;
use std::time::Duration;

use vault_core::ErrorKind;
use vault_core::event::Event;
use vault_core::store::StoreErrorKind;
use vault_testkit::faults::Fault;
use vault_testkit::simulator::{Endpoint, TokenState};
use vault_tests::World;
use vault_tests::backend::Backend;

fn is_refreshed(event: &Event) -> bool {
    matches!(event, Event::Refreshed { .. })
}

async fn due(backend: Arc<dyn Backend>) -> World {
    let world = World::builder().backend(backend).start().await;
    world.connect("alice").await.expect("alice connects");
    world.expire_tokens();
    world
}

pub(super) async fn s02_tokens_that_cannot_be_stored_are_held_and_stored_later(backend: Arc<dyn Backend>) {
    let world = due(backend).await;
    let (second, _faults) = world.second_vault().await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let reading = tokio::spawn(world.reads(&world.vault, "alice", |read| read));
    gate.arrived().await;
    world.faults.always_on_method("connections.put", Fault::Fail(StoreErrorKind::Unavailable));
    gate.release();
    let token = world.note(reading.await.expect("no panic")).expect("held in memory");
    assert_eq!(token.generation(), 2);
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

pub(super) async fn s03_a_refresh_whose_acknowledgement_was_lost_is_recognised(backend: Arc<dyn Backend>) {
    let world = due(backend).await;
    let (second, _faults) = world.second_vault().await;
    world.faults.reset();
    // After the marker's.
    world.faults.on_method("connections.put", 2, Fault::LoseAck);
    let token = world.token("alice").await.expect("a token");
    world.clock.wait_for_sleepers(2).await;
    world.clock.advance(Duration::from_secs(1));
    world.until_event(is_refreshed).await;

    assert_eq!(world.faults.calls("connections.put"), 2, "not written again");
    let stored = world.note(second.user("alice").token(world.connector.id()).await).expect("stored");
    assert_eq!((stored.generation(), stored.expose_secret()), (2, token.expose_secret()));
    assert_eq!(world.provider.refreshes().len(), 1);
}

pub(super) async fn s03_whichever_acknowledgement_is_lost_a_connect_is_whole_or_nothing(
    backend: Arc<dyn Backend>,
) {
    let world = World::builder().backend(backend).start().await;
    for n in 1.. {
        let user = format!("user {n}");
        let callback = world.callback(&user).await;
        world.faults.reset();
        world.faults.on_call(n, Fault::LoseAck);
        let connected = world.complete(callback).await;
        let done = world.faults.total_calls() < n;
        world.faults.heal();
        if let Err(error) = connected {
            assert_eq!(*error.kind(), ErrorKind::StoreUnavailable);
            world.assert_not_connected(&user).await;
            world.connect(&user).await.expect("the next try works");
        }
        assert_live(&world, &user).await;
        if done {
            break;
        }
    }
}

pub(super) async fn s03_whichever_acknowledgement_is_lost_a_disconnect_ends_the_grant(
    backend: Arc<dyn Backend>,
) {
    let world = World::builder().backend(backend).start().await;
    let before = world.backend.sizes().await;
    for n in 1.. {
        let user = format!("user {n}");
        world.connect(&user).await.expect("connects");
        world.faults.reset();
        world.faults.on_call(n, Fault::LoseAck);
        let gone = world.note(world.user(&user).disconnect(world.connector.id()).await);
        let done = world.faults.total_calls() < n;
        world.faults.heal();
        if let Err(error) = gone {
            assert_eq!(*error.kind(), ErrorKind::StoreUnavailable);
            assert_live(&world, &user).await;
            world.user(&user).disconnect(world.connector.id()).await.expect("the next try works");
        }
        world.assert_not_connected(&user).await;
        world.clock.advance(Duration::from_secs(5 * 60));
        world.note(world.vault.maintain(10).await).expect("a pass");
        let tokens = world.provider.tokens_of(&user);
        assert!(tokens.iter().all(|token| token.state != TokenState::Live), "{user}");
        assert_eq!(world.backend.sizes().await, before, "{user}");
        if done {
            break;
        }
    }
}

/// The user's token works, and is the user's.
async fn assert_live(world: &World, user: &str) {
    let token = world.token(user).await.expect("a token");
    assert!(world.provider.is_live(token.expose_secret()), "{user}");
    let info = world.provider.describe(token.expose_secret()).expect("the provider's own");
    assert_eq!(info.account, user);
}
