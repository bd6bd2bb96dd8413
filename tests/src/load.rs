//! Writers that never rest, to see what a fault of the storage does to them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use vault_core::clock::Timestamp;
use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_core::id::{AttemptId, ConnectionKey, ConnectorId, Incarnation, Owner, Slot, TenantId, UserId};
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStatus, FlowInsert, FlowRecord, LeaseAcquire, Put, StoreError,
    Stores, Version,
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_800_000_600_000);
const TTL: Duration = Duration::from_secs(1);
/// How long to wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server promises for an acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Promise {
    /// That it is there after the fault.
    Kept,
    /// Nothing: the latest may be gone. What is there was written at some time.
    MayBeLost,
}

/// Writers at work, each on a connection, a lease and flows of its own. They note every answer that no contract allows.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    writers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    stores: Stores,
    promise: Promise,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Load {
    /// Sets so many writers to work.
    #[must_use]
    pub fn start(stores: &Stores, writers: usize, promise: Promise) -> Self {
        let shared = Arc::new(Shared {
            stores: stores.clone(),
            promise,
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            wrong: Mutex::new(Vec::new()),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            tasks.spawn(Writer::new(Arc::clone(&shared)).work());
        }
        Self { shared, writers: tasks }
    }

    /// Waits until so many more writes have been acknowledged: the storage works.
    pub async fn progress(&self, writes: u64) {
        let goal = self.shared.acknowledged.load(Ordering::Relaxed) + writes;
        self.wait_for(|shared| shared.acknowledged.load(Ordering::Relaxed) >= goal, "no progress").await;
    }

    /// Waits until a call has failed since the load began, or since the last time: the fault is felt.
    pub async fn trouble(&self) {
        let goal = self.shared.failed.load(Ordering::Relaxed) + 1;
        self.wait_for(|shared| shared.failed.load(Ordering::Relaxed) >= goal, "nobody noticed").await;
    }

    /// Fails the test if no call has failed so far: then there was no fault.
    pub fn trouble_felt(&self) {
        assert_ne!(self.shared.failed.load(Ordering::Relaxed), 0, "nobody noticed");
    }

    async fn wait_for(&self, is_there: impl Fn(&Shared) -> bool, otherwise: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !is_there(&self.shared) {
            assert!(Instant::now() < deadline, "{otherwise}: {:?}", self.shared.wrong());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets the writers end, looks at what each has in the end, and fails the test if any answer was wrong.
    pub async fn finish(mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended.expect("a writer does not panic");
        }
        assert_eq!(self.shared.wrong(), Vec::<String>::new());
    }
}

impl Shared {
    fn wrong(&self) -> Vec<String> {
        self.wrong.lock().expect("nobody panics with it").clone()
    }

    fn complain(&self, complaint: String) {
        self.wrong.lock().expect("nobody panics with it").push(complaint);
    }

    /// The answer, unless the call failed as it may.
    fn answer<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                if !error.is_retryable() {
                    self.complain(format!("not retryable: {error:?}"));
                }
                None
            }
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    /// As last acknowledged; nothing before the first write is.
    current: Option<ConnectionRecord>,
    /// Writes that may have happened, though nobody said so.
    unknown: Vec<ConnectionRecord>,
    /// All that were acknowledged before, of a store that may lose some.
    former: Vec<ConnectionRecord>,
    fence: u64,
}

impl Writer {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, current: None, unknown: Vec::new(), former: Vec::new(), fence: 0 }
    }

    async fn work(mut self) {
        let key = key();
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.write(&key).await;
            self.read(&key).await;
            self.lease(&key).await;
            self.flow(&key).await;
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.read(&key).await {
            if Instant::now() > deadline {
                self.shared.complain("the storage does not come back".to_owned());
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn write(&mut self, key: &ConnectionKey) {
        let next = next(key, self.current.as_ref());
        let condition =
            self.current.as_ref().map_or(Condition::Absent, |current| Condition::Version(current.version));
        let put = self.shared.stores.connections.put(&next, condition, None, None).await;
        match self.shared.answer(put) {
            Some(Put::Written) => {
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.move_to(Some(next));
            }
            Some(Put::Conflict(there)) => self.find(there),
            None => {
                self.unknown.push(next);
                // As a caller does who would rather not make it worse.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn move_to(&mut self, record: Option<ConnectionRecord>) {
        self.unknown.clear();
        if self.shared.promise == Promise::MayBeLost {
            self.former.extend(self.current.take());
        }
        self.current = record;
    }

    /// The record stands elsewhere than at the last acknowledged write.
    fn find(&mut self, there: Option<Version>) {
        let ours = |records: &[ConnectionRecord]| {
            records.iter().find(|record| Some(record.version) == there).cloned()
        };
        let found = ours(&self.unknown).or_else(|| ours(&self.former));
        let was_lost = there.is_none() && self.shared.promise == Promise::MayBeLost;
        if found.is_none() && !was_lost {
            let expected = self.current.as_ref().map(|record| record.version);
            self.shared.complain(format!("{expected:?} was acknowledged and {there:?} is there"));
        }
        self.move_to(found);
    }

    /// Whether there was an answer.
    async fn read(&mut self, key: &ConnectionKey) -> bool {
        let read = self.shared.stores.connections.read(key).await;
        let Some(read) = self.shared.answer(read) else { return false };
        let possible = |record: &ConnectionRecord| Some(&record.credential) == read.as_ref();
        let is_right = match &self.current {
            None => read.is_none(),
            Some(current) => possible(current),
        };
        let is_forgiven = self.shared.promise == Promise::MayBeLost && read.is_none();
        if !(is_right || is_forgiven || self.unknown.iter().chain(&self.former).any(possible)) {
            self.shared.complain(format!("read what was not written: {read:?}"));
        }
        true
    }

    async fn lease(&mut self, key: &ConnectionKey) {
        let holder = AttemptId::random(&SystemEntropy::default()).expect("random");
        let acquired = self.shared.stores.connections.acquire_lease(key, holder, TTL).await;
        match self.shared.answer(acquired) {
            Some(LeaseAcquire::Acquired(lease, _)) => {
                if lease.fence <= self.fence && self.shared.promise == Promise::Kept {
                    self.shared.complain(format!("fence {} after {}", lease.fence, self.fence));
                }
                self.fence = lease.fence;
                let released = self.shared.stores.connections.release_lease(key, holder, lease.fence).await;
                self.shared.answer(released);
            }
            Some(LeaseAcquire::Absent) if self.current.is_some() && self.shared.promise == Promise::Kept => {
                self.shared.complain("a lease on nothing, though the record is there".to_owned());
            }
            // A lease whose release was lost lasts until it lapses.
            Some(LeaseAcquire::Absent | LeaseAcquire::Held { .. }) | None => {}
        }
    }

    /// A flow is taken at most once, whatever happens.
    async fn flow(&self, key: &ConnectionKey) {
        let flow = flow(key);
        let stores = &self.shared.stores;
        let inserted = self.shared.answer(stores.flows.insert(&flow, 1000, NOW).await);
        let mut taken = 0;
        for _ in 0..2 {
            match self.shared.answer(stores.flows.take(&flow.state_hash, flow.expires_at, NOW).await) {
                Some(Some(found)) => {
                    taken += 1;
                    if found != flow {
                        self.shared.complain("somebody else's flow".to_owned());
                    }
                }
                Some(None) if taken == 0 && inserted == Some(FlowInsert::Inserted) => {
                    if self.shared.promise == Promise::Kept {
                        self.shared.complain("a flow was lost".to_owned());
                    }
                }
                // After a take whose answer was lost nothing is there, and nobody can tell.
                Some(None) => {}
                None => break,
            }
        }
        if taken > 1 && self.shared.promise == Promise::Kept {
            self.shared.complain("a flow was taken twice".to_owned());
        }
    }
}

fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy::default().fill(&mut bytes).expect("random");
    bytes
}

fn key() -> ConnectionKey {
    let user = format!("writer {:016x}", u64::from_le_bytes(draw()));
    ConnectionKey {
        tenant: TenantId::default(),
        owner: Owner::User(UserId::new(user).expect("valid")),
        connector: ConnectorId::new("mail").expect("valid"),
        slot: Slot::default(),
    }
}

fn next(key: &ConnectionKey, current: Option<&ConnectionRecord>) -> ConnectionRecord {
    ConnectionRecord {
        key: key.clone(),
        version: Version::random(&SystemEntropy::default()).expect("random"),
        incarnation: Incarnation::from_bytes([7; 16]),
        generation: current.map_or(1, |current| current.generation + 1),
        status: ConnectionStatus::Active,
        due_at: Some(NOW),
        expires_at: None,
        created_at: NOW,
        updated_at: NOW,
        summary: Vec::new(),
        credential: draw::<48>().to_vec().into(),
        refresh: Vec::new(),
    }
}

fn flow(key: &ConnectionKey) -> FlowRecord {
    FlowRecord {
        state_hash: draw(),
        tenant: key.tenant.clone(),
        owner: key.owner.clone(),
        connector: key.connector.clone(),
        slot: key.slot.clone(),
        created_at: NOW,
        expires_at: LATER,
        sealed: draw::<32>().to_vec(),
    }
}
