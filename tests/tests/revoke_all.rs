//! Break-glass: everything goes, as fast as the providers allow.

use std::time::Duration;

use vault_core::event::Event;
use vault_core::store::{Page, StoreErrorKind};
use vault_core::{Disconnected, ErrorKind, RevokePace};
use vault_testkit::faults::Fault as StoreFault;
use vault_testkit::simulator::{Endpoint, Fault};
use vault_tests::World;
use vault_tests::crowd::{Answer, Crowd, user};

const STEP: Duration = Duration::from_millis(100);

async fn owed(crowd: &Crowd) -> usize {
    let page = Page::first(u32::MAX);
    crowd.vault.tenant("default").owed_revocations(&page).await.expect("a listing").items.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn v07_all_of_one_provider_is_revoked_at_its_pace_and_can_be_resumed() {
    const MANY: usize = 10_000;
    const THROTTLED: usize = 2;
    let pace = RevokePace::new().per_second(500).concurrency(4);
    let crowd = Crowd::new().await;
    let (many, calm) = (crowd.connector("many", "").await, crowd.connector("calm", "").await);
    crowd.connect(&many, MANY).await;
    crowd.connect(&calm, 20).await;
    crowd.providers.script("many", |number| match number {
        100 | 250 => Answer::Throttled(30),
        _ => Answer::Good,
    });
    crowd.providers.script("calm", |_| Answer::Good);

    // The operator's patience ends early.
    let connectors = crowd.vault.connectors();
    let first = connectors.revoke_all(many.id(), pace);
    let given_up = async {
        tokio::select! {
            _ = first => panic!("the pace does not allow it"),
            () = crowd.providers.until("many", 50, 0) => {}
        }
    };
    crowd.providers.pass_time(STEP, given_up).await;
    for n in [0, 1, MANY / 2, MANY - 1] {
        let gone = crowd.vault.user(user(n)).token(many.id()).await.expect_err("out of reach from the start");
        assert_eq!(*gone.kind(), ErrorKind::NotConnected);
    }

    let mut report = None;
    let second = async { report = Some(connectors.revoke_all(many.id(), pace).await) };
    crowd.providers.pass_time(STEP, second).await;
    let report = report.expect("it ended").expect("the vault is open");
    assert_eq!((report.disconnected, report.pending), (0, THROTTLED), "{report:?}");
    assert!(!report.is_complete() && report.failed.is_empty() && report.stopped.is_none(), "{report:?}");
    assert_eq!(owed(&crowd).await, THROTTLED, "each of them visible");

    let times = crowd.providers.times("many");
    // What was under way when the first call was given up may have been sent twice, which is harmless.
    assert!((MANY..MANY + 4).contains(&times.len()), "{}", times.len());
    for throttled in [100, 250] {
        let pause = times[throttled]..times[throttled] + Duration::from_secs(29);
        let meanwhile = times[throttled + 1..].iter().filter(|time| pause.contains(time)).count();
        // Of 14,500: what had been on its way, and what the machine let through before it was heard.
        assert!(meanwhile < 12, "{meanwhile} requests while it asked for a pause");
    }
    for window in times.windows(501) {
        assert!(window[500] - window[0] >= Duration::from_millis(900), "500 a second");
    }
    assert_eq!(crowd.providers.requests("calm"), 0, "another connector is untouched");
    let tokens = crowd.vault.user(user(0)).token(calm.id()).await;
    tokens.expect("its connections work");

    crowd.clock.advance(Duration::from_secs(60));
    let done = crowd.vault.maintain(100).await.expect("a pass");
    assert_eq!(done.revoked, THROTTLED);
    let report = connectors.revoke_all(many.id(), pace).await.expect("the vault is open");
    assert!(report.is_complete());
    assert_eq!((report.disconnected, report.revoked, owed(&crowd).await), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_throttles_gets_its_pause_from_maintenance_too() {
    let crowd = Crowd::new().await;
    let connector = crowd.connector("provider", "").await;
    crowd.connect(&connector, 30).await;
    crowd.providers.script("provider", |_| Answer::Throttled(30));
    let report = async { crowd.vault.revoke_all(RevokePace::new().concurrency(1)).await };
    tokio::select! {
        _ = report => panic!("it waits"),
        () = crowd.clock.wait_for_sleepers(1) => {}
    }
    crowd.providers.until("provider", 1, 0).await;
    crowd.clock.advance(Duration::from_secs(90));
    let done = crowd.vault.maintain(100).await.expect("a pass");
    assert!(done.still_owed < 10, "the others were not even tried: {done:?}");
    assert_eq!(owed(&crowd).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_goes_alone_and_everything_is_every_tenant() {
    let world = World::start().await;
    let fast = RevokePace::new().per_second(u32::MAX);
    let mut connectors = Vec::new();
    for tenant in ["acme", "globex"] {
        let handle = world.vault.tenant(tenant);
        let there = handle.connectors().expect("a good id");
        let there = there.register(world.new_connector("there")).await.expect("it registers");
        for user in ["alice", "bob"] {
            world.connect_as(handle.user(user).connect(there.id()), user).await.expect("connects");
        }
        connectors.push(there);
    }
    world.connect("alice").await.expect("alice connects");

    let acme = world.note(world.vault.tenant("acme").revoke_all(fast).await).expect("a report");
    assert_eq!((acme.disconnected, acme.revoked, acme.is_complete()), (2, 2, true));
    let left = world.vault.tenant("globex").user("alice").token(connectors[1].id()).await;
    world.note(left).expect("another tenant's is untouched");

    let all = world.note(world.vault.revoke_all(fast).await).expect("a report");
    assert_eq!((all.disconnected, all.revoked, all.is_complete()), (3, 3, true));
    assert_eq!(world.rows("vault_connections").await, 0);
    let told: Vec<_> = world
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::MassRevoked { tenant, connector: None, disconnected } => Some((tenant, disconnected)),
            _ => None,
        })
        .collect();
    let acme = vault_core::id::TenantId::new("acme").expect("a good id");
    assert_eq!(told, [(Some(acme), 2), (None, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_cannot_be_taken_away_is_named_and_the_next_call_goes_on() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.connect("bob").await.expect("bob connects");
    let fast = RevokePace::new().per_second(u32::MAX);

    world.faults.on_method("connections.delete", 1, StoreFault::Fail(StoreErrorKind::Unavailable));
    let report = world.note(world.vault.revoke_all(fast).await).expect("a report");
    assert_eq!((report.disconnected, report.revoked, report.failures), (1, 1, 1));
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].1, ErrorKind::StoreUnavailable);

    world.faults.on_method("connections.list_owed", 1, StoreFault::Fail(StoreErrorKind::Unavailable));
    let report = world.note(world.vault.revoke_all(fast).await).expect("a report");
    let stopped = report.stopped.as_ref().expect("the store was away");
    assert_eq!(*stopped.kind(), ErrorKind::StoreUnavailable);
    assert_eq!((report.disconnected, report.is_complete()), (1, false));

    let report = world.note(world.vault.revoke_all(fast).await).expect("a report");
    assert_eq!((report.disconnected, report.revoked, report.is_complete()), (0, 1, true));
    assert_eq!((world.rows("vault_connections").await, world.rows("vault_owed").await), (0, 0));
    assert_eq!(world.provider.count(Endpoint::Revoke), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_left_to_maintenance() {
    let world = World::start().await;
    for n in 0..12 {
        world.connect(&format!("user {n}")).await.expect("connects");
    }
    world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable").forever());
    let pace = RevokePace::new().per_second(u32::MAX).concurrency(1);
    let report = world.note(world.vault.revoke_all(pace).await).expect("a report");
    assert_eq!((report.disconnected, report.pending), (12, 12));
    assert_eq!(world.provider.count(Endpoint::Revoke), 5, "then it is believed to be down");
    assert_eq!(world.rows("vault_owed").await, 12);
    let gone = world.user("user 1").disconnect(world.connector.id()).await.expect("a disconnect");
    assert_eq!(gone, Disconnected::NotConnected);

    world.provider.clear_faults();
    world.clock.advance(Duration::from_secs(3 * 60));
    let done = world.note(world.vault.maintain(100).await).expect("a pass");
    assert_eq!((done.revoked, world.rows("vault_owed").await), (12, 0));
}
