//! The refresh protocol step by step: what one process leaves behind, and what the next makes of it.

mod circuit;
mod replica;
mod spilled;

use std::time::Duration;

use tokio::task::JoinHandle;
use vault_core::event::Event;
use vault_core::store::StoreErrorKind;
use vault_core::{AccessToken, Disconnected, Error, ErrorKind, Provider, ReauthReason, Vault};
use vault_testkit::faults::Fault as StoreFault;
use vault_testkit::simulator::{Endpoint, Fault, Rotation, Simulator, Switches};
use vault_tests::{CACHES, World, WorldBuilder, run_on};

/// As the simulator says, without any waits.
fn hasty(provider: &Simulator) -> Provider {
    let quick = "[refresh_policy]\nsettle = 0\nmin_interval = 0";
    let text = provider.provider_toml().replace("[refresh_policy]", quick);
    Provider::from_toml(&text).expect("valid")
}

fn siblings(switches: &mut Switches) {
    switches.rotation = Rotation::LeewaySiblings { secs: 600 };
}

async fn due(world: WorldBuilder) -> World {
    let world = world.in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    world.expire_tokens();
    world
}

fn reading(world: &World, vault: &Vault) -> JoinHandle<Result<AccessToken, Error>> {
    tokio::spawn(world.reads(vault, "alice", |read| read.wait_at_most(Duration::from_secs(300))))
}

async fn read(world: &World, vault: &Vault) -> Result<AccessToken, Error> {
    world.note(reading(world, vault).await.expect("no panic"))
}

fn is_marked(event: &Event) -> bool {
    matches!(event, Event::NeedsReauthorization { .. })
}

