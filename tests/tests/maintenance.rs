//! What happens while nobody asks.

mod crowds;

use std::time::{Duration, SystemTime};

use vault_core::connector::ConnectorUpdate;
use vault_core::event::Event;
use vault_core::{Disconnected, Maintenance};
use vault_testkit::simulator::{Endpoint, Fault};
use vault_tests::{World, binding};

async fn pass(world: &World, limit: u32) -> Maintenance {
    world.note(world.vault.maintain(limit).await).expect("a pass")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_refreshed_ahead_of_its_end() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    let first = world.token("alice").await.expect("a token");
    world.clock.advance(Duration::from_secs(53 * 60));
    assert_eq!(pass(&world, 10).await, Maintenance::default(), "not due yet");
    world.clock.advance(Duration::from_secs(2 * 60));
    assert_eq!(pass(&world, 10).await.refreshed, 1);
    assert_eq!(pass(&world, 10).await, Maintenance::default(), "and not again");

    let second = world.token("alice").await.expect("a token");
    assert!(second.expires_at() > first.expires_at());
    assert_eq!((second.generation(), world.provider.refreshes().len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_refresh_is_put_off_and_tried_again() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(Duration::from_secs(55 * 60));
    world.provider.inject(Endpoint::Token, Fault::throttled("120"));
    assert_eq!(pass(&world, 10).await.failed, 1);
    world.clock.advance(Duration::from_secs(100));
    assert_eq!(pass(&world, 10).await, Maintenance::default(), "the provider asked for two minutes");
    world.clock.advance(Duration::from_secs(40));
    assert_eq!(pass(&world, 10).await.refreshed, 1);
    assert_eq!(world.count_events(|event| matches!(event, Event::NeedsReauthorization { .. })), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_taken_back_is_found_out_once() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.provider.revoke_grant("alice");
    world.clock.advance(Duration::from_secs(55 * 60));
    assert_eq!(pass(&world, 10).await.failed, 1);
    world.expire_tokens();
    assert_eq!(pass(&world, 10).await, Maintenance::default());
    assert!(world.token("alice").await.expect_err("taken back").needs_user_action());
    assert_eq!(world.provider.refreshes().len(), 1);
    assert_eq!(world.count_events(|event| matches!(event, Event::NeedsReauthorization { .. })), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_flows_are_purged_a_limited_number_at_a_time() {
    let world = World::start().await;
    for _ in 0..5 {
        world.connecting("alice").start(&binding()).await.expect("it starts");
    }
    assert_eq!(pass(&world, 3).await.purged, 0);
    world.clock.advance(Duration::from_secs(11 * 60));
    world.connecting("bob").start(&binding()).await.expect("it starts");
    let first = pass(&world, 3).await;
    assert_eq!((first.purged, first.more), (3, true));
    let second = pass(&world, 3).await;
    assert_eq!((second.purged, second.more), (2, false));
    assert_eq!(world.rows("vault_flows").await, 1, "the last is pending still");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_has_refreshed_since_the_scan_is_left_alone() {
    /// So many of one connector are refreshed at once in one process.
    const AT_ONCE: usize = 4;
    let world = World::start().await;
    let (second, _faults) = world.second_vault().await;
    for n in 0..=AT_ONCE {
        world.connect(&format!("user {n}")).await.expect("connects");
    }
    world.clock.advance(Duration::from_secs(55 * 60));

    let gates: Vec<_> = (0..AT_ONCE).map(|_| world.provider.hold_next(Endpoint::Token)).collect();
    let first = tokio::spawn({
        let vault = world.vault.clone();
        async move { vault.maintain(100).await }
    });
    for gate in &gates {
        gate.arrived().await;
    }
    // Its list is made; the last on it is free for the second process.
    let done = world.note(second.maintain(100).await).expect("a pass");
    assert_eq!((done.refreshed, done.failed), (1, 0));
    drop(gates);
    let done = world.note(first.await.expect("no panic")).expect("a pass");
    assert_eq!((done.refreshed, done.failed), (AT_ONCE + 1, 0));

    assert_eq!(world.provider.refreshes().len(), AT_ONCE + 1);
    for n in 0..=AT_ONCE {
        let listed = world.user(&format!("user {n}")).connections().await.expect("a listing");
        assert_eq!(listed[0].generation(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_cannot_be_refreshed_do_not_stand_in_front_of_the_others() {
    let world = World::start().await;
    let off = world.vault.connectors().register(world.new_connector("off")).await.expect("it registers");
    for user in ["anna", "boris"] {
        world.connect_as(world.user(user).connect(off.id()), user).await.expect("connects");
    }
    world.connect("damaged").await.expect("connects");
    world.set_blob("damaged", "credential", b"noise").await;
    let disable = ConnectorUpdate::new().enabled(false);
    world.vault.connectors().update(off.id(), disable).await.expect("an update");
    // More than due times are spread by, so that alice comes last.
    world.clock.advance(Duration::from_secs(2 * 60));
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(Duration::from_secs(57 * 60));

    assert_eq!(pass(&world, 3).await.failed, 3);
    assert_eq!(pass(&world, 3).await.refreshed, 1);
    let listed = world.user("alice").connections().await.expect("a listing");
    assert_eq!(listed[0].generation(), 2);
    assert_eq!(world.blob("damaged", "credential").await, b"noise");
    assert_eq!(world.provider.refreshes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_given_up_after_its_limit_and_the_host_is_told() {
    let world =
        World::builder().vault(|vault| vault.revocation_limit(Duration::from_secs(60 * 60))).start().await;
    world.connect("alice").await.expect("alice connects");
    world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable").forever());
    let gone = world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    assert_eq!(gone, Disconnected::Pending);
    let is_abandoned = |event: &Event| matches!(event, Event::RevocationAbandoned { .. });

    let mut waited = Duration::ZERO;
    while world.count_events(is_abandoned) == 0 {
        assert!(waited < Duration::from_secs(3 * 60 * 60), "it is given up at some time");
        let owed = world.user("alice").owed_revocations().await.expect("a listing");
        let next = owed[0].next_attempt.duration_since(now(&world)).unwrap_or_default();
        waited += next;
        world.clock.advance(next);
        pass(&world, 10).await;
    }
    assert!(waited > Duration::from_secs(60 * 60), "and not before its time");
    assert!(world.user("alice").owed_revocations().await.expect("a listing").is_empty());
    assert_eq!(world.rows("vault_owed").await, 0);
}

fn now(world: &World) -> SystemTime {
    vault_core::clock::Clock::now(&world.clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_processes_one_pays_what_is_owed() {
    let world = World::start().await;
    let (second, _faults) = world.second_vault().await;
    world.connect("alice").await.expect("alice connects");
    world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable"));
    world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    world.clock.advance(Duration::from_secs(2 * 60));
    let (one, other) = tokio::join!(world.vault.maintain(10), second.maintain(10));
    let (one, other) = (world.note(one).expect("a pass"), world.note(other).expect("a pass"));
    assert_eq!(one.revoked + other.revoked, 1);
    assert_eq!(world.provider.count(Endpoint::Revoke), 2, "the failure and the success");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_goes_on_after_faults_and_ends_with_the_vault() {
    use vault_core::store::StoreErrorKind;
    use vault_testkit::faults::Fault;
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(Duration::from_secs(55 * 60));
    world.faults.on_method("connections.due", 1, Fault::Fail(StoreErrorKind::Unavailable));
    world.vault.spawn_maintenance();
    world.clock.wait_for_sleepers(1).await;
    assert_eq!(world.provider.refreshes().len(), 0);
    world.clock.advance(Duration::from_secs(30));
    world.until_event(|event| matches!(event, Event::Refreshed { .. })).await;
    assert!(world.vault.shutdown(Duration::from_secs(10)).await);
}
