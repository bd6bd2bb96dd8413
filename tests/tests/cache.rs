//! The token cache: what it serves, and what it must not.

mod processes;
mod storm;
mod told;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use vault_core::store::{Change, Changes, ConnectionWatch, StoreError, StoreErrorKind};
use vault_core::{AccessToken, Error, ErrorKind, TokenCache, Vault};
use vault_testkit::clock::ManualClock;
use vault_testkit::faults::{Fault, FaultStore};
use vault_tests::backend::Memory;
use vault_tests::{World, assert_refused};

/// The default bound, without the last second.
const ALMOST: Duration = Duration::from_secs(29);
const SECOND: Duration = Duration::from_secs(1);

/// A vault with a cache, beside the world's own vault, which has none and is another process as far as this one knows.
struct Cached<'a> {
    world: &'a World,
    vault: Vault,
    faults: FaultStore,
}

impl<'a> Cached<'a> {
    async fn start(world: &'a World, cache: TokenCache) -> Self {
        let (vault, faults) =
            world.second_vault_with(|builder| builder.token_cache(cache)).await.expect("starts");
        // Brings the data key into memory, of which reads would be counted too.
        world.connect("warm").await.expect("connects");
        vault.user("warm").token(world.connector.id()).await.expect("a token");
        Self { world, vault, faults }
    }

    async fn read(&self, user: &str) -> Result<AccessToken, Error> {
        self.world.note(self.vault.user(user).token(self.world.connector.id()).await)
    }

    /// The generation that a read gets, and how many store calls it takes.
    async fn generation(&self, user: &str) -> (u64, u64) {
        self.faults.reset();
        let token = self.read(user).await.expect("a token");
        (token.generation(), self.faults.total_calls())
    }
}

/// A world whose store tells of changes, on a line that can be cut.
async fn watched() -> (World, Line) {
    let memory = Memory::new(&ManualClock::new());
    let line = Line::over(Arc::new(memory.store()));
    (World::builder().backend(Arc::new(memory)).start().await, line)
}

#[derive(Debug, Clone)]
struct Line {
    inner: Arc<dyn ConnectionWatch>,
    /// How often the vault asked for the next change, so that it has dealt with all before.
    asked: Arc<watch::Sender<u64>>,
    cut: Arc<watch::Sender<bool>>,
    /// Nothing comes over it any more, and it does not fail.
    deaf: Arc<watch::Sender<bool>>,
    /// What the vault has dealt with.
    told: Arc<watch::Sender<Vec<Change>>>,
}

impl Line {
    fn over(inner: Arc<dyn ConnectionWatch>) -> Self {
        let (asked, cut, deaf, told) = Default::default();
        Self { inner, asked, cut, deaf, told }
    }

    async fn until_told(&self, change: Change, times: usize) {
        let mut told = self.told.subscribe();
        let enough = |told: &Vec<Change>| told.iter().filter(|other| **other == change).count() >= times;
        let _ = told.wait_for(enough).await.expect("the line lives on");
    }

    async fn until_asked(&self, times: u64) {
        let mut asked = self.asked.subscribe();
        let _ = asked.wait_for(|asked| *asked >= times).await.expect("the line lives on");
    }

    fn asked(&self) -> u64 {
        *self.asked.borrow()
    }
}

#[async_trait]
impl ConnectionWatch for Line {
    async fn watch(&self) -> Result<Box<dyn Changes>, StoreError> {
        if *self.cut.borrow() {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "the line is cut"));
        }
        Ok(Box::new(Listener { line: self.clone(), inner: self.inner.watch().await?, last: None }))
    }
}

#[derive(Debug)]
struct Listener {
    line: Line,
    inner: Box<dyn Changes>,
    last: Option<Change>,
}

#[async_trait]
impl Changes for Listener {
    async fn next(&mut self) -> Result<Change, StoreError> {
        if let Some(last) = self.last.take() {
            self.line.told.send_modify(|told| told.push(last));
        }
        self.line.asked.send_modify(|asked| *asked += 1);
        let (mut cut, mut deaf) = (self.line.cut.subscribe(), self.line.deaf.subscribe());
        tokio::select! {
            biased;
            () = until(&mut cut) => Err(StoreError::new(StoreErrorKind::Unavailable, "the line is cut")),
            () = until(&mut deaf) => std::future::pending().await,
            change = self.inner.next() => change.inspect(|change| self.last = Some(*change)),
        }
    }
}

