//! The token caches of real processes over one store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vault_tests::chaos::protocol::{Cached, Command, Outcome, Read, Setup};
use vault_tests::chaos::{Arena, Kind, Options, Relay, Sends, Storage, Worker};

use crate::chaos::PROGRAM;
use crate::chaos::clocks::until_ended;
use crate::chaos::storms::everywhere;

/// The caches' bound: much shorter than a token lives, and longer than a test takes.
pub(super) const MAX_AGE: Duration = Duration::from_secs(10 * 60);
/// So much less that it is not reached while a busy machine looks.
const ALMOST: Duration = Duration::from_secs(9 * 60);
const USER: &str = "ada";

/// What a process has for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    NotConnected,
    Token {
        /// Which authorization it came out of, counted from 1, and after how many refreshes: what is greater is newer.
        of: (usize, u32),
        /// The store was not asked.
        from_memory: bool,
    },
}

impl Look {
    pub(super) const fn is_from_memory(self) -> bool {
        matches!(self, Self::Token { from_memory: true, .. })
    }
}

pub(super) async fn look(arena: &Arena, worker: &Worker, user: &str) -> Look {
    match worker.read(Read { show: true, ..Read::of(user) }).await {
        Outcome::Shown { secret, calls } => {
            let token = arena.provider.describe(&secret).expect("the provider's own");
            assert_eq!(token.account, user);
            Look::Token { of: (token.authorization + 1, token.generation), from_memory: calls == 0 }
        }
        Outcome::Failed { kind, .. } if kind == "NotConnected" => Look::NotConnected,
        other => panic!("{user}: {other:?}"),
    }
}

