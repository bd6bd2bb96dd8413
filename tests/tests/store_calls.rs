//! Every store call of an operation fails once, and every await is once the last: afterwards all is as it should be.

use std::time::Duration;

use vault_core::event::Event;
use vault_core::store::StoreErrorKind;
use vault_core::{Error, ErrorKind};
use vault_testkit::faults::Fault;
use vault_testkit::simulator::TokenState;
use vault_tests::{World, binding, polled};

const FAULTS: [Fault; 3] =
    [Fault::Fail(StoreErrorKind::Busy), Fault::Fail(StoreErrorKind::Unavailable), Fault::LoseAck];

#[tokio::test(flavor = "multi_thread")]
async fn s02_whichever_store_call_of_a_connect_fails_the_answer_is_the_truth() {
    let world = World::start().await;
    for fault in FAULTS {
        for n in 1.. {
            let user = format!("{fault:?} {n}");
            let callback = world.callback(&user).await;
            world.faults.reset();
            world.faults.on_call(n, fault);
            let connected = world.complete(callback).await;
            let done = world.faults.total_calls() < n;
            world.faults.heal();

            assert_eq!(connected.is_ok(), world.token(&user).await.is_ok(), "{user}");
            if let Err(error) = connected {
                assert_eq!(*error.kind(), ErrorKind::StoreUnavailable);
                assert_not_connected(&world, &user).await;
                world.connect(&user).await.expect("the next try works");
            }
            assert_live(&world, &user).await;
            if done {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_whichever_store_call_of_a_start_fails_no_url_is_handed_out() {
    let world = World::start().await;
    for fault in FAULTS {
        for n in 1.. {
            let user = format!("{fault:?} {n}");
            world.faults.reset();
            world.faults.on_call(n, fault);
            let started = world.note(world.connecting(&user).start(&binding()).await);
            let done = world.faults.total_calls() < n;
            world.faults.heal();
            assert_eq!(started.is_ok(), done);
            if let Err(error) = started {
                assert_eq!(*error.kind(), ErrorKind::StoreUnavailable);
                world.connect(&user).await.expect("the next try works");
            } else {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_whichever_store_call_of_a_refresh_fails_the_provider_is_asked_once() {
    let world = World::start().await;
    for fault in FAULTS {
        for n in 1.. {
            let user = format!("{fault:?} {n}");
            world.connect(&user).await.expect("connects");
            world.expire_tokens();
            let before = world.provider.refreshes().len();
            world.faults.reset();
            world.faults.on_call(n, fault);
            let read = world.token(&user).await;
            if let Err(error) = read {
                assert!(error.is_retryable(), "{error}");
            } else if world.count_events(|event| is_pending(event, &user)) > 0 {
                // The lease's renewal, and the pause before the write is tried again.
                world.clock.wait_for_sleepers(2).await;
                world.clock.advance(Duration::from_secs(1));
                world.until_event(|event| is_refreshed(event, &user)).await;
            }
            let done = world.faults.total_calls() < n;
            world.faults.heal();
            world.lapse_leases().await;

            let token = world.token(&user).await.expect("the next try works");
            assert_eq!(token.generation(), 2);
            assert_live(&world, &user).await;
            assert_eq!(world.provider.refreshes().len(), before + 1, "{user}");
            if done {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_whichever_store_call_of_a_disconnect_fails_the_grant_ends() {
    let world = World::start().await;
    for fault in FAULTS {
        for n in 1.. {
            let user = format!("{fault:?} {n}");
            world.connect(&user).await.expect("connects");
            world.faults.reset();
            world.faults.on_call(n, fault);
            let gone = world.note(world.user(&user).disconnect(world.connector.id()).await);
            let done = world.faults.total_calls() < n;
            world.faults.heal();
            if let Err(error) = gone {
                assert_eq!(*error.kind(), ErrorKind::StoreUnavailable);
                assert_live(&world, &user).await;
                world.user(&user).disconnect(world.connector.id()).await.expect("the next try works");
            }
            assert_not_connected(&world, &user).await;
            world.clock.advance(Duration::from_secs(5 * 60));
            world.vault.maintain(10).await.expect("a pass");
            assert_dead(&world, &user).await;
            if done {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_a_connect_dropped_at_any_await_disturbs_nobody() {
    let world = World::start().await;
    world.connect("bob").await.expect("bob connects");
    for n in 1.. {
        let user = format!("starting {n}");
        let started = polled(world.connecting(&user).start(&binding()), n).await;
        assert_live(&world, "bob").await;
        world.connect(&user).await.expect("the next try works");
        if started.is_some() {
            break;
        }
    }
    for n in 1.. {
        let user = format!("completing {n}");
        let callback = world.callback(&user).await;
        let completed = polled(world.vault.complete(callback, &binding()), n).await;
        assert_live(&world, "bob").await;
        // It goes on without its caller.
        world.until_event(|event| matches!(event, Event::Connected { key } if owned_by(key, &user))).await;
        assert_live(&world, &user).await;
        if completed.is_some() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r20_a_token_read_dropped_at_any_await_leaves_a_refresh_that_completes() {
    let world = World::start().await;
    world.connect("bob").await.expect("bob connects");
    for n in 1.. {
        let user = format!("reading {n}");
        world.connect(&user).await.expect("connects");
        world.expire_tokens();
        let before = world.provider.refreshes().len();
        let read = polled(world.user(&user).token(world.connector.id()), n).await;
        let begun = world.provider.refreshes().len() > before;
        assert_live(&world, &user).await;
        if begun {
            world.until_event(|event| is_refreshed(event, &user)).await;
        }
        let listed = world.user(&user).connections().await.expect("a listing");
        assert_eq!(listed[0].generation(), 2, "stored");
        let of_user = world.provider.refreshes().len() - before;
        assert_eq!(of_user, 1, "one request, whoever waited for it");
        assert_live(&world, "bob").await;
        if read.is_some() {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_a_disconnect_dropped_at_any_await_completes() {
    let world = World::start().await;
    world.connect("bob").await.expect("bob connects");
    for n in 1.. {
        let user = format!("leaving {n}");
        world.connect(&user).await.expect("connects");
        let gone = polled(world.user(&user).disconnect(world.connector.id()), n).await;
        assert_live(&world, "bob").await;
        world.until_event(|event| matches!(event, Event::Revoked { key } if owned_by(key, &user))).await;
        assert_not_connected(&world, &user).await;
        assert_dead(&world, &user).await;
        if gone.is_some() {
            break;
        }
    }
}

fn owned_by(key: &vault_core::id::ConnectionKey, user: &str) -> bool {
    matches!(&key.owner, vault_core::id::Owner::User(owner) if owner.as_str() == user)
}

fn is_pending(event: &Event, user: &str) -> bool {
    matches!(event, Event::PersistPending { key, .. } if owned_by(key, user))
}

fn is_refreshed(event: &Event, user: &str) -> bool {
    matches!(event, Event::Refreshed { key, .. } if owned_by(key, user))
}

/// The user's token works, and is the user's.
async fn assert_live(world: &World, user: &str) {
    let token = world.token(user).await.expect("a token");
    assert!(world.provider.is_live(token.expose_secret()), "{user}");
    let info = world.provider.describe(token.expose_secret()).expect("the provider's own");
    assert_eq!(info.account, user);
}

async fn assert_not_connected(world: &World, user: &str) {
    let kind = |error: Error| error.kind().clone();
    assert_eq!(world.token(user).await.map(drop).map_err(kind), Err(ErrorKind::NotConnected), "{user}");
    assert!(world.user(user).connections().await.expect("a listing").is_empty(), "{user}");
}

/// Nothing of the user's works at the provider, and nothing is owed.
async fn assert_dead(world: &World, user: &str) {
    let live = |state| state == TokenState::Live;
    assert!(!world.provider.tokens_of(user).iter().any(|token| live(token.state)), "{user}");
    // Crossed off right after the provider confirmed.
    while !world.user(user).owed_revocations().await.expect("a listing").is_empty() {
        tokio::task::yield_now().await;
    }
}