async fn until(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await.map(drop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_in_memory_costs_no_store_call() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new()).await;
    assert_eq!(cached.generation("alice").await, (1, 1));
    for _ in 0..3 {
        assert_eq!(cached.generation("alice").await, (1, 0));
    }
    let token = cached.read("alice").await.expect("a token");
    assert!(world.provider.is_live(token.expose_secret()));
    assert_eq!(
        cached.read("bob").await.map(drop).expect_err("nobody").kind(),
        &ErrorKind::NotConnected,
        "alice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_without_a_watch_another_process_s_disconnect_counts_when_the_bound_is_reached() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new()).await;
    cached.read("alice").await.expect("a token");
    world.user("alice").disconnect(world.connector.id()).await.expect("disconnects");

    world.clock.advance(ALMOST);
    cached.read("alice").await.expect("within the bound");
    // The time of day says that no time has passed; it is not what the bound runs on.
    world.clock.jump_wall(-60);
    world.clock.advance(SECOND);
    assert_refused(cached.read("alice").await, ErrorKind::NotConnected, "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_the_bound_counts_from_before_the_store_was_asked() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new()).await;
    cached.faults.reset();
    cached.faults.on_method("connections.read", 1, Fault::Delay(ALMOST));
    let sleepers = world.clock.sleepers();
    let (read, ()) = tokio::join!(cached.read("alice"), async {
        world.clock.wait_for_sleepers(sleepers + 1).await;
        world.clock.advance(ALMOST);
    });
    read.expect("a token, late");
    assert_eq!(cached.generation("alice").await, (1, 0));
    world.clock.advance(SECOND);
    assert_eq!(cached.generation("alice").await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_once_told_no_process_serves_what_another_disconnected() {
    let (world, line) = watched().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new().watch(line.clone())).await;
    line.until_asked(1).await;
    cached.read("alice").await.expect("a token");
    assert_eq!(cached.generation("alice").await, (1, 0));

    world.user("alice").disconnect(world.connector.id()).await.expect("disconnects");
    line.until_told(told::alices(&world), 1).await;
    assert_refused(cached.read("alice").await, ErrorKind::NotConnected, "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_once_told_what_another_process_refreshed_is_read_again() {
    let (world, line) = watched().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new().watch(line.clone())).await;
    line.until_asked(1).await;
    cached.read("alice").await.expect("a token");
    world.clock.advance(Duration::from_secs(60));
    world.user("alice").token(world.connector.id()).fresh().await.expect("refreshes");
    // The marker, and the tokens.
    line.until_told(told::alices(&world), 2).await;
    assert_eq!(cached.generation("alice").await, (2, 1));
    assert_eq!(cached.generation("alice").await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_while_the_line_is_cut_every_read_asks_the_store() {
    let (world, line) = watched().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new().watch(line.clone())).await;
    line.until_asked(1).await;
    cached.read("alice").await.expect("a token");
    assert_eq!(cached.generation("alice").await, (1, 0));

    line.cut.send_replace(true);
    // The sweep, and the pause before the next try.
    world.clock.wait_for_sleepers(2).await;
    for _ in 0..2 {
        assert_eq!(cached.generation("alice").await, (1, 1));
    }
    world.user("alice").disconnect(world.connector.id()).await.expect("disconnects");
    assert_refused(cached.read("alice").await, ErrorKind::NotConnected, "alice");
    world.connect("alice").await.expect("alice connects again");

    let before = line.asked();
    line.cut.send_replace(false);
    world.clock.advance(SECOND);
    line.until_asked(before + 1).await;
    assert_eq!(cached.generation("alice").await, (1, 1), "a new watch starts with nothing");
    assert_eq!(cached.generation("alice").await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_who_was_told_of_a_disconnect_is_not_served_the_token_after_it() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new()).await;
    cached.read("alice").await.expect("a token");
    world.user("alice").disconnect(world.connector.id()).await.expect("disconnects");

    let asked = cached.vault.user("alice").token(world.connector.id()).fresh().await;
    assert_refused(world.note(asked), ErrorKind::NotConnected, "alice");
    assert_refused(cached.read("alice").await, ErrorKind::NotConnected, "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_who_was_given_another_connection_s_token_is_not_served_the_earlier_one_after_it() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new()).await;
    cached.faults.on_method("connections.acquire_lease", 1, Fault::Delay(SECOND));
    let sleepers = world.clock.sleepers();
    let fresh = world.reads(&cached.vault, "alice", |read| read.fresh());
    let (given, ()) = tokio::join!(fresh, async {
        // The caller, and its refresh, which has read what there was.
        world.clock.wait_for_sleepers(sleepers + 2).await;
        world.user("alice").disconnect(world.connector.id()).await.expect("disconnects");
        world.connect("alice").await.expect("alice connects again");
        world.clock.advance(SECOND);
    });
    for token in [world.note(given), cached.read("alice").await] {
        let token = token.expect("a token");
        assert!(world.provider.is_live(token.expose_secret()), "the later connection's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vault_s_own_writes_count_at_once() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new()).await;
    let alice = cached.vault.user("alice");
    cached.read("alice").await.expect("a token");

    world.clock.advance(Duration::from_secs(60));
    cached.read("alice").await.expect("a token");
    let refreshed = alice.token(world.connector.id()).fresh().await.expect("refreshes");
    assert_eq!(refreshed.generation(), 2);
    assert_eq!(cached.generation("alice").await, (2, 1));
    assert_eq!(cached.generation("alice").await, (2, 0));

    alice.disconnect(world.connector.id()).await.expect("disconnects");
    assert_refused(cached.read("alice").await, ErrorKind::NotConnected, "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_token_is_not_served_again() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new()).await;
    world.clock.advance(Duration::from_secs(60));
    let rejected = cached.read("alice").await.expect("a token");
    let current = cached.vault.report_rejected(&rejected).await.expect("refreshes");
    assert_eq!(current.generation(), 2);
    assert_eq!(cached.generation("alice").await, (2, 1));
    assert_eq!(cached.generation("alice").await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_meets_the_request_is_served_from_memory() {
    let world = World::builder().in_memory().start().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new()).await;
    world.clock.advance(Duration::from_secs(60));
    cached.read("alice").await.expect("a token");
    let alice = cached.vault.user("alice");
    let request = || alice.token(world.connector.id());
    let calls = || (cached.faults.calls("connections.read"), cached.faults.total_calls());

    cached.faults.reset();
    request().require_scopes(["openid"]).min_ttl(SECOND).await.expect("a token");
    assert_eq!(calls(), (0, 0));
    let missing = vec!["admin".to_owned()];
    assert_refused(request().require_scopes(["admin"]).await, ErrorKind::MissingScopes { missing }, "admin");
    assert_eq!(calls(), (1, 1));
    let longer = request().min_ttl(Duration::from_secs(24 * 60 * 60)).await.expect("a new token");
    assert_eq!((longer.generation(), calls().0), (2, 2));
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(request().fresh().await.expect("a new token").generation(), 3);
    assert_eq!(calls().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_kept_than_was_allowed() {
    let world = World::builder().in_memory().start().await;
    let users: Vec<_> = (0..6).map(|n| format!("user {n}")).collect();
    for user in &users {
        world.connect(user).await.expect("connects");
    }
    for (cache, most) in [(TokenCache::new().entries(2), 2), (TokenCache::new().bytes(64), 0)] {
        let cached = Cached::start(&world, cache).await;
        for _ in 0..2 {
            for user in &users {
                cached.read(user).await.expect("a token");
            }
        }
        let mut hits = 0;
        for user in &users {
            hits += usize::from(cached.generation(user).await.1 == 0);
        }
        assert!(hits <= most, "{hits}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_was_shut_down_keeps_nothing() {
    let (world, line) = watched().await;
    world.connect("alice").await.expect("alice connects");
    let cached = Cached::start(&world, TokenCache::new().watch(line.clone())).await;
    line.until_asked(1).await;
    cached.read("alice").await.expect("a token");
    assert!(cached.vault.shutdown(SECOND).await, "the one who listens has ended");
    assert_eq!(cached.generation("alice").await, (1, 1));
    assert_eq!(cached.generation("alice").await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_could_hold_nothing_is_refused() {
    let world = World::builder().in_memory().start().await;
    let (none, no_time) = (TokenCache::new().entries(0), TokenCache::new().max_age(Duration::ZERO));
    for cache in [none, no_time, TokenCache::new().bytes(0)] {
        let refused = world.second_vault_with(|builder| builder.token_cache(cache)).await;
        assert_refused(refused, ErrorKind::InvalidConfig, "token_cache");
    }
}
