//! X05: what comes and goes leaves the storage as it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use vault_benches::provider::REDIRECT_URI;
use vault_benches::setup::{connect, ring};
use vault_core::id::{ConnectorId, UserId};
use vault_core::{Disconnected, SessionBinding, Vault, VaultBuilder};
use vault_testkit::clock::ManualClock;
use vault_tests::backend::Backend;

use crate::provider::{Moody, connector};
use crate::{NOISE, Plan, bytes, heap};

const TASKS: usize = 8;
/// Flows that nobody finishes are theirs, so that nobody has too many.
const VISITORS: usize = 1_000;
/// Every so often a connection is refreshed before it ends.
const REFRESHED: usize = 4;
/// How long a flow lives that nobody finishes. Some storage expires them by its own clock.
const FLOW_TTL: Duration = Duration::from_secs(1);
/// What passes for the vault in so much time. A busy machine must not make a refresh late.
const TICK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(250));
/// Between two passes of maintenance.
const REST: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(120);
/// Of a pass of maintenance.
const LIMIT: u32 = 10_000;

pub(crate) const HEAD: &str = "X05        cycles  refreshes  owed, settled  flows expired    rows  storage: first    half    \
                               last  heap: first    half    last  seconds";

/// When nothing is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Measure {
    rows: BTreeMap<String, u64>,
    storage: Option<u64>,
    heap: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Cycled {
    counts: Counts,
    settled: u64,
    cycles: usize,
    /// Before, and after each stretch.
    measures: Vec<Measure>,
    time: Duration,
}

#[derive(Debug, Default)]
struct Counts {
    flows: AtomicUsize,
    refreshes: AtomicUsize,
    owed: AtomicUsize,
}

impl Cycled {
    pub(crate) fn line(&self, place: &str) -> String {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let Counts { flows, refreshes, owed } = &self.counts;
        let owed = format!("{}, {}", count(owed), self.settled);
        let last = self.measures.len() - 1;
        let [first, half, last] = [1, last / 2, last].map(|n| &self.measures[n]);
        let rows: u64 = last.rows.values().sum();
        let storage = |at: &Measure| at.storage.map_or("-".to_owned(), bytes);
        format!(
            "{place:10}{:>7}{:>11}{owed:>15}{:>15}{rows:>8}{:>16}{:>10}{:>10}{:>13}{:>10}{:>10}{:>9.0}",
            self.cycles,
            count(refreshes),
            count(flows),
            storage(first),
            storage(half),
            storage(last),
            bytes(first.heap),
            bytes(half.heap),
            bytes(last.heap),
            self.time.as_secs_f64(),
        )
    }

    /// Half way and at the end it is about the same; what grows with cycles would be twice as much. Not after the first
    /// stretch: PostgreSQL's files are as long as they ever were, and that depends on when they are vacuumed.
    pub(crate) fn fault(&self, place: &str) -> Option<String> {
        let (half, last) = (&self.measures[self.measures.len() / 2], self.measures.last()?);
        let grown = |half: u64, last: u64| last > half + (half / 2).max(NOISE);
        let owed = self.counts.owed.load(Ordering::Relaxed) as u64;
        if self.measures.iter().any(|measure| measure.rows != self.measures[0].rows) {
            return Some(format!("{place}: rows stay: {:?}", self.measures));
        }
        if owed == 0 || owed != self.settled {
            return Some(format!("{place}: of {owed} owed, {} settled", self.settled));
        }
        let storage = half.storage.zip(last.storage).is_some_and(|(half, last)| grown(half, last));
        (storage || grown(half.heap, last.heap)).then(|| format!("{place} grows: {:?}", self.measures))
    }
}

