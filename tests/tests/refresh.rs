//! One refresh per generation, whoever asks, and the right answer for everybody who waited.

use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use vault_core::connector::ConnectorUpdate;
use vault_core::event::Event;
use vault_core::id::Slot;
use vault_core::{AccessToken, Error, ErrorKind, OwnerHandle, Provider, ReauthReason, Vault};
use vault_testkit::simulator::{Endpoint, Fault, Simulator};
use vault_tests::{CACHES, World, binding, run_until};

/// A connected user whose access token has ended.
async fn due() -> World {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.expire_tokens();
    world
}

/// Reads alice's token in a task of its own.
fn reading(world: &World, vault: &Vault) -> JoinHandle<Result<AccessToken, Error>> {
    tokio::spawn(world.reads(vault, "alice", |read| read))
}

async fn stored_generation(owner: &OwnerHandle) -> u64 {
    owner.connections().await.expect("a listing")[0].generation()
}

#[tokio::test(flavor = "multi_thread")]
async fn r01_two_hundred_tasks_make_one_request() {
    let world = due().await;
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        tasks.spawn(world.reads(&world.vault, "alice", |read| read));
    }
    let mut tokens: Vec<_> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let token = world.note(done.expect("no panic")).expect("a token");
        tokens.push(token.expose_secret().to_owned());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_eq!(world.provider.refreshes().len(), 1);
    assert_eq!(world.count_events(|event| matches!(event, Event::Refreshed { .. })), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r02_two_processes_of_fifty_tasks_make_one_request_per_generation() {
    const TASKS: usize = 50;
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    let (second, _faults) = world.second_vault().await;
    for generation in 2..5 {
        world.expire_tokens();
        let gate = world.provider.hold_next(Endpoint::Token);
        let mut tasks: Vec<_> = (0..TASKS).map(|_| reading(&world, &world.vault)).collect();
        gate.arrived().await;
        tasks.extend((0..TASKS).map(|_| reading(&world, &second)));
        // Everybody's patience; the request's deadline, the lease's renewal; and the second process, at the lease.
        world.clock.wait_for_sleepers(2 * TASKS + 3).await;
        gate.release();
        world
            .until_event(
                |event| matches!(event, Event::Refreshed { generation: now, .. } if *now == generation),
            )
            .await;
        world.clock.advance(Duration::from_secs(1));
        for task in tasks {
            let token = world.note(task.await.expect("no panic")).expect("a token");
            assert_eq!(token.generation(), generation);
        }
        assert_eq!(world.provider.refreshes().len() as u64, generation - 1);
    }
    assert_eq!(world.provider.max_in_flight(Endpoint::Token), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_the_loser_of_a_race_gets_the_winners_token() {
    // A provider that is said to need no settling, and does.
    let hasty = |provider: &Simulator| {
        let text = provider.provider_toml().replace("[refresh_policy]", "[refresh_policy]\nsettle = 0");
        Provider::from_toml(&text).expect("valid")
    };
    let world = World::builder().provider(hasty).start().await;
    world.connect("alice").await.expect("alice connects");
    world.expire_tokens();
    let (second, _faults) = world.second_vault().await;
    let gate = world.provider.hold_next(Endpoint::Token);
    let loser = reading(&world, &world.vault);
    gate.arrived().await;
    // A process that stood still for too long: its lease is over, its request is still on the way.
    world.lapse_leases().await;
    let winner = world.note(reading(&world, &second).await.expect("no panic")).expect("a token");
    gate.release();

    let token = world.note(loser.await.expect("no panic")).expect("the winner's token");
    assert_eq!(token.expose_secret(), winner.expose_secret());
    let refused = world.provider.refreshes().iter().filter(|call| call.status == Some(400)).count();
    assert_eq!(refused, 1, "it was told invalid_grant");
    assert_eq!(world.count_events(|event| matches!(event, Event::NeedsReauthorization { .. })), 0);
    assert!(world.provider.is_live(world.token("alice").await.expect("a token").expose_secret()));
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_a_late_success_mends_a_connection_that_was_marked_meanwhile() {
    let world = due().await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let reading = reading(&world, &world.vault);
    gate.arrived().await;
    // What another process writes that asked with the same token, too late, and was refused.
    let mut credential = world.blob("alice", "credential").await;
    credential[0] = 1;
    world.set_blob("alice", "credential", &credential).await;
    world.sql("UPDATE vault_connections SET status = 1, version = version - 1").await;
    let error = world.token("alice").await.expect_err("marked");
    assert!(error.needs_user_action());

    gate.release();
    assert_eq!(world.note(reading.await.expect("no panic")).expect("a token").generation(), 2);
    assert_eq!(world.token("alice").await.expect("mended").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_a_rejection_of_an_older_generation_gets_the_current_token() {
    let world = due().await;
    world.clock.jump_wall(-2 * 60 * 60);
    let old = world.token("alice").await.expect("a token");
    world.clock.jump_wall(2 * 60 * 60);
    let current = world.token("alice").await.expect("a token");
    let told = world.note(world.vault.report_rejected(&old).await).expect("the current one");
    assert_eq!(told.expose_secret(), current.expose_secret());
    assert_eq!((told.generation(), world.provider.refreshes().len()), (2, 1));

    // Unless that has ended too.
    world.expire_tokens();
    let told = world.note(world.vault.report_rejected(&old).await).expect("a fresh one");
    assert_eq!((told.generation(), world.provider.refreshes().len()), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_a_thousand_rejections_of_the_current_generation_make_one_request() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let rejected = world.token("alice").await.expect("the first generation");
        assert_eq!(rejected.generation(), 1);
        let vault = world.vault.clone();
        tasks.spawn(async move { vault.report_rejected(&rejected).await });
        if tasks.len() == 1 {
            // Nobody is told before the rest have asked.
            world.provider.inject(Endpoint::Token, Fault::genuine().delayed(Duration::from_secs(1)));
        }
    }
    world.clock.advance(Duration::from_secs(1));
    while let Some(done) = tasks.join_next().await {
        assert_eq!(world.note(done.expect("no panic")).expect("a token").generation(), 2);
    }
    assert_eq!(world.provider.refreshes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_a_late_rejection_makes_no_request_although_the_same_text_came_again_in_the_same_millisecond() {
    let eager = |provider: &Simulator| {
        let text = provider.provider_toml().replace("[refresh_policy]", "[refresh_policy]\nmin_interval = 0");
        Provider::from_toml(&text).expect("valid")
    };
    let world = World::builder().provider(eager).start().await;
    world.connect("alice").await.expect("alice connects");
    // The clock stands still from here on.
    let first = world.token("alice").await.expect("the first generation");
    let again = Fault::genuine().set("access_token", first.expose_secret()).for_grant("refresh_token");
    world.provider.inject(Endpoint::Token, again.forever());

    let second = world.note(world.vault.report_rejected(&first).await).expect("a new one");
    assert_eq!((second.generation(), world.provider.refreshes().len()), (2, 1));
    let told = world.note(world.vault.report_rejected(&first).await).expect("the current one");
    assert_eq!((told.generation(), world.provider.refreshes().len()), (2, 1));

    let third = world.note(world.vault.report_rejected(&second).await).expect("a new one");
    assert_eq!((third.generation(), world.provider.refreshes().len()), (3, 2));
    for late in [&first, &second] {
        let told = world.note(world.vault.report_rejected(late).await).expect("the current one");
        assert_eq!((told.generation(), world.provider.refreshes().len()), (3, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r19_without_a_refresh_token_the_user_is_needed_and_nobody_is_asked() {
    let world = World::builder().switches(|switches| switches.refresh_tokens = false).start().await;
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(Duration::from_secs(59 * 60));
    world.token("alice").await.expect("it still lives");
    world.clock.advance(Duration::from_secs(2 * 60));

    let calls = world.provider.calls().len();
    let reason = ReauthReason::NoRefreshToken;
    for _ in 0..3 {
        let error = world.token("alice").await.expect_err("it has ended");
        assert_eq!(*error.kind(), ErrorKind::NeedsReauthorization { reason });
    }
    assert_eq!(world.provider.calls().len(), calls);
    assert_eq!(world.count_events(|event| matches!(event, Event::NeedsReauthorization { .. })), 1);

    world.connect("alice").await.expect("the user is there");
    world.token("alice").await.expect("a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_tokens_of_different_scopes_are_refreshed_at_once_and_not_mixed_up() {
    let world = World::start().await;
    let narrow = Slot::new("narrow").expect("a good slot");
    let connect = world.connecting("alice").slot(narrow.clone()).scopes(["openid", "email"]);
    world.connect_as(connect, "alice").await.expect("connects");
    world.connect("alice").await.expect("alice connects");
    world.expire_tokens();

    let (alice, id) = (world.user("alice"), world.connector.id());
    let (wide, thin, refused) = tokio::join!(
        alice.token(id).require_scopes(["calendar.read"]).into_future(),
        alice.token(id).slot(narrow.clone()).into_future(),
        alice.token(id).slot(narrow.clone()).require_scopes(["calendar.read"]).into_future(),
    );
    let (wide, thin) = (world.note(wide).expect("a token"), world.note(thin).expect("a token"));
    for (token, count) in [(&wide, 3), (&thin, 2)] {
        let info = world.provider.describe(token.expose_secret()).expect("the provider's own");
        assert_eq!(info.scopes.len(), count);
        assert_eq!(token.scopes().collect::<Vec<_>>(), info.scopes);
    }
    let error = world.note(refused).expect_err("not granted");
    assert_eq!(*error.kind(), ErrorKind::MissingScopes { missing: vec!["calendar.read".to_owned()] });
    assert!(error.to_string().contains("calendar.read"), "{error}");
    assert_eq!(world.provider.refreshes().len(), 2);
}

const FILES: &str = "https://files.example/";
const MAIL: &str = "https://mail.example/";

/// As the simulator says, and with tokens by audience.
async fn with_audiences() -> World {
    let audiences = |provider: &Simulator| {
        let text =
            provider.provider_toml().replace("[refresh_policy]", "[refresh_policy]\naudience = 'resource'");
        Provider::from_toml(&text).expect("valid")
    };
    let world = World::builder().provider(audiences).start().await;
    world.connect("alice").await.expect("alice connects");
    world
}

/// What the provider issued the token for.
fn resources(world: &World, token: &AccessToken) -> Vec<String> {
    world.provider.describe(token.expose_secret()).expect("the provider's own").resources
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_tokens_for_different_audiences_are_asked_for_at_once_and_never_shared() {
    let world = with_audiences().await;
    world.expire_tokens();
    let (second, _faults) = world.second_vault().await;
    let reads: Vec<_> = (0..30)
        .map(|n| {
            let vault = if n % 2 == 0 { &world.vault } else { &second };
            let audience = [None, Some(FILES), Some(MAIL)][n % 3];
            let read = world.reads(vault, "alice", move |read| match audience {
                None => read,
                Some(audience) => read.audience(audience),
            });
            (audience, tokio::spawn(read))
        })
        .collect();
    let mut tokens = std::collections::BTreeMap::new();
    for (audience, read) in reads {
        // Whoever waits for the other process's lease looks again after a while.
        let token = run_until(&world.clock, read).await.expect("no panic");
        let token = world.note(token).expect("a token");
        assert_eq!(token.audience(), audience);
        assert_eq!(resources(&world, &token), Vec::from_iter(audience.map(str::to_owned)));
        let first = tokens.entry(audience).or_insert_with(|| token.expose_secret().to_owned());
        assert_eq!(*first, token.expose_secret(), "one for all who asked");
    }
    assert_eq!(tokens.len(), 3);
    assert_eq!(world.provider.refreshes().len(), 3, "one request each");

    // They are stored side by side.
    for (audience, token) in &tokens {
        let alice = second.user("alice");
        let read = alice.token(world.connector.id()).audience(audience.unwrap_or_default());
        assert_eq!(world.note(read.await).expect("stored").expose_secret(), token);
    }
    assert_eq!(world.provider.refreshes().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_a_token_that_was_rejected_is_replaced_for_its_audience_alone() {
    let world = with_audiences().await;
    let (alice, id) = (world.user("alice"), world.connector.id());
    let usual = world.note(alice.token(id).await).expect("a token");
    let files = world.note(alice.token(id).audience(FILES).await).expect("a token");
    world.clock.advance(Duration::from_secs(31));
    let newer = world.note(world.vault.report_rejected(&files).await).expect("another one");
    assert_eq!((newer.audience(), resources(&world, &newer)), (Some(FILES), vec![FILES.to_owned()]));
    assert_ne!(newer.expose_secret(), files.expose_secret());
    assert_eq!(world.note(alice.token(id).await).expect("as it was").expose_secret(), usual.expose_secret());

    // It is of an older generation than what is stored, and yet what is stored.
    let newest = world.note(world.vault.report_rejected(&usual).await).expect("another one");
    assert_eq!((newest.audience(), resources(&world, &newest)), (None, vec![]));
    assert_ne!(newest.expose_secret(), usual.expose_secret());
    assert_eq!(world.provider.refreshes().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_that_the_provider_refuses_costs_nobody_anything() {
    let world = with_audiences().await;
    let (alice, id) = (world.user("alice"), world.connector.id());
    for (status, code) in [(400, "invalid_target"), (400, "invalid_scope"), (400, "consent_required")] {
        world.provider.inject(Endpoint::Token, Fault::error(status, code).for_grant("refresh_token"));
        world.note(alice.token(id).audience(FILES).await).expect_err("refused");
    }
    // Neither the client's circuit nor the connection is any the worse for it.
    world.expire_tokens();
    assert_eq!(world.note(alice.token(id).await).expect("refreshed").generation(), 2);
    let files = world.note(alice.token(id).audience(FILES).await).expect("now it is granted");
    assert_eq!(resources(&world, &files), [FILES]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_is_refused_where_the_provider_is_not_known_to_heed_it() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    let read = world.user("alice").token(world.connector.id()).audience(FILES).await;
    let error = world.note(read).expect_err("it would get the usual token");
    assert_eq!(*error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("audience"), "{error}");
    assert_eq!(world.provider.refreshes().len(), 0);
    assert_eq!(world.token("alice").await.expect("untouched").generation(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_life_is_had_by_a_refresh_but_not_by_one_after_another() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    let long = || async {
        let hours = Duration::from_secs(2 * 60 * 60);
        let token = world.user("alice").token(world.connector.id()).min_ttl(hours).await;
        world.note(token).expect("a token").generation()
    };
    assert_eq!(long().await, 1, "as long as this provider's get");
    world.clock.advance(Duration::from_secs(31));
    assert_eq!((long().await, long().await), (2, 2));
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_token_is_asked_for_at_once_and_never_a_stored_one() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    let alice = world.user("alice");
    let fresh = || alice.token(world.connector.id()).fresh().into_future();
    assert_eq!(world.note(fresh().await).expect("a token").generation(), 2);
    assert_eq!(world.note(fresh().await).expect("it is as fresh as can be").generation(), 2);
    world.clock.advance(Duration::from_secs(31));
    world.provider.inject(Endpoint::Token, Fault::unavailable("1"));
    let error = world.note(fresh().await).expect_err("the stored one is not fresh");
    assert_eq!(*error.kind(), ErrorKind::ProviderUnavailable);
    assert_eq!(world.token("alice").await.expect("it lives").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_longer_than_asked_to_and_the_refresh_goes_on() {
    let world = due().await;
    let gate = world.provider.hold_next(Endpoint::Token);
    let patient = world.reads(&world.vault, "alice", |read| read.wait_at_most(Duration::from_secs(5)));
    let waiting = tokio::spawn(patient);
    gate.arrived().await;
    world.clock.wait_for_sleepers(3).await;
    world.clock.advance(Duration::from_secs(5));
    let error = world.note(waiting.await.expect("no panic")).expect_err("too late");
    assert_eq!(*error.kind(), ErrorKind::RefreshInProgress);
    assert!(error.is_retryable() && error.to_string().contains("alice"), "{error}");
    gate.release();
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);
    assert_eq!(world.provider.refreshes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_else_holds_the_lease_a_live_token_is_served_and_an_ended_one_is_not() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(Duration::from_secs(31));
    world.sql("UPDATE vault_connections SET lease_holder = x'00', lease_until = 1 << 52").await;

    let longer = world.reads(&world.vault, "alice", |read| read.min_ttl(Duration::from_secs(2 * 60 * 60)));
    let waiting = tokio::spawn(longer);
    world.clock.wait_for_sleepers(2).await;
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.note(waiting.await.expect("no panic")).expect("the live one").generation(), 1);

    world.expire_tokens();
    // The driver of before gives up; another process's begins.
    world.until_event(|event| matches!(event, Event::RefreshFailed { .. })).await;
    let (second, _faults) = world.second_vault().await;
    let waiting = reading(&world, &second);
    world.clock.wait_for_sleepers(2).await;
    world.clock.advance(Duration::from_secs(30));
    let error = world.note(waiting.await.expect("no panic")).expect_err("nothing to serve");
    assert_eq!(*error.kind(), ErrorKind::RefreshInProgress);
    assert_eq!(world.provider.refreshes().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_a_clock_that_jumps_makes_no_storm() {
    for options in CACHES {
        let world = World::builder().vault(options).start().await;
        world.connect("alice").await.expect("alice connects");
        for (jump, refreshes) in [(8 * 3600, 1), (-3600, 1), (-7 * 3600, 1), (9 * 3600, 2)] {
            world.clock.jump_wall(jump);
            for _ in 0..5 {
                let token = world.token("alice").await.expect("a token");
                assert!(world.provider.is_live(token.expose_secret()));
            }
            assert_eq!(world.provider.refreshes().len(), refreshes, "after a jump of {jump} s");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_or_a_connector_switched_off_leaves_a_live_token_in_use() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(Duration::from_secs(31));
    let alice = world.user("alice");
    let read = || alice.token(world.connector.id()).min_ttl(Duration::from_secs(2 * 60 * 60)).into_future();
    world.provider.inject(Endpoint::Token, Fault::error(503, "temporarily_unavailable"));
    assert_eq!(world.note(read().await).expect("the live one").generation(), 1);
    let off = ConnectorUpdate::new().enabled(false);
    world.vault.connectors().update(world.connector.id(), off).await.expect("an update");
    assert_eq!(world.note(read().await).expect("the live one").generation(), 1);

    // The request of unknown outcome has settled, and the next finds the connector off.
    world.expire_tokens();
    let off =
        |event: &Event| matches!(event, Event::RefreshFailed { kind: ErrorKind::ConnectorDisabled, .. });
    world.until_event(off).await;
    let error = world.token("alice").await.expect_err("nothing is refreshed");
    assert_eq!(*error.kind(), ErrorKind::ConnectorDisabled);
    assert_eq!(world.provider.refreshes().len(), 1);
    let on = ConnectorUpdate::new().enabled(true);
    world.vault.connectors().update(world.connector.id(), on).await.expect("an update");
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn r21_shutdown_waits_for_what_is_under_way_and_begins_nothing_new() {
    let world = due().await;
    world.connect("bob").await.expect("bob connects");
    let (second, _faults) = world.second_vault().await;
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let reading = reading(&world, &world.vault);
    gate.arrived().await;

    let hasty = tokio::spawn({
        let vault = world.vault.clone();
        async move { vault.shutdown(Duration::from_secs(1)).await }
    });
    // The caller, the request, the renewal, and the shutdown.
    world.clock.wait_for_sleepers(4).await;
    world.clock.advance(Duration::from_secs(1));
    assert!(!hasty.await.expect("no panic"), "not all has ended");

    let closing = tokio::spawn({
        let vault = world.vault.clone();
        async move { vault.shutdown(Duration::from_secs(10)).await }
    });
    world.clock.wait_for_sleepers(4).await;
    assert!(!closing.is_finished());
    gate.release();
    assert!(closing.await.expect("no panic"), "all has ended");
    assert_eq!(world.note(reading.await.expect("no panic")).expect("a token").generation(), 2);
    assert_eq!(stored_generation(&second.user("alice")).await, 2);

    world.token("bob").await.expect("a read that needs no refresh");
    world.expire_tokens();
    let refused = [
        world.token("bob").await.map(drop).expect_err("closed"),
        world.note(world.connecting("carol").start(&binding()).await).map(drop).expect_err("closed"),
        world.note(world.user("bob").disconnect(world.connector.id()).await).map(drop).expect_err("closed"),
        world.note(world.vault.maintain(1).await).map(drop).expect_err("closed"),
    ];
    for error in refused {
        assert_eq!(*error.kind(), ErrorKind::ShuttingDown, "{error}");
    }
    assert_eq!(world.provider.refreshes().len(), 1);
}
