//! The store or the provider fails between the exchange and the answer.

use vault_core::ErrorKind;
use vault_core::event::Event;
use vault_core::store::StoreErrorKind;
use vault_testkit::faults::Fault;
use vault_tests::{World, assert_refused};

use super::{assert_closed, failures};

#[tokio::test]
async fn k18_a_connection_that_cannot_be_stored_is_none() {
    let world = World::start().await;
    let query = world.query("alice").await;
    world.faults.on_method("connections.put_and_finish", 1, Fault::Fail(StoreErrorKind::Unavailable));
    assert_refused(world.deliver(&query).await, ErrorKind::StoreUnavailable, "store");
    assert_eq!(world.provider.exchanges().len(), 1);
    assert_eq!(failures(&world), [ErrorKind::StoreUnavailable]);
    world.assert_not_connected("alice").await;
    assert_closed(&world, &query).await;
    world.connect("alice").await.expect("a new flow connects");
}

#[tokio::test]
async fn k18_a_lost_acknowledgement_is_no_failure() {
    let world = World::start().await;
    let query = world.query("alice").await;
    world.faults.on_method("connections.put_and_finish", 1, Fault::LoseAck);
    let connected = world.deliver(&query).await.expect("it was stored");
    let token = world.token("alice").await.expect("a token");
    assert_eq!((connected.connection(), token.generation()), (token.connection(), 1));
    assert_eq!(failures(&world), []);
    assert!(world.events().contains(&Event::Connected { key: token.connection().clone() }));
    assert_closed(&world, &query).await;
}

/// Whichever call to the store fails, before or after it takes effect: what the caller is told is what is stored.
#[tokio::test]
async fn k18_no_failing_store_call_leaves_half_a_connection() {
    for fault in [Fault::Fail(StoreErrorKind::Unavailable), Fault::LoseAck] {
        let world = World::start().await;
        for nth in 1.. {
            let user = format!("user-{nth}");
            let query = world.query(&user).await;
            world.faults.reset();
            world.faults.on_call(nth, fault);
            let connected = world.deliver(&query).await;
            let calls = world.faults.total_calls();
            world.faults.heal();
            match connected {
                Ok(_) => assert!(world.token(&user).await.is_ok()),
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    world.assert_not_connected(&user).await;
                }
            }
            if calls < nth {
                assert!(nth > 2, "the flow is taken, and the connection written");
                break;
            }
        }
    }
}

/// The same with a connection in place: it is the old one, or the new one.
#[tokio::test]
async fn k18_a_reconnect_that_cannot_be_stored_leaves_the_old_connection() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    for nth in 1.. {
        let before = world.token("alice").await.expect("a token");
        let query = world.query("alice").await;
        world.faults.reset();
        world.faults.on_call(nth, Fault::Fail(StoreErrorKind::Unavailable));
        let connected = world.deliver(&query).await;
        let done = world.faults.total_calls() < nth;
        world.faults.heal();
        match connected {
            // It failed and was asked again.
            Ok(_) => {
                let after = world.token("alice").await.expect("a token");
                assert_ne!(after.expose_secret(), before.expose_secret(), "call {nth}");
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                world.assert_unchanged("alice", &before).await;
            }
        }
        if done {
            break;
        }
    }
}
