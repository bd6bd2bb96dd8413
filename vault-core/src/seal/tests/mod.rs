//! Tests of sealing, and what they share.

mod ciphers;
mod context;
mod envelope;
mod keks;
mod lifecycle;
mod ring;
mod sealer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Context, Kek, KeyRing, Purpose, RawKek, Sealer};
use crate::entropy::{Entropy, EntropyError, SystemEntropy};
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, ConnectorId, Incarnation, Owner, Slot, TenantId, UserId};
use crate::secret::SecretBytes;
use crate::store::{Condition, KeyRecord, KeyScope, KeyStore, Page, Paged, Put, StoreError, StoreErrorKind};

/// A key store in memory that counts what is asked of it.
#[derive(Debug, Default)]
struct MemoryKeys {
    records: Mutex<BTreeMap<KeyScope, KeyRecord>>,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl MemoryKeys {
    fn records(&self) -> BTreeMap<KeyScope, KeyRecord> {
        self.records.lock().expect("no test panics while it holds this").clone()
    }

    fn set(&self, record: KeyRecord) {
        self.records.lock().expect("no test panics while it holds this").insert(record.scope.clone(), record);
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl KeyStore for MemoryKeys {
    async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.records().get(scope).cloned())
    }

    async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put, StoreError> {
        let mut records = self.records.lock().expect("no test panics while it holds this");
        let there = records.get(&record.scope).map(|record| record.version);
        let holds = match condition {
            Condition::Absent => there.is_none(),
            Condition::Version(version) => there == Some(version),
        };
        if !holds {
            return Ok(Put::Conflict(there));
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        records.insert(record.scope.clone(), record.clone());
        Ok(Put::Written)
    }

    async fn delete(&self, scope: &KeyScope) -> Result<bool, StoreError> {
        let mut records = self.records.lock().expect("no test panics while it holds this");
        Ok(records.remove(scope).is_some())
    }

    async fn list(&self, _: &Page) -> Result<Paged<KeyRecord>, StoreError> {
        Err(StoreError::new(StoreErrorKind::Misconfigured, "sealing lists no keys"))
    }
}

#[derive(Debug)]
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError::new())
    }
}

/// A key that differs by `seed`.
fn raw_kek(id: &str, seed: u8) -> Arc<dyn Kek> {
    let key = (seed..seed + 32).collect();
    Arc::new(RawKek::new(id, SecretBytes::new(key)).expect("32 different bytes"))
}

fn ring(id: &str, seed: u8) -> KeyRing {
    KeyRing::new(raw_kek(id, seed))
}

async fn start(ring: KeyRing, store: &Arc<MemoryKeys>) -> Result<Sealer, Error> {
    Sealer::start(ring, Arc::<MemoryKeys>::clone(store), Arc::new(SystemEntropy)).await
}

async fn started(ring: KeyRing) -> (Sealer, Arc<MemoryKeys>) {
    let store = Arc::new(MemoryKeys::default());
    let sealer = start(ring, &store).await.expect("an empty store");
    (sealer, store)
}

fn tenant(id: &str) -> TenantId {
    TenantId::new(id).expect("a short id")
}

fn user(id: &str) -> UserId {
    UserId::new(id).expect("a short id")
}

fn connection(tenant_id: &str, user_id: &str) -> ConnectionKey {
    ConnectionKey {
        tenant: tenant(tenant_id),
        owner: Owner::User(user(user_id)),
        connector: ConnectorId::new("gmail").expect("a short id"),
        slot: Slot::new("work").expect("a short id"),
    }
}

fn credential(key: &ConnectionKey) -> Context<'_> {
    Context {
        incarnation: Some(Incarnation::from_bytes([7; 16])),
        generation: Some(42),
        ..Context::of_connection(Purpose::Credential, key)
    }
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn refused<T>(result: Result<T, Error>, kind: ErrorKind, message: &str) {
    let Err(error) = result else { panic!("it was not refused") };
    assert_eq!(*error.kind(), kind, "{error}");
    assert!(error.to_string().contains(message), "{error}");
}
