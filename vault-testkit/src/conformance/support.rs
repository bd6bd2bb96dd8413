//! Records to test with, in a namespace of their own.

use std::fmt::Debug;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Barrier;
use std::task::Poll;
use std::time::Duration;
use std::{array, future, thread};

use vault_core::clock::Timestamp;
use vault_core::entropy::{Entropy, SystemEntropy};
use vault_core::id::{
    AttemptId, ConnectionKey, ConnectorId, Incarnation, Owner, RevocationId, Slot, TenantId, UserId,
};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStatus, ConnectionStore, ConnectorRecord,
    FlowRecord, KeyRecord, KeyScope, Lease, LeaseAcquire, Page, Paged, Put, RevocationRecord, StoreError,
    Version,
};

/// What a call is expected to do when the case is not about faults.
pub(crate) const WORKS: &str = "the store works";

const RANDOM: &str = "the system has random bytes";
pub(crate) const VALID: &str = "valid identifier";

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Longer than any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A time long before anything that a real vault stores, so that scans over all tenants meet the test's records first.
/// A double still tells it from its neighbours.
pub(crate) fn long_ago() -> Timestamp {
    let offset = u32::from_le_bytes(draw());
    at(i64::from(offset) - (1 << 52))
}

pub(crate) fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy::default().fill(&mut bytes).expect(RANDOM);
    bytes
}

pub(crate) fn version() -> Version {
    Version::random(&SystemEntropy::default()).expect(RANDOM)
}

pub(crate) fn attempt() -> AttemptId {
    AttemptId::random(&SystemEntropy::default()).expect(RANDOM)
}

/// A tenant that nobody else uses.
pub(crate) fn tenant() -> TenantId {
    let name: u64 = u64::from_le_bytes(draw());
    TenantId::new(format!("conformance-{name:016x}")).expect(VALID)
}

pub(crate) fn user(name: &str) -> Owner {
    Owner::User(UserId::new(name).expect(VALID))
}

pub(crate) fn connector_id(name: &str) -> ConnectorId {
    ConnectorId::new(name).expect(VALID)
}

pub(crate) fn key(tenant: &TenantId, name: &str) -> ConnectionKey {
    key_of(tenant, user(name), "mail", "default")
}

pub(crate) fn key_of(tenant: &TenantId, owner: Owner, connector: &str, slot: &str) -> ConnectionKey {
    ConnectionKey {
        tenant: tenant.clone(),
        owner,
        connector: connector_id(connector),
        slot: Slot::new(slot).expect(VALID),
    }
}

pub(crate) fn connection(key: &ConnectionKey) -> ConnectionRecord {
    ConnectionRecord {
        key: key.clone(),
        version: version(),
        incarnation: Incarnation::random(&SystemEntropy::default()).expect(RANDOM),
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: None,
        expires_at: Some(at(NOW.as_millis() + 3_600_000)),
        created_at: NOW,
        updated_at: NOW,
        summary: draw::<24>().to_vec(),
        credential: draw::<48>().to_vec().into(),
        refresh: draw::<8>().to_vec(),
    }
}

/// The next write of a record.
pub(crate) fn next(record: &ConnectionRecord) -> ConnectionRecord {
    ConnectionRecord {
        version: version(),
        generation: record.generation + 1,
        credential: draw::<48>().to_vec().into(),
        ..record.clone()
    }
}

pub(crate) fn owed(record: &ConnectionRecord, due_at: Timestamp) -> RevocationRecord {
    RevocationRecord {
        id: RevocationId::random(&SystemEntropy::default()).expect(RANDOM),
        key: record.key.clone(),
        incarnation: record.incarnation,
        version: version(),
        due_at,
        attempts: 0,
        created_at: NOW,
        sealed: draw::<32>().to_vec(),
    }
}

pub(crate) fn connector(tenant: &TenantId, id: &str, name: &str) -> ConnectorRecord {
    ConnectorRecord {
        tenant: tenant.clone(),
        id: connector_id(id),
        name: name.to_owned(),
        version: version(),
        created_at: NOW,
        updated_at: NOW,
        sealed: draw::<32>().to_vec(),
    }
}

pub(crate) fn flow(tenant: &TenantId, owner: Owner, expires_at: Timestamp) -> FlowRecord {
    FlowRecord {
        state_hash: draw(),
        tenant: tenant.clone(),
        owner,
        connector: connector_id("mail"),
        slot: Slot::default(),
        created_at: NOW,
        expires_at,
        sealed: draw::<32>().to_vec(),
    }
}

pub(crate) fn data_key(scope: KeyScope) -> KeyRecord {
    KeyRecord { scope, version: version(), wrapped: draw::<32>().to_vec() }
}

/// Stores a connection that is not there yet.
pub(crate) async fn create(store: &dyn ConnectionStore, record: &ConnectionRecord) {
    let created = store.put(record, Condition::Absent, None, None).await;
    assert_eq!(created.expect(WORKS), Put::Written, "{}", record.key);
}

/// Takes a lease that must be free or the holder's already, for longer than any test takes.
pub(crate) async fn lease(store: &dyn ConnectionStore, key: &ConnectionKey, holder: AttemptId) -> Lease {
    match store.acquire_lease(key, holder, LONG).await.expect(WORKS) {
        LeaseAcquire::Acquired(lease, _) => lease,
        other => panic!("the lease is free or ours, yet {other:?}"),
    }
}

/// Everything of one tenant.
pub(crate) fn filter(tenant: &TenantId) -> ConnectionFilter {
    ConnectionFilter { tenant: tenant.clone(), owner: None, connector: None }
}

/// Of writers that raced for one record, one won and the others saw its version; answers which.
pub(crate) fn one_winner<P: PartialEq + Debug>(
    outcomes: &[(Version, P)],
    written: &P,
    conflict: impl Fn(Option<Version>) -> P,
) -> Version {
    let winners: Vec<_> = outcomes.iter().filter(|(_, put)| put == written).collect();
    let [(winner, _)] = winners[..] else {
        panic!("one must win: {outcomes:?}");
    };
    let lost = conflict(Some(*winner));
    assert!(outcomes.iter().all(|(version, put)| version == winner || *put == lost), "{outcomes:?}");
    *winner
}

/// Every item of a listing, page after page.
pub(crate) async fn all<T>(limit: u32, list: impl AsyncFn(Page) -> Result<Paged<T>, StoreError>) -> Vec<T> {
    let mut page = Page::first(limit);
    let mut items = Vec::new();
    loop {
        let paged = list(page.clone()).await.expect(WORKS);
        assert!(paged.items.len() <= limit as usize, "a page holds at most its limit");
        assert!(
            paged.next.is_none() || !paged.items.is_empty(),
            "a page with another after it holds at least one item"
        );
        items.extend(paged.items);
        match paged.next {
            Some(after) => {
                assert_ne!(page.after.as_ref(), Some(&after), "a listing moves on");
                page = Page { after: Some(after), limit }
            }
            None => return items,
        }
    }
}

/// Lets `N` workers loose at the same moment, each on a thread of its own, and answers what each came to.
pub(crate) fn race<const N: usize, T: Send>(work: impl AsyncFn(usize) -> T + Sync) -> [T; N] {
    let runtime = tokio::runtime::Handle::current();
    let start = Barrier::new(N);
    let (runtime, start, work) = (&runtime, &start, &work);
    tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            let workers: [_; N] = array::from_fn(|worker| {
                scope.spawn(move || {
                    start.wait();
                    runtime.block_on(work(worker))
                })
            });
            workers.map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    })
}

/// Polls the future at most so often, then drops it. `None` when it was not done by then.
pub(crate) async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}
