//! Records to test with, in a namespace of their own.

use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Barrier;
use std::task::Poll;
use std::{array, future, thread};

use vault_core::clock::Timestamp;
use vault_core::entropy::{Entropy, SystemEntropy};
use vault_core::id::{
    AttemptId, ConnectionKey, ConnectorId, Incarnation, Owner, RevocationId, Slot, TenantId, UserId,
};
use vault_core::store::{
    ConnectionRecord, ConnectionStatus, ConnectorRecord, FlowRecord, KeyRecord, KeyScope, Page, Paged,
    RevocationRecord, StoreError, Version,
};

/// What a call is expected to do when the case is not about faults.
pub(super) const WORKS: &str = "the store works";

const RANDOM: &str = "the system has random bytes";
const VALID: &str = "valid identifier";

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(super) const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A time long before anything that a real vault stores, so that scans over all tenants meet the test's records first.
/// A double still tells it from its neighbours.
pub(super) fn long_ago() -> Timestamp {
    let offset = u32::from_le_bytes(draw());
    at(i64::from(offset) - (1 << 52))
}

pub(super) fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy::default().fill(&mut bytes).expect(RANDOM);
    bytes
}

pub(super) fn version() -> Version {
    Version::random(&SystemEntropy::default()).expect(RANDOM)
}

pub(super) fn attempt() -> AttemptId {
    AttemptId::random(&SystemEntropy::default()).expect(RANDOM)
}

/// A tenant that nobody else uses.
pub(super) fn tenant() -> TenantId {
    let name: u64 = u64::from_le_bytes(draw());
    TenantId::new(format!("conformance-{name:016x}")).expect(VALID)
}

pub(super) fn user(name: &str) -> Owner {
    Owner::User(UserId::new(name).expect(VALID))
}

pub(super) fn connector_id(name: &str) -> ConnectorId {
    ConnectorId::new(name).expect(VALID)
}

pub(super) fn key(tenant: &TenantId, name: &str) -> ConnectionKey {
    key_of(tenant, user(name), "mail", "default")
}

pub(super) fn key_of(tenant: &TenantId, owner: Owner, connector: &str, slot: &str) -> ConnectionKey {
    ConnectionKey {
        tenant: tenant.clone(),
        owner,
        connector: connector_id(connector),
        slot: Slot::new(slot).expect(VALID),
    }
}

pub(super) fn connection(key: &ConnectionKey) -> ConnectionRecord {
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
        credential: draw::<48>().to_vec(),
        refresh: draw::<8>().to_vec(),
    }
}

/// The next write of a record.
pub(super) fn next(record: &ConnectionRecord) -> ConnectionRecord {
    ConnectionRecord {
        version: version(),
        generation: record.generation + 1,
        credential: draw::<48>().to_vec(),
        ..record.clone()
    }
}

pub(super) fn owed(record: &ConnectionRecord, due_at: Timestamp) -> RevocationRecord {
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

pub(super) fn connector(tenant: &TenantId, id: &str, name: &str) -> ConnectorRecord {
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

pub(super) fn flow(tenant: &TenantId, owner: Owner, expires_at: Timestamp) -> FlowRecord {
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

pub(super) fn data_key(scope: KeyScope) -> KeyRecord {
    KeyRecord { scope, version: version(), wrapped: draw::<32>().to_vec() }
}

/// Every item of a listing, page after page.
pub(super) async fn all<T>(limit: u32, list: impl AsyncFn(Page) -> Result<Paged<T>, StoreError>) -> Vec<T> {
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
pub(super) fn race<const N: usize, T: Send>(work: impl AsyncFn(usize) -> T + Sync) -> [T; N] {
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
pub(super) async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
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
