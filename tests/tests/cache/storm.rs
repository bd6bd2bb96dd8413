//! Many readers in several processes, while their connections come, change and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use vault_tests::chaos::protocol::{Command, Outcome, Read};
use vault_tests::chaos::{Arena, Kind, Options, Worker};

use super::processes::{Look, MAX_AGE, look, told_by, until};
use crate::chaos::PROGRAM;

const PROCESSES: usize = 3;
const USERS: [&str; 2] = ["ada", "bob"];
/// Of each user in each process.
const READERS: usize = 2;
const ROUNDS: usize = 8;
/// Comes after all generations.
const DISCONNECTED: u32 = u32::MAX;

/// One user as one process knows them.
struct Known {
    arena: Arc<Arena>,
    worker: Arc<Worker>,
    user: &'static str,
    /// The newest that it has shown: an authorization, and how many refreshes after it.
    newest: Mutex<(usize, u32)>,
}

impl Known {
    fn newest(&self) -> (usize, u32) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing older may come from now on.
    fn saw(&self, what: (usize, u32)) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = what.max(*newest);
    }

    /// Looks once more: what the process had shown before this began is the least that it may show.
    async fn look(&self) -> Look {
        let before = self.newest();
        let seen = look(&self.arena, &self.worker, self.user).await;
        match seen {
            Look::NotConnected => self.saw((before.0, DISCONNECTED)),
            Look::Token { of, .. } => {
                assert!(of >= before, "{} was served {of:?} after {before:?}", self.user);
                self.saw(of);
            }
        }
        seen
    }

    async fn disconnect(&self) {
        let Look::Token { of: (authorization, _), .. } = self.look().await else { panic!("connected") };
        let gone = self.worker.tell(Command::Disconnect { user: self.user.to_owned() }).await;
        assert!(matches!(gone, Outcome::Done(_)), "{gone:?}");
        self.saw((authorization, DISCONNECTED));
        assert_eq!(self.look().await, Look::NotConnected, "its own doing");
    }

    async fn refresh(&self) {
        let refreshed = self.worker.read(Read::fresh(self.user)).await;
        assert!(matches!(refreshed, Outcome::Token { .. }), "{refreshed:?}");
    }
}

/// Each step in another process than the one before.
async fn change(known: Vec<Arc<Known>>) {
    let mut turn = known.iter().cycle();
    let mut next = || turn.next().expect("it goes round");
    for _ in 0..ROUNDS {
        let connecting = next();
        connecting.arena.connect(&connecting.worker, connecting.user).await;
        next().refresh().await;
        next().disconnect().await;
        // Whose turn it is to connect moves on.
        next();
    }
    let last = next();
    last.arena.connect(&last.worker, last.user).await;
}

async fn storm(kind: Kind) {
    let arena = Arena::start(PROGRAM, kind, Options::default()).await;
    let mut workers = Vec::new();
    for _ in 0..PROCESSES {
        let cache = told_by(arena.setup.storage.clone());
        workers.push(Arc::new(arena.worker_with(|setup| setup.cache = Some(cache)).await));
    }
    let (arena, over) = (Arc::new(arena), Arc::new(AtomicBool::new(false)));
    let (mut changing, mut reading) = (JoinSet::new(), JoinSet::new());
    let mut all = Vec::new();
    for user in USERS {
        let known = workers.iter().map(|worker| {
            let (arena, worker) = (Arc::clone(&arena), Arc::clone(worker));
            Arc::new(Known { arena, worker, user, newest: Mutex::default() })
        });
        let known: Vec<_> = known.collect();
        for known in known.iter().flat_map(|known| std::iter::repeat_n(known, READERS)) {
            let (known, over) = (Arc::clone(known), Arc::clone(&over));
            reading.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    known.look().await;
                }
            });
        }
        changing.spawn(change(known.clone()));
        all.extend(known);
    }
    changing.join_all().await;
    let last = |known: &Known| {
        let tokens = arena.provider.tokens_of(known.user);
        tokens.iter().map(|token| token.authorization + 1).max()
    };
    for known in &all {
        let is_last = |seen| matches!(seen, Look::Token { of, .. } if Some(of.0) == last(known));
        until(&arena, &known.worker, known.user, is_last).await;
    }
    // For so long a process that wrote keeps nothing that others wrote since, for a replica may be behind.
    for worker in &workers {
        worker.tell(Command::Skip { span: MAX_AGE }).await;
    }
    for known in &all {
        until(&arena, &known.worker, known.user, Look::is_from_memory).await;
    }
    over.store(true, Ordering::Relaxed);
    reading.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_in_a_storm_on_postgres_no_process_goes_back_to_an_earlier_token() {
    storm(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_in_a_storm_on_redis_no_process_goes_back_to_an_earlier_token() {
    storm(Kind::Redis).await;
}