/// Looks until it is so.
pub(super) async fn until(arena: &Arena, worker: &Worker, user: &str, is_so: impl Fn(Look) -> bool) -> Look {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = look(arena, worker, user).await;
        if is_so(seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{user}: {seen:?} for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A cache that hears of changes from there.
pub(super) fn told_by(storage: Storage) -> Cached {
    Cached { max_age: MAX_AGE, watch: Some(storage) }
}

/// Two processes with caches: what one does, the other must not miss.
struct Pair {
    arena: Arena,
    one: Worker,
    other: Worker,
}

impl Pair {
    async fn start(arena: Arena, caches: [Cached; 2]) -> Self {
        let [one, other] = caches.map(|cache| arena.worker_with(|setup| setup.cache = Some(cache)));
        let (one, other) = tokio::join!(one, other);
        Self { one, other, arena }
    }

    /// Has a user connect, whose token both processes then have in memory.
    async fn connect(&self) {
        self.arena.connect(&self.one, USER).await;
        for worker in [&self.one, &self.other] {
            until(&self.arena, worker, USER, Look::is_from_memory).await;
        }
    }

    /// In the one process, which knows at once.
    async fn disconnect(&self) {
        let gone = self.one.tell(Command::Disconnect { user: USER.to_owned() }).await;
        assert!(matches!(gone, Outcome::Done(_)), "{gone:?}");
        assert_eq!(look(&self.arena, &self.one, USER).await, Look::NotConnected);
    }

    async fn other(&self) -> Look {
        look(&self.arena, &self.other, USER).await
    }

    async fn other_stays_disconnected(&self) {
        for _ in 0..20 {
            assert_eq!(self.other().await, Look::NotConnected);
        }
    }

    async fn while_told(&self) {
        self.connect().await;
        let Look::Token { of: (first, _), .. } = self.other().await else { panic!("it is in memory") };
        let refreshed = self.one.read(Read::fresh(USER)).await;
        assert!(matches!(refreshed, Outcome::Token { generation: 2, .. }), "{refreshed:?}");
        until(
            &self.arena,
            &self.other,
            USER,
            |seen| matches!(seen, Look::Token { of, .. } if of == (first, 1)),
        )
        .await;
        until(&self.arena, &self.other, USER, Look::is_from_memory).await;

        self.disconnect().await;
        until(&self.arena, &self.other, USER, |seen| seen == Look::NotConnected).await;
        self.other_stays_disconnected().await;
    }

    async fn while_cut(&self, relay: &Relay) {
        self.connect().await;
        relay.cut();
        until(&self.arena, &self.other, USER, |seen| !seen.is_from_memory()).await;
        for _ in 0..20 {
            assert!(!self.other().await.is_from_memory(), "nobody would tell");
        }
        self.disconnect().await;
        self.other_stays_disconnected().await;

        self.arena.connect(&self.one, USER).await;
        assert!(matches!(self.other().await, Look::Token { from_memory: false, .. }));
        self.disconnect().await;
        assert_eq!(self.other().await, Look::NotConnected);
        relay.mend();
    }

    /// The channel has not failed, and tells nothing.
    async fn while_hanging(&self, relay: &Relay) {
        self.connect().await;
        relay.hang();
        self.disconnect().await;
        self.other.tell(Command::Skip { span: MAX_AGE }).await;
        self.other_stays_disconnected().await;
    }
}

async fn told_cut_off_and_told_again(kind: Kind) {
    let arena = Arena::start(PROGRAM, kind, Options::default()).await;
    let storage = arena.setup.storage.clone();
    let (relayed, relay) = storage.relayed().await;
    let pair = Pair::start(arena, [told_by(storage), told_by(relayed)]).await;
    pair.while_told().await;
    pair.while_cut(&relay).await;
    pair.while_told().await;
    pair.while_hanging(&relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_postgres_tells_real_processes_and_a_cut_channel_serves_nothing_stale() {
    told_cut_off_and_told_again(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_redis_tells_real_processes_and_a_cut_channel_serves_nothing_stale() {
    told_cut_off_and_told_again(Kind::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_redis_cluster_tells_real_processes() {
    let arena = Arena::start(PROGRAM, Kind::RedisCluster, Options::default()).await;
    let cache = told_by(arena.setup.storage.clone());
    Pair::start(arena, [cache.clone(), cache]).await.while_told().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_a_process_that_nobody_tells_serves_nothing_past_the_bound() {
    let arena = Arena::start(PROGRAM, Kind::Sqlite, Options::default()).await;
    let cache = Cached { max_age: MAX_AGE, watch: None };
    let pair = Pair::start(arena, [cache.clone(), cache]).await;
    pair.connect().await;
    pair.disconnect().await;
    for span in [Duration::ZERO, ALMOST] {
        pair.other.tell(Command::Skip { span }).await;
        assert!(pair.other().await.is_from_memory(), "within the bound");
    }
    pair.other.tell(Command::Skip { span: MAX_AGE - ALMOST }).await;
    pair.other_stays_disconnected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_processes_whose_clocks_are_off_serve_no_ended_token_from_memory() {
    let arena = Arena::start(PROGRAM, Kind::Postgres, Options::default()).await;
    let mut workers = Vec::new();
    for ahead in [0, 600_000, -600_000] {
        let cache = told_by(arena.setup.storage.clone());
        let clock = |setup: &mut Setup| {
            (setup.clock_ahead, setup.follow_store, setup.cache) = (ahead, true, Some(cache))
        };
        workers.push(Arc::new(arena.worker_with(clock).await));
    }
    arena.connect(&workers[1], USER).await;
    for worker in &workers {
        until(&arena, worker, USER, Look::is_from_memory).await;
    }
    assert_eq!(arena.sends(USER), Sends::default(), "a token of an hour is not due");

    // All of them have a token of three seconds in memory, unless the machine is too busy for that.
    arena.provider.switch(|switches| switches.access_ttl = Duration::from_secs(3));
    workers[1].read(Read::fresh(USER)).await;
    for worker in &workers {
        until(&arena, worker, USER, |seen| matches!(seen, Look::Token { of: (_, 1..), .. })).await;
        look(&arena, worker, USER).await;
    }
    until_ended(&arena, USER).await;
    arena.provider.switch(|switches| switches.access_ttl = Duration::from_secs(3600));
    let before = arena.sends(USER).sends;
    let read = Read { readers: 10, use_at: Some(arena.calendar()), ..Read::of(USER) };
    for answer in everywhere(&workers, &read).await {
        assert!(
            matches!(answer.outcome, Outcome::Token { status: Some(200), second: false, .. }),
            "{answer:?}"
        );
    }
    assert_eq!(arena.sends(USER), Sends::once_each(before + 1));
}
