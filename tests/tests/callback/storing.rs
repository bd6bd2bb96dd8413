//! A disconnect, a switched-off connector or a failing store while what the code brought is being stored.

use std::time::Duration;

use vault_core::connector::{AccountPolicy, ConnectorUpdate};
use vault_core::event::Event;
use vault_core::id::Slot;
use vault_core::store::StoreErrorKind;
use vault_core::{Disconnected, ErrorKind, Provider, VaultBuilder};
use vault_testkit::faults::Fault;
use vault_testkit::simulator::{Endpoint, Fault as ProviderFault};
use vault_tests::{World, WorldBuilder, assert_refused};

use super::{APART, AT_ONCE, apart, asleep_in, deliver_while, failures, live, unclaimed};

fn connected(world: &World) -> usize {
    world.count_events(|event| matches!(event, Event::Connected { .. }))
}

/// The same world with either way to store a connection, and the method that it is stored by.
async fn both_ways(build: impl Fn() -> WorldBuilder) -> [(World, &'static str); 2] {
    [(build().start().await, AT_ONCE), (build().flows_apart().start().await, APART)]
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_an_account_that_goes_into_its_own_slot_does_not_outlive_its_user() {
    let build = || {
        let world = World::builder().vault(VaultBuilder::data_key_per_user);
        world.connector(|connector| connector.account_policy(AccountPolicy::NewSlot))
    };
    for (world, write) in both_ways(build).await {
        world.connect("alice").await.expect("connects");
        let query = world.query_of(world.connecting("alice"), "alice-the-second").await;
        let erased = async { world.note(world.user("alice").erase().await).expect("erased") };
        // The first write finds the other account in its slot.
        assert_eq!(deliver_while(&world, &query, (write, 2), erased).await, ErrorKind::FlowCancelled);
        assert_eq!((world.rows("vault_connections").await, world.rows("vault_keys").await), (0, 2));
        assert_eq!((live(&world, "alice"), live(&world, "alice-the-second"), connected(&world)), (0, 0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_slot_that_was_disconnected_meanwhile_stays_so() {
    let build = || World::builder().connector(|connector| connector.account_policy(AccountPolicy::NewSlot));
    for (world, write) in both_ways(build).await {
        world.connect("alice").await.expect("connects");
        world.connect_as(world.connecting("alice"), "second").await.expect("connects");
        let query = world.query_of(world.connecting("alice"), "second").await;
        let slot = Slot::new("second").expect("a slot");
        let disconnected = async {
            let gone = world.user("alice").disconnect_slot(world.connector.id(), slot.clone()).await;
            assert_eq!(world.note(gone).expect("disconnects"), Disconnected::Revoked);
        };
        // The first two writes find both slots taken; the third is to replace.
        assert_eq!(deliver_while(&world, &query, (write, 3), disconnected).await, ErrorKind::FlowCancelled);
        let listed = world.user("alice").connections().await.expect("a listing");
        assert_eq!(listed.iter().map(|info| info.key().slot.as_str()).collect::<Vec<_>>(), ["default"]);
        assert_eq!((live(&world, "second"), connected(&world)), (0, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_connection_whose_flow_was_cancelled_is_never_written() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let disconnected = async {
        let gone = world.user("alice").disconnect(world.connector.id()).await;
        assert_eq!(world.note(gone).expect("nothing is there yet"), Disconnected::NotConnected);
        // It needs no taking back.
        world.faults.always_on_method("connections.delete", Fault::Fail(StoreErrorKind::Unavailable));
    };
    assert_eq!(deliver_while(&world, &query, (AT_ONCE, 1), disconnected).await, ErrorKind::FlowCancelled);
    assert_eq!((world.rows("vault_connections").await, live(&world, "alice")), (0, 0));
    assert_eq!((world.faults.calls("flows.finish"), connected(&world)), (0, 0));
}

#[tokio::test]
async fn k17_a_lost_answer_about_the_flow_does_not_look_like_a_disconnect() {
    let world = apart().await;
    world.connect("alice").await.expect("connects");
    let before = world.token("alice").await.expect("a token");
    let query = world.query("alice").await;
    world.faults.on_method("flows.finish", 1, Fault::LoseAck);
    assert_refused(world.deliver(&query).await, ErrorKind::StoreUnavailable, "store");
    assert_eq!(failures(&world), [ErrorKind::StoreUnavailable]);
    world.assert_unchanged("alice", &before).await;

    let query = world.query("bob").await;
    world.faults.on_method("flows.finish", 1, Fault::LoseAck);
    assert_refused(world.deliver(&query).await, ErrorKind::StoreUnavailable, "store");
    world.assert_not_connected("bob").await;
}

#[tokio::test]
async fn k18_a_connection_that_may_have_replaced_another_stands() {
    // The first look is at what is in the way, the others at what came of the write.
    for looks in [1, 2] {
        for (world, write) in both_ways(World::builder).await {
            world.connect("alice").await.expect("connects");
            let before = world.token("alice").await.expect("a token");
            let query = world.query("alice").await;
            world.faults.reset();
            world.faults.on_method(write, 2, Fault::LoseAck);
            for look in 0..looks {
                world.faults.on_method("connections.get", 2 + look, Fault::Fail(StoreErrorKind::Unavailable));
            }
            let result = world.deliver(&query).await;
            assert_eq!(result.is_ok(), looks == 1, "{result:?}");
            assert_eq!((connected(&world), unclaimed(&world)), if looks == 1 { (2, 0) } else { (1, 1) });
            let after = world.token("alice").await.expect("she is connected still");
            assert_ne!(after.expose_secret(), before.expose_secret());
            assert!(world.provider.is_live(after.expose_secret()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_busy_store_is_asked_again_whether_the_user_has_disconnected() {
    let world = apart().await;
    let query = world.query("alice").await;
    let disconnected = async {
        world.note(world.user("alice").disconnect(world.connector.id()).await).expect("disconnects");
        world.faults.on_method("flows.finish", 1, Fault::Fail(StoreErrorKind::Busy));
    };
    assert_eq!(deliver_while(&world, &query, (APART, 1), disconnected).await, ErrorKind::FlowCancelled);
    world.assert_not_connected("alice").await;
    assert_eq!(live(&world, "alice"), 0);
}

#[tokio::test]
async fn k18_what_is_not_stored_is_told_of_and_not_said_to_be_connected() {
    let world = World::start().await;
    world.faults.on_method(AT_ONCE, 1, Fault::Fail(StoreErrorKind::Unavailable));
    world.connect("alice").await.expect_err("it cannot be stored");
    assert_eq!((connected(&world), unclaimed(&world)), (0, 1));

    world.connect("alice").await.expect("connects");
    let before = world.token("alice").await.expect("a token");
    let other = world.connect_as(world.connecting("alice"), "mallory").await;
    assert_refused(other, ErrorKind::AccountMismatch, "another account");
    assert_eq!((connected(&world), unclaimed(&world)), (1, 2));

    world.provider.inject(Endpoint::Userinfo, ProviderFault::unavailable("5"));
    let unknown = world.connect_as(world.connecting("alice").slot(slot()), "nobody").await;
    assert_refused(unknown, ErrorKind::ProviderUnavailable, "503");
    assert_eq!((connected(&world), unclaimed(&world)), (1, 3));
    world.assert_unchanged("alice", &before).await;
    assert_eq!(world.provider.count(Endpoint::Revoke), 0, "it may be what a connection has");
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_what_a_code_brought_is_revoked_though_it_would_not_have_been_stored() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    world.provider.inject(Endpoint::Userinfo, ProviderFault::unavailable("5"));
    let (result, ()) = tokio::join!(world.deliver(&query), async {
        gate.arrived().await;
        world.note(world.user("alice").disconnect(world.connector.id()).await).expect("nothing to do");
        gate.release();
    });
    assert_refused(result, ErrorKind::FlowCancelled, "disconnected");
    assert_eq!((live(&world, "alice"), unclaimed(&world)), (0, 0));
}

fn slot() -> Slot {
    Slot::new("other").expect("a slot")
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_of_several_connections_the_one_that_was_disconnected_meanwhile_is_gone_and_the_others_stand() {
    let world = World::builder()
        .provider(|simulator| {
            let toml = simulator.provider_toml().replace("[identity]\nsource = \"userinfo\"\n", "");
            let roots = "\n[response]\nroot = \"/user\"\nroots_by_kind = { bot = \"/bot\" }\n";
            Provider::from_toml(&(toml + roots)).expect("a valid provider file")
        })
        .start()
        .await;
    let reply = ProviderFault::genuine().map_json(|fields| {
        let genuine = serde_json::Value::Object(std::mem::take(fields));
        fields.insert("bot".into(), serde_json::json!({ "access_token": "a bot's", "token_type": "Bearer" }));
        fields.insert("user".into(), genuine);
    });
    world.provider.inject(Endpoint::Token, reply.times(2));
    let both = world.connect("alice").await.expect("connects");
    let slots: Vec<_> = both.connections().iter().map(|key| key.slot.clone()).collect();
    assert_eq!(slots.len(), 2);

    let query = world.query("alice").await;
    world.faults.reset();
    // Both are in the way; the first is replaced, then the second.
    world.faults.on_method("connections.put", 4, Fault::Delay(Duration::from_secs(5)));
    let (result, ()) = tokio::join!(world.deliver(&query), async {
        asleep_in(&world, "connections.put", 4).await;
        let gone = world.user("alice").disconnect_slot(world.connector.id(), slots[1].clone()).await;
        world.note(gone).expect("disconnects");
        world.clock.advance(Duration::from_secs(5));
    });
    let connected = result.expect("one of them stands");
    assert_eq!(connected.connections().iter().map(|key| key.slot.clone()).collect::<Vec<_>>(), slots[..1]);
    let listed = world.user("alice").connections().await.expect("a listing");
    assert_eq!(listed.iter().map(|info| info.key().slot.clone()).collect::<Vec<_>>(), slots[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_store_that_does_not_write_or_not_answer_hides_no_disconnect() {
    for fault in [Fault::Fail(StoreErrorKind::Busy), Fault::LoseAck] {
        let world = World::start().await;
        let query = world.query("alice").await;
        let gate = world.provider.hold_next_reply(Endpoint::Token);
        let (result, ()) = tokio::join!(world.deliver(&query), async {
            gate.arrived().await;
            world.note(world.user("alice").disconnect(world.connector.id()).await).expect("nothing to do");
            world.faults.on_method(AT_ONCE, 1, fault);
            gate.release();
        });
        assert_refused(result, ErrorKind::FlowCancelled, "disconnected");
        assert_eq!((live(&world, "alice"), unclaimed(&world)), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_flow_that_expired_while_its_connection_was_stored_is_not_taken_for_a_disconnect() {
    for (world, write) in both_ways(World::builder).await {
        let query = world.query("alice").await;
        let long = Duration::from_secs(11 * 60);
        world.faults.on_method(write, 1, Fault::Delay(long));
        let (result, ()) = tokio::join!(world.deliver(&query), async {
            asleep_in(&world, write, 1).await;
            world.clock.advance(long - Duration::from_secs(1));
            let (other, _) = world.second_vault().await;
            world.note(other.maintain(10).await).expect("a pass purges it");
            world.clock.advance(Duration::from_secs(1));
        });
        assert_refused(result, ErrorKind::FlowExpired, "too long");
        assert_eq!((world.rows("vault_connections").await, unclaimed(&world)), (0, 1));
        assert!(live(&world, "alice") > 0, "nobody disconnected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v07_a_connector_that_is_switched_off_while_the_code_is_exchanged_connects_nobody() {
    let world = World::start().await;
    let query = world.query("alice").await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let (result, ()) = tokio::join!(world.deliver(&query), async {
        gate.arrived().await;
        let off = ConnectorUpdate::new().enabled(false);
        world.vault.connectors().update(world.connector.id(), off).await.expect("switched off");
        gate.release();
    });
    assert_refused(result, ErrorKind::ConnectorDisabled, "switched off");
    assert_eq!((world.rows("vault_connections").await, connected(&world)), (0, 0));
}