pub(crate) async fn run(backend: &dyn Backend, plan: Plan) -> Cycled {
    let began = Instant::now();
    let clock = ManualClock::new();
    let soak = Arc::new(Soak::start(backend, &clock).await);
    let ticking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(TICK.1).await;
            clock.advance(TICK.0);
        }
    });
    // Somebody who stays.
    let stays = UserId::new("stays").expect("a plain id");
    connect(&soak.vault, &stays, &soak.connector).await;
    let before = backend.sizes().await;
    let mut measures = vec![measure(backend).await];
    let each = (plan.cycles / plan.stretches).max(1);
    for stretch in 0..plan.stretches {
        soak.stretch(stretch * each..(stretch + 1) * each).await;
        soak.settle(backend, &before).await;
        measures.push(measure(backend).await);
    }
    ticking.abort();
    soak.vault.user(stays).token(&soak.connector).await.expect("they are connected still");
    let soak = Arc::into_inner(soak).expect("the tasks have ended");
    Cycled {
        settled: soak.provider.settled(),
        counts: soak.counts,
        cycles: each * plan.stretches,
        measures,
        time: began.elapsed(),
    }
}

async fn measure(backend: &dyn Backend) -> Measure {
    Measure { rows: backend.sizes().await, storage: backend.bytes().await, heap: heap() }
}

#[derive(Debug)]
struct Soak {
    vault: Vault,
    /// Whose flows end soon.
    hasty: Vault,
    connector: ConnectorId,
    provider: Moody,
    clock: ManualClock,
    counts: Counts,
}

impl Soak {
    async fn start(backend: &dyn Backend, clock: &ManualClock) -> Self {
        let provider = Moody::default();
        let vault = async |options: fn(VaultBuilder) -> VaultBuilder| {
            let builder = Vault::builder()
                .stores(backend.open().await)
                .keys(ring())
                .http(provider.clone())
                .redirect_uri(REDIRECT_URI)
                .clock(clock.clone());
            options(builder).build().await.expect("the vault starts")
        };
        let hasty = vault(|builder| builder.flow_ttl(FLOW_TTL)).await;
        let vault = vault(|builder| builder).await;
        let connector = vault.connectors().register(connector()).await.expect("the connector registers");
        Self {
            vault,
            hasty,
            connector: connector.id().clone(),
            provider,
            clock: clock.clone(),
            counts: Counts::default(),
        }
    }

    /// All tasks at once, and maintenance beside them.
    async fn stretch(self: &Arc<Self>, cycles: std::ops::Range<usize>) {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (soak, cycles) = (Arc::clone(self), cycles.clone());
            tasks.spawn(async move {
                for n in cycles.skip(task).step_by(TASKS) {
                    soak.cycle(task, n).await;
                }
            });
        }
        tokio::select! {
            _ = tasks.join_all() => {}
            () = self.keep_house() => {}
        }
    }

    async fn cycle(&self, task: usize, n: usize) {
        let visitor = self.hasty.user(format!("visitor {}", n % VISITORS)).connect(&self.connector);
        visitor.start(&SessionBinding::insecure_unbound()).await.expect("the flow starts");
        self.counts.flows.fetch_add(1, Ordering::Relaxed);

        let user = UserId::new(format!("user {task}")).expect("a plain id");
        connect(&self.vault, &user, &self.connector).await;
        let user = self.vault.user(user);
        if n.is_multiple_of(REFRESHED) {
            let token = user.token(&self.connector).fresh().await.expect("a new token");
            assert_eq!(token.generation(), 2);
            self.counts.refreshes.fetch_add(1, Ordering::Relaxed);
        }
        if user.disconnect(&self.connector).await.expect("a disconnect") == Disconnected::Pending {
            self.counts.owed.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn keep_house(&self) {
        loop {
            self.pass().await;
            tokio::time::sleep(REST).await;
        }
    }

    async fn pass(&self) {
        self.vault.maintain(LIMIT).await.expect("a pass");
    }

    /// Until nothing is under way any more, nor kept for later.
    async fn settle(&self, backend: &dyn Backend, before: &BTreeMap<String, u64>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.pass().await;
            let left = backend.sizes().await;
            if left == *before {
                break;
            }
            assert!(Instant::now() < deadline, "{left:?} is left of {before:?}");
            self.clock.advance(Duration::from_secs(60));
            tokio::time::sleep(REST).await;
        }
        // Flows in memory are not among the sizes.
        self.clock.advance(FLOW_TTL);
        self.pass().await;
    }
}
