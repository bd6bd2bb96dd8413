//! An audit trail that misses an entry, or would.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use vault_core::audit::{AuditError, AuditPolicy, AuditSink};
use vault_core::event::Event;
use vault_core::{Disconnected, ErrorKind, RevokePace, Vault};
use vault_tests::{World, binding};

#[derive(Debug, Clone, Copy)]
enum Mood {
    Blocks,
    Fails,
    Panics,
    Works,
}

#[derive(Debug, Clone)]
struct Trail {
    mood: Arc<Mutex<Mood>>,
    kept: Arc<Mutex<Vec<Event>>>,
}

impl Trail {
    fn new(mood: Mood) -> Self {
        Self { mood: Arc::new(Mutex::new(mood)), kept: Arc::default() }
    }

    fn is_now(&self, mood: Mood) {
        *self.mood.lock().expect("no panics inside") = mood;
    }

    fn kept(&self) -> Vec<Event> {
        self.kept.lock().expect("no panics inside").clone()
    }
}

#[async_trait]
impl AuditSink for Trail {
    async fn record(&self, event: &Event) -> Result<(), AuditError> {
        let mood = *self.mood.lock().expect("no panics inside");
        match mood {
            Mood::Blocks => std::future::pending().await,
            Mood::Fails => Err(AuditError::new("the disk is full")),
            Mood::Panics => panic!("a bug in the sink"),
            Mood::Works => {
                self.kept.lock().expect("no panics inside").push(event.clone());
                Ok(())
            }
        }
    }
}

/// A world with a second vault that keeps a trail.
async fn audited(trail: &Trail, policy: AuditPolicy) -> (World, Vault) {
    let world = World::start().await;
    let vault = world.second_vault_with(|builder| builder.audit(trail.clone(), policy)).await;
    let (vault, _) = vault.expect("the vault starts");
    (world, vault)
}

/// Two seconds pass for whoever waits so long.
async fn within_the_timeout<T>(world: &World, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        () = async {
            loop {
                world.clock.wait_for_sleepers(1).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                world.clock.advance(Duration::from_millis(100));
            }
        } => unreachable!("time does not end"),
    }
}

fn alarms(world: &World) -> usize {
    world.count_events(|event| matches!(event, Event::AuditFailed { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn x02_a_trail_that_works_has_every_entry_before_the_answer() {
    let trail = Trail::new(Mood::Works);
    let (world, vault) = audited(&trail, AuditPolicy::FailClosed).await;
    let connected = vault.complete(world.callback("alice").await, &binding()).await.expect("connected");
    let key = connected.connection().clone();
    assert_eq!(trail.kept(), [Event::Connected { key: key.clone() }]);
    vault.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    assert_eq!(trail.kept()[1..], [Event::Disconnected { key }]);
    vault.user("alice").erase().await.expect("erased");
    vault.revoke_all(RevokePace::new()).await.expect("a report");
    assert!(matches!(trail.kept()[2..], [Event::Erased { .. }, Event::MassRevoked { disconnected: 0, .. }]));
    assert_eq!(alarms(&world), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn x02_failing_closed_the_answer_says_so_and_what_is_done_stays_done() {
    for mood in [Mood::Blocks, Mood::Fails, Mood::Panics] {
        let trail = Trail::new(mood);
        let (world, vault) = audited(&trail, AuditPolicy::FailClosed).await;
        let callback = world.callback("alice").await;
        let connected = within_the_timeout(&world, vault.complete(callback, &binding())).await;
        let error = world.note(connected).expect_err("no entry");
        assert_eq!(*error.kind(), ErrorKind::AuditUnavailable, "{mood:?}");
        assert!(error.is_retryable());
        assert_eq!(world.count_events(|event| matches!(event, Event::ConnectFailed { .. })), 0);
        world.token("alice").await.expect("it is connected");

        let alice = vault.user("alice");
        let disconnect = alice.disconnect(world.connector.id());
        let error = within_the_timeout(&world, disconnect).await;
        let error = world.note(error).expect_err("no entry");
        assert_eq!(*error.kind(), ErrorKind::AuditUnavailable);
        assert_eq!(*world.token("alice").await.expect_err("gone").kind(), ErrorKind::NotConnected);
        assert_eq!(world.rows("vault_owed").await, 0, "and revoked");
        assert_eq!(alarms(&world), 2);

        trail.is_now(Mood::Works);
        let again = vault.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
        assert_eq!(again, Disconnected::NotConnected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x02_going_on_the_operation_answers_and_the_alarm_is_raised() {
    for mood in [Mood::Blocks, Mood::Fails, Mood::Panics] {
        let trail = Trail::new(mood);
        let (world, vault) = audited(&trail, AuditPolicy::Continue).await;
        let callback = world.callback("alice").await;
        let connected = within_the_timeout(&world, vault.complete(callback, &binding())).await;
        world.note(connected).expect("connected");
        let alice = vault.user("alice");
        let disconnect = alice.disconnect(world.connector.id());
        let gone = within_the_timeout(&world, disconnect).await.expect("a disconnect");
        assert_eq!(gone, Disconnected::Revoked, "{mood:?}");
        assert_eq!(alarms(&world), 2);
    }
}
