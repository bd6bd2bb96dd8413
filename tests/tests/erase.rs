//! A user is deleted.

use std::time::Duration;

use vault_core::event::Event;
use vault_core::id::Slot;
use vault_core::{Disconnected, ErrorKind, Provider};
use vault_testkit::faults::Fault as StoreFault;
use vault_testkit::simulator::{Endpoint, Fault, TokenState};
use vault_tests::{World, binding};

async fn world() -> World {
    World::builder().vault(vault_core::VaultBuilder::data_key_per_user).start().await
}

/// How many rows of a user each table has.
async fn rows_of(world: &World, user: &str) -> [u64; 4] {
    let count = async |table: &str, column: &str| {
        // An update that changes nothing counts what it matches.
        world.sql(format!("UPDATE {table} SET {column} = {column} WHERE {column} = '{user}'")).await
    };
    [
        count("vault_connections", "owner_id").await,
        count("vault_owed", "owner_id").await,
        count("vault_flows", "owner_id").await,
        count("vault_keys", "user_id").await,
    ]
}

fn live(world: &World, account: &str) -> bool {
    world.provider.tokens_of(account).iter().any(|token| token.state == TokenState::Live)
}

fn abandoned(world: &World) -> usize {
    world.count_events(|event| matches!(event, Event::RevocationAbandoned { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn v09_of_a_user_who_is_deleted_nothing_is_left() {
    let world = world().await;
    world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable").times(2));
    world.connect("alice").await.expect("alice connects");
    let gone = world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    assert_eq!(gone, Disconnected::Pending);
    for slot in ["default", "work"] {
        let slot = Slot::new(slot).expect("a good slot");
        world.connect_as(world.connecting("alice").slot(slot), "alice").await.expect("connects");
    }
    let callback = world.callback("alice").await;
    world.connect("bob").await.expect("bob connects");
    assert_eq!(rows_of(&world, "alice").await, [2, 1, 1, 1]);

    let erased = world.note(world.user("alice").erase().await).expect("erased");
    assert_eq!((erased.disconnected, erased.revoked, erased.abandoned), (2, 1, 2));
    assert_eq!(rows_of(&world, "alice").await, [0; 4]);
    assert_eq!(abandoned(&world), 2, "the host is told which grants may live on");
    assert_eq!(world.count_events(|event| matches!(event, Event::Erased { .. })), 1);

    let error = world.complete(callback).await.expect_err("the flow is gone");
    assert_eq!(*error.kind(), ErrorKind::UnknownState);
    assert_eq!(rows_of(&world, "alice").await, [0; 4]);
    assert_eq!(rows_of(&world, "bob").await, [1, 0, 0, 1]);
    world.token("bob").await.expect("bob is untouched");

    let again = world.note(world.user("alice").erase().await).expect("erased");
    assert_eq!(again, vault_core::Erased::default());
    world.connect("alice").await.expect("a new life");
    world.token("alice").await.expect("with tokens of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn v09_a_connect_whose_code_is_being_exchanged_brings_nothing_back() {
    let world = world().await;
    let callback = world.callback("alice").await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let (connected, ()) = tokio::join!(world.complete(callback), async {
        gate.arrived().await;
        world.note(world.user("alice").erase().await).expect("erased");
        drop(gate);
    });
    assert_eq!(*connected.expect_err("cancelled").kind(), ErrorKind::FlowCancelled);
    assert_eq!(rows_of(&world, "alice").await, [0; 4], "nor a new data key");
}

#[tokio::test(flavor = "multi_thread")]
async fn v09_a_refresh_under_way_brings_no_data_key_back() {
    let world = world().await;
    world.connect("alice").await.expect("connects");
    world.expire_tokens();
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let alice = world.user("alice");
    let (token, ()) = tokio::join!(alice.token(world.connector.id()).into_future(), async {
        gate.arrived().await;
        world.note(world.user("alice").erase().await).expect("erased");
        drop(gate);
    });
    world.note(token).expect_err("she is gone");
    assert!(world.vault.shutdown(Duration::from_secs(10)).await, "what is under way ends");
    assert_eq!(rows_of(&world, "alice").await, [0; 4]);
}

/// Of two erasures at once, the one that does not find the key looks once more all the same.
#[tokio::test(flavor = "multi_thread")]
async fn v09_a_flow_that_began_before_somebody_else_destroyed_the_key_is_cancelled() {
    let world = world().await;
    world.connect("alice").await.expect("connects");
    let other = world.second_vault_with(vault_core::VaultBuilder::data_key_per_user).await.expect("starts").0;
    world.faults.on_method("keys.delete", 1, StoreFault::Delay(Duration::from_secs(5)));
    let alice = world.user("alice");
    let (erased, ()) = tokio::join!(alice.erase(), async {
        while world.faults.calls("keys.delete") == 0 {
            tokio::task::yield_now().await;
        }
        world.clock.wait_for_sleepers(1).await;
        let started = other.user("alice").connect(world.connector.id()).start(&binding()).await;
        world.note(started).expect("her key is there");
        assert_eq!(world.sql("DELETE FROM vault_keys WHERE user_id = 'alice'").await, 1);
        world.clock.advance(Duration::from_secs(5));
    });
    world.note(erased).expect("erased");
    assert_eq!(rows_of(&world, "alice").await, [0; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn v09_a_connect_that_is_being_stored_brings_nothing_back() {
    let world = world().await;
    let callback = world.callback("alice").await;
    world.faults.on_method("connections.put_and_finish", 1, StoreFault::Delay(Duration::from_secs(5)));
    let (connected, ()) = tokio::join!(world.complete(callback), async {
        // It sleeps before the write.
        while world.faults.calls("connections.put_and_finish") == 0 {
            tokio::task::yield_now().await;
        }
        world.clock.wait_for_sleepers(1).await;
        let erased = world.note(world.user("alice").erase().await).expect("erased");
        assert_eq!(erased.disconnected, 0, "there is nothing to see yet");
        world.clock.advance(Duration::from_secs(5));
    });
    assert_eq!(*connected.expect_err("cancelled").kind(), ErrorKind::FlowCancelled);
    assert_eq!(rows_of(&world, "alice").await, [0; 4]);
    assert!(!live(&world, "alice"), "what it brought is revoked");
    assert_eq!(world.count_events(|event| matches!(event, Event::Connected { .. })), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn v09_a_grant_that_another_connection_may_have_is_counted_as_it_is_told_of() {
    let world = World::builder()
        .provider(|simulator| {
            let toml = simulator.provider_toml().replace("[identity]\nsource = \"userinfo\"\n", "");
            Provider::from_toml(&format!("{toml}\n[revoke]\nradius = \"grant\"\n")).expect("a provider file")
        })
        .start()
        .await;
    for slot in ["default", "work"] {
        let slot = Slot::new(slot).expect("a good slot");
        world.connect_as(world.connecting("alice").slot(slot), "alice").await.expect("connects");
    }
    // While one of them goes, the other is there.
    world.faults.on_method("connections.delete", 2, StoreFault::Delay(Duration::from_secs(5)));
    let alice = world.user("alice");
    let (erased, ()) = tokio::join!(alice.erase(), async {
        world.until_event(|event| matches!(event, Event::RevocationAbandoned { .. })).await;
        world.clock.wait_for_sleepers(1).await;
        world.clock.advance(Duration::from_secs(5));
    });
    let erased = world.note(erased).expect("erased");
    assert_eq!((erased.disconnected, erased.revoked, erased.abandoned), (2, 1, 1));
    assert_eq!((abandoned(&world), rows_of(&world, "alice").await), (1, [0; 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn v09_whichever_store_call_fails_the_next_try_erases_all() {
    use vault_core::store::StoreErrorKind;
    let world = world().await;
    for n in 1.. {
        let user = format!("user {n}");
        world.connect(&user).await.expect("connects");
        world.faults.reset();
        world.faults.on_call(n, StoreFault::Fail(StoreErrorKind::Unavailable));
        let erased = world.note(world.user(&user).erase().await);
        let done = world.faults.total_calls() < n;
        world.faults.heal();
        if erased.is_err() {
            world.note(world.user(&user).erase().await).expect("the next try works");
        }
        assert_eq!(rows_of(&world, &user).await, [0; 4], "call {n}");
        if done {
            break;
        }
    }
}
