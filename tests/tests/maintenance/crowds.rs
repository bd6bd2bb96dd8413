//! Maintenance of many connections at once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;
use vault_core::Maintenance;
use vault_core::connector::Connector;
use vault_core::event::Event;
use vault_tests::crowd::{Answer, Crowd, user};

/// Everything is due, and nothing has ended.
const DUE: Duration = Duration::from_secs(55 * 60);

async fn pass(crowd: &Crowd, limit: u32) -> Maintenance {
    crowd.vault.maintain(limit).await.expect("a pass")
}

#[tokio::test(flavor = "multi_thread")]
async fn x03_a_panic_in_a_refresh_is_reported_and_the_others_go_on() {
    let crowd = Crowd::new().await;
    let (broken, sound) = (crowd.connector("broken", "").await, crowd.connector("sound", "").await);
    crowd.connect(&broken, 3).await;
    crowd.connect(&sound, 20).await;
    crowd.clock.advance(DUE);
    crowd.providers.script("broken", |number| if number < 3 { Answer::Panic } else { Answer::Good });

    let done = pass(&crowd, 100).await;
    assert_eq!((done.refreshed, done.failed, done.running), (20, 3, 0));
    let panics: Vec<_> =
        crowd.events.seen().into_iter().filter(|event| matches!(event, Event::TaskPanicked { .. })).collect();
    assert_eq!(panics.len(), 3);
    assert!(!format!("{panics:?}").contains("secret-in-a-panic"));

    crowd.clock.advance(Duration::from_secs(2 * 60));
    assert_eq!(pass(&crowd, 100).await.refreshed, 3, "they were put off, and tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn x03_a_panic_in_a_pass_is_reported_and_the_loop_goes_on() {
    let crowd = Crowd::with(|builder| builder.observer(PanicsOnce::default())).await;
    let connector = crowd.connector("provider", "").await;
    crowd.connect(&connector, 1).await;
    // The pass itself tells of an emptied storage, to an observer that has a bug.
    let store: &dyn vault_core::store::KeyStore = &crowd.store;
    assert!(store.delete(&vault_core::store::KeyScope::Vault).await.expect("memory works"));
    crowd.clock.advance(DUE);
    crowd.providers.script("provider", |_| Answer::Good);
    crowd.vault.spawn_maintenance();
    crowd.clock.wait_for_sleepers(1).await;
    assert_eq!(crowd.providers.requests("provider"), 0);
    crowd.clock.advance(Duration::from_secs(30));
    crowd.providers.until("provider", 1, 1).await;
    assert!(crowd.vault.shutdown(Duration::from_secs(10)).await);
}

#[derive(Debug, Default)]
struct PanicsOnce(std::sync::atomic::AtomicBool);

impl vault_core::event::Observer for PanicsOnce {
    fn event(&self, event: &Event) {
        let first = || !self.0.swap(true, std::sync::atomic::Ordering::SeqCst);
        assert!(!matches!(event, Event::StorageEmptied) || !first(), "a bug in the observer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x04_a_slow_provider_holds_up_nobody_else() {
    const SLOW: usize = 1_000;
    let crowd = Crowd::with(|builder| builder.http_timeout(Duration::from_secs(22))).await;
    let (slow, swift) = (crowd.connector("slow", "").await, crowd.connector("swift", "").await);
    crowd.connect(&slow, SLOW).await;
    // Behind all of the others.
    crowd.clock.advance(Duration::from_secs(2 * 60));
    crowd.connect(&swift, 40).await;
    crowd.clock.advance(DUE);
    crowd.providers.script("slow", |_| Answer::Held);
    crowd.providers.script("swift", |_| Answer::Good);

    let first = tokio::spawn({
        let vault = crowd.vault.clone();
        async move { vault.maintain(60).await }
    });
    crowd.providers.until("swift", 40, 40).await;
    crowd.providers.until("slow", 4, 0).await;
    crowd.clock.wait_for_sleepers(1).await;
    assert!(!first.is_finished(), "it waits for the slow ones, but not for ever");
    crowd.clock.advance(Duration::from_secs(20));
    let done = first.await.expect("no panic").expect("a pass");
    // Of what was answered, the last may not be written yet.
    assert_eq!((done.refreshed + done.running, done.failed), (44, 0));
    assert!(done.more, "hundreds wait for a slot");
    assert!(done.running < 10, "{done:?}");
    assert_eq!(crowd.providers.requests("slow"), 4, "its slots are taken");

    // The next pass finds them taken still, and has nothing else to do.
    let next = pass(&crowd, 60).await;
    assert_eq!((next, crowd.providers.requests("slow")), (Maintenance::default(), 4));
    crowd.providers.release("slow");
    crowd.providers.until("slow", 4, 4).await;
    let rest = pass(&crowd, 60).await;
    assert_eq!((rest.failed, rest.running), (0, 0));
    assert!(rest.refreshed > 50, "{rest:?}");
}

/// For what must happen without the clock moving on.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn r17_x04_the_loop_refreshes_ten_thousand_at_once_while_a_thousand_wait_for_a_provider_that_hangs() {
    const SLOW: usize = 1_000;
    const MANY: usize = 10_000;
    let crowd = Crowd::with(|builder| builder.http_timeout(Duration::from_secs(22))).await;
    let (slow, many) = (crowd.connector("slow", "").await, crowd.connector("many", "concurrency = 3").await);
    crowd.connect(&slow, SLOW).await;
    // Behind all of the others.
    crowd.clock.advance(Duration::from_secs(2 * 60));
    crowd.connect(&many, MANY).await;
    crowd.clock.advance(DUE);
    crowd.providers.script("slow", |_| Answer::Held);
    crowd.providers.script("many", |_| Answer::Good);

    crowd.vault.spawn_maintenance();
    let work = async {
        crowd.providers.until("slow", 4, 0).await;
        for (connector, users) in [(&many, MANY), (&slow, SLOW)] {
            for n in (0..users).step_by(users / 100) {
                let read = crowd.vault.user(user(n)).token(connector.id()).await;
                read.expect("a token that is good for minutes");
            }
        }
        crowd.providers.until("many", MANY, MANY).await;
    };
    tokio::time::timeout(PATIENCE, work).await.expect("nobody waits for the provider that hangs");
    assert_eq!(crowd.providers.requests("slow"), 4, "it hangs all the time");
    crowd.providers.release("slow");
    assert!(crowd.vault.shutdown(Duration::from_secs(10)).await);

    assert_eq!(crowd.providers.requests("many"), MANY, "each once");
    let most = crowd.providers.most_in_flight("many");
    assert!((2..=3).contains(&most), "{most} at once");
    let mut seconds = BTreeSet::new();
    for n in 0..MANY {
        let (generation, due_at) = crowd.schedule(&many, n).await;
        assert_eq!(generation, 2);
        seconds.insert(due_at / 1_000);
    }
    assert!(seconds.len() > 30, "next time they are spread: {seconds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn x04_a_thousand_reads_that_hang_with_their_provider_hold_up_no_read_of_another() {
    const HANGING: usize = 1_000;
    const OTHERS: usize = 200;
    let crowd = Crowd::new().await;
    let (slow, swift) = (crowd.connector("slow", "").await, crowd.connector("swift", "").await);
    crowd.connect(&slow, HANGING).await;
    crowd.connect(&swift, OTHERS).await;
    // All have ended.
    crowd.clock.advance(Duration::from_secs(2 * 60 * 60));
    crowd.providers.script("slow", |_| Answer::Held);
    crowd.providers.script("swift", |_| Answer::Good);
    let read = |connector: &Connector, n: usize| {
        let (owner, id) = (crowd.vault.user(user(n)), connector.id().clone());
        async move { owner.token(&id).await.map(|token| token.generation()) }
    };

    let mut hanging: JoinSet<_> = (0..HANGING).map(|n| read(&slow, n)).collect();
    let work = async {
        crowd.providers.until("slow", HANGING, 0).await;
        let others: JoinSet<_> = (0..OTHERS).map(|n| read(&swift, n)).collect();
        for generation in others.join_all().await {
            assert_eq!(generation.expect("a new token"), 2);
        }
    };
    tokio::time::timeout(PATIENCE, work).await.expect("nobody waits for the provider that hangs");
    assert!(hanging.try_join_next().is_none(), "all of them hang still");
    crowd.providers.release("slow");
    for generation in hanging.join_all().await {
        assert_eq!(generation.expect("a new token"), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r17_passes_refresh_many_connections_a_few_at_a_time_and_none_is_left() {
    const MANY: usize = 1_000;
    let crowd = Crowd::new().await;
    let (many, few) = (crowd.connector("many", "concurrency = 3").await, crowd.connector("few", "").await);
    crowd.connect(&many, MANY).await;
    crowd.clock.advance(Duration::from_secs(2 * 60));
    crowd.connect(&few, 5).await;
    crowd.clock.advance(DUE);
    crowd.providers.script("many", |_| Answer::Good);
    crowd.providers.script("few", |_| Answer::Good);

    let first = pass(&crowd, 250).await;
    assert_eq!((first.refreshed, first.failed), (250, 0));
    assert_eq!(crowd.providers.requests("few"), 5, "those behind all others are not kept waiting");
    let mut refreshed = first.refreshed;
    while refreshed < MANY + 5 {
        let done = pass(&crowd, 250).await;
        assert!(done.refreshed > 0 && done.failed == 0, "{done:?}");
        refreshed += done.refreshed;
    }
    assert_eq!(pass(&crowd, 250).await, Maintenance::default());
    assert_eq!(crowd.providers.requests("many"), MANY, "each once");
}