/// A process that stops for good right after that write, and whose lease lapses.
async fn crashed_after_write(world: &World, write: u64) {
    let (crashing, faults) = world.second_vault().await;
    faults.on_method("connections.put", write, StoreFault::HangAfter);
    faults.always_on_method("connections.renew_lease", StoreFault::Fail(StoreErrorKind::Unavailable));
    let _never = reading(world, &crashing);
    // The caller, and the renewal of its lease.
    world.clock.wait_for_sleepers(2).await;
    while faults.calls("connections.put") < write {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r03_a_crash_before_the_send_costs_a_wait() {
    let world = due(World::builder()).await;
    crashed_after_write(&world, 1).await;
    // Longer than the lease, and than a request needs to settle.
    world.clock.advance(Duration::from_secs(46));
    let token = read(&world, &world.vault).await.expect("a token");
    assert_eq!(token.generation(), 2);
    assert!(world.provider.is_live(token.expose_secret()));
    assert_eq!(world.provider.refreshes().len(), 1, "one chain");
    assert_eq!(world.count_events(|event| matches!(event, Event::RefreshTakenOver { .. })), 1);
    assert_eq!(world.count_events(is_marked), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn r04_r06_a_reply_lost_by_a_strict_provider_is_asked_for_once_more_and_then_said_to_be_lost() {
    let world = due(World::builder()).await;
    world.provider.inject(Endpoint::Token, Fault::dropped().after_acting());
    let error = read(&world, &world.vault).await.expect_err("the reply is lost");
    assert_eq!(*error.kind(), ErrorKind::ProviderUnavailable);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)), "until it has settled");
    world.clock.wait_for_sleepers(2).await;
    assert_eq!((world.provider.refreshes().len(), world.count_events(is_marked)), (1, 0), "nothing yet");

    world.clock.advance(Duration::from_secs(30));
    world.until_event(is_marked).await;
    assert_eq!(world.provider.refreshes().len(), 2);
    let error = read(&world, &world.vault).await.expect_err("lost");
    let reason = ReauthReason::LostRotation;
    assert_eq!(*error.kind(), ErrorKind::NeedsReauthorization { reason });
    let sends = world.events().into_iter().find_map(|event| match event {
        Event::RotationLost { sends, .. } => Some(sends),
        _ => None,
    });
    assert_eq!(sends, Some(2), "the event says why");
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_a_lost_reply_is_fetched_again_where_the_provider_allows_it() {
    let modes: [fn(&mut Switches); 4] = [
        siblings,
        |switches| switches.rotation = Rotation::LeewayLatest { secs: 60 },
        |switches| switches.rotation = Rotation::Idempotent { secs: 60 },
        |switches| switches.rotation = Rotation::Static,
    ];
    for mode in modes {
        let world = due(World::builder().switches(mode)).await;
        world.provider.inject(Endpoint::Token, Fault::dropped().after_acting());
        match read(&world, &world.vault).await {
            // A token that is not spent by use is sent again at once.
            Ok(token) => assert_eq!(token.generation(), 2),
            Err(error) => {
                assert_eq!(*error.kind(), ErrorKind::ProviderUnavailable);
                world.clock.wait_for_sleepers(2).await;
                world.clock.advance(error.retry_after().expect("it says when"));
            }
        }
        world.until_event(|event| matches!(event, Event::Refreshed { .. })).await;
        let token = read(&world, &world.vault).await.expect("a token");
        assert!(world.provider.is_live(token.expose_secret()));
        assert_eq!((world.provider.refreshes().len(), world.count_events(is_marked)), (2, 0));
        world.expire_tokens();
        assert_eq!(read(&world, &world.vault).await.expect("the chain goes on").generation(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_after_a_crash_maintenance_asks_again_while_the_leeway_lasts() {
    let latest = |switches: &mut Switches| switches.rotation = Rotation::LeewayLatest { secs: 120 };
    let world = World::builder().in_memory().switches(latest).start().await;
    world.connect("alice").await.expect("alice connects");
    // Long before it is due by itself.
    let (crashing, faults) = world.second_vault().await;
    world.clock.advance(Duration::from_secs(31));
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    // After the marker it writes nothing any more.
    faults.on_method("connections.put", 2, StoreFault::Hang);
    faults.always_on_method("connections.renew_lease", StoreFault::Fail(StoreErrorKind::Unavailable));
    let _never = tokio::spawn(world.reads(&crashing, "alice", |read| read.fresh()));
    gate.arrived().await;

    // The lease has lapsed, and so has the time that the request may take.
    world.clock.advance(Duration::from_secs(50));
    // Nor does it wait long when the first try fails.
    world.faults.on_method("connections.put", 1, StoreFault::Fail(StoreErrorKind::Busy));
    let pass = world.vault.maintain(10).await.expect("a pass");
    assert_eq!((pass.refreshed, pass.failed), (0, 1));
    world.clock.advance(Duration::from_secs(12));
    let pass = world.vault.maintain(10).await.expect("a pass");
    assert_eq!((pass.refreshed, pass.failed), (1, 0));
    let token = read(&world, &world.vault).await.expect("a token");
    assert_eq!(token.generation(), 2);
    assert!(world.provider.is_live(token.expose_secret()));
    assert_eq!(world.count_events(is_marked), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_token_is_served_while_another_processs_send_settles() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(Duration::from_secs(31));
    let (crashing, faults) = world.second_vault().await;
    faults.on_method("connections.put", 1, StoreFault::HangAfter);
    faults.always_on_method("connections.renew_lease", StoreFault::Fail(StoreErrorKind::Unavailable));
    let hour = Duration::from_secs(2 * 60 * 60);
    let longer = |vault: &Vault| world.reads(vault, "alice", move |read| read.min_ttl(hour));
    let _never = tokio::spawn(longer(&crashing));
    world.clock.wait_for_sleepers(2).await;
    while faults.calls("connections.put") < 1 {
        tokio::task::yield_now().await;
    }
    // It holds the lease: for so long a refresh may be on its way.
    let waiting = tokio::spawn(longer(&world.vault));
    world.clock.wait_for_sleepers(4).await;
    world.clock.advance(Duration::from_secs(2));
    let token = world.note(waiting.await.expect("no panic")).expect("the one that lives");
    assert_eq!(token.generation(), 1);
    // The lease has lapsed, and not yet the time in which the request may arrive: nobody is kept waiting for that.
    world.clock.advance(Duration::from_secs(1));
    let token = world.note(longer(&world.vault).await).expect("the one that lives");
    assert_eq!((token.generation(), world.provider.refreshes().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn r07_of_two_replies_to_one_token_both_refresh_tokens_are_kept_until_one_has_proven_to_live() {
    let world = overtaken().await;
    let (second, _faults) = world.second_vault().await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let slow = reading(&world, &world.vault);
    gate.arrived().await;
    world.lapse_leases().await;
    let theirs = read(&world, &second).await.expect("a token");
    gate.release();

    let told = world.note(slow.await.expect("no panic")).expect("what is current");
    assert_eq!(told.expose_secret(), theirs.expose_secret(), "the later lease's");
    assert_eq!(world.count_events(|event| matches!(event, Event::SiblingKept { .. })), 1);
    world.provider.inject(Endpoint::Token, Fault::error(400, "invalid_grant"));
    world.expire_tokens();
    let token = read(&world, &second).await.expect("by the other refresh token");
    assert_eq!(token.generation(), 3);
    assert!(world.provider.is_live(token.expose_secret()));
    assert_eq!(world.count_events(|event| matches!(event, Event::AlternateTried { .. })), 1);
    assert_eq!(world.count_events(is_marked), 0);
}

/// On SQLite, where a lease ends when the test says so, as if the process that has it had stood still.
async fn overtaken() -> World {
    let world = World::builder().provider(hasty).switches(siblings).start().await;
    world.connect("alice").await.expect("alice connects");
    world.expire_tokens();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnect_ends_the_other_refresh_token_too() {
    let world = overtaken().await;
    let (second, _faults) = world.second_vault().await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let slow = reading(&world, &world.vault);
    gate.arrived().await;
    world.lapse_leases().await;
    read(&world, &second).await.expect("a token");
    gate.release();
    world.note(slow.await.expect("no panic")).expect("what is current");
    let done = world.note(second.user("alice").disconnect(world.connector.id()).await);
    assert_eq!(done.expect("a disconnect"), Disconnected::Revoked);
    assert_eq!(world.provider.count(Endpoint::Revoke), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn r08_a_reply_that_comes_after_a_newer_generation_changes_nothing() {
    let world = overtaken().await;
    let (second, _faults) = world.second_vault().await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let slow = reading(&world, &world.vault);
    gate.arrived().await;
    world.lapse_leases().await;
    for generation in [2, 3] {
        let token = second.user("alice").token(world.connector.id()).fresh().await;
        assert_eq!(world.note(token).expect("a token").generation(), generation);
    }
    let current = read(&world, &second).await.expect("a token");
    gate.release();

    let told = world.note(slow.await.expect("no panic")).expect("what is current");
    assert_eq!((told.generation(), told.expose_secret()), (3, current.expose_secret()));
    let stored = read(&world, &second).await.expect("a token");
    assert_eq!(stored.expose_secret(), current.expose_secret());
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
    assert_eq!(world.count_events(|event| matches!(event, Event::SiblingKept { .. })), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn r14_tokens_that_end_at_once_make_no_loop() {
    for (ttl, options) in [0, 1].into_iter().flat_map(|ttl| CACHES.map(|options| (ttl, options))) {
        let world = due(World::builder().vault(options)).await;
        world.provider.switch(|switches| switches.access_ttl = Duration::from_secs(ttl));
        for round in 1..=3 {
            for second in 0..20 {
                // The new token while it lives, and then to come back later.
                for again in [false, true] {
                    match read(&world, &world.vault).await {
                        Ok(token) => {
                            assert_eq!(token.generation(), round + 1);
                            let is_new = second == 0 && !again;
                            assert!(is_new || world.provider.is_live(token.expose_secret()), "{second}");
                        }
                        Err(error) => assert!(error.retry_after().is_some(), "{error}"),
                    }
                }
                world.vault.maintain(10).await.expect("a pass");
                world.clock.advance(Duration::from_secs(1));
            }
            assert_eq!(world.provider.refreshes().len() as u64, round, "{ttl} s");
            world.clock.advance(Duration::from_secs(20));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r25_a_lease_that_was_not_renewed_stops_the_request() {
    let world = due(World::builder()).await;
    // How a request ended is unknown since now; its lease is free.
    world.provider.inject(Endpoint::Token, Fault::error(500, "server_error").times(2));
    read(&world, &world.vault).await.expect_err("unknown");
    run_on(&world.clock, Duration::from_secs(30)).await;
    while world.count_events(|event| matches!(event, Event::RefreshFailed { .. })) < 2 {
        tokio::task::yield_now().await;
    }
    let (second, faults) = world.second_vault().await;
    faults.always_on_method("connections.renew_lease", StoreFault::Fail(StoreErrorKind::Unavailable));
    let waiting = reading(&world, &second);
    // The caller, the wait until it has settled, the next renewal.
    world.clock.wait_for_sleepers(3).await;
    let before = faults.calls("connections.acquire_lease");
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.note(waiting.await.expect("no panic")).expect("a token").generation(), 2);
    assert_eq!(faults.calls("connections.acquire_lease"), before + 1, "15 s are not enough for a request");
    assert_eq!(world.provider.refreshes().len(), 3);
}
