//! That the machine agrees with what is right, and finds what is wrong.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, ConnectorId, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, Finish, FlowInsert, FlowRecord,
    FlowStore, LeaseAcquire, LeaseHeld, LeaseHolder, ListedConnection, Page, Paged, Put, RevocationRecord,
    StoreError, Stores, Version,
};
use vault_memory::MemoryStore;

use super::{agree, disagreement};

type Result<T> = std::result::Result<T, StoreError>;

/// How a backend may be wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    DueStopsAtOne,
    FinishIgnoresTheFlow,
    FinishLeavesTheFlow,
    ListSkipsAtPageEnds,
    OwedIsForgotten,
    PutIgnoresVersion,
    PutReleasesNothing,
    ReleaseIgnoresFence,
    RenewIgnoresFence,
    TakeLeavesNothing,
    TakeLeavesTheFlow,
}

#[derive(Debug)]
struct Flawed(MemoryStore, Flaw);

impl Flawed {
    fn stores(flaw: Flaw) -> Stores {
        let store = MemoryStore::new();
        let flawed = Arc::new(Self(store.clone(), flaw));
        Stores { connections: Arc::<Self>::clone(&flawed), flows: flawed, ..Stores::from_backend(store) }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.1 == flaw
    }
}

fn memory() -> Stores {
    Stores::from_backend(MemoryStore::new())
}

#[tokio::test]
async fn two_sound_backends_agree() {
    agree(&memory(), &memory(), 200).await;
}

#[tokio::test]
async fn every_flaw_is_found_and_shown_in_a_few_steps() {
    for flaw in [
        Flaw::DueStopsAtOne,
        Flaw::FinishIgnoresTheFlow,
        Flaw::FinishLeavesTheFlow,
        Flaw::ListSkipsAtPageEnds,
        Flaw::OwedIsForgotten,
        Flaw::PutIgnoresVersion,
        Flaw::PutReleasesNothing,
        Flaw::ReleaseIgnoresFence,
        Flaw::RenewIgnoresFence,
        Flaw::TakeLeavesNothing,
        Flaw::TakeLeavesTheFlow,
    ] {
        let found = disagreement(&memory(), &Flawed::stores(flaw), 200).await;
        let shown = found.unwrap_or_else(|| panic!("{flaw:?} was not found")).to_string();
        assert!(shown.lines().count() <= 10, "{flaw:?}: {shown}");
        assert!(shown.contains("PROPTEST_RNG_SEED="), "{shown}");
    }
}

#[async_trait]
impl FlowStore for Flawed {
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert> {
        self.0.insert(record, cap, now).await
    }

    async fn take(
        &self,
        state_hash: &[u8; 32],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<FlowRecord>> {
        let taken = self.0.take(state_hash, until, now).await?;
        if let Some(flow) = taken.as_ref().filter(|_| self.has(Flaw::TakeLeavesTheFlow)) {
            self.0.finish(flow).await?;
            let _ = self.0.insert(flow, u32::MAX, flow.created_at).await?;
        }
        if let Some(flow) = taken.as_ref().filter(|_| self.has(Flaw::TakeLeavesNothing)) {
            self.0.finish(flow).await?;
        }
        Ok(taken)
    }

    async fn finish(&self, taken: &FlowRecord) -> Result<bool> {
        self.0.finish(taken).await
    }

    async fn cancel(&self, tenant: &TenantId, owner: &Owner, connector: Option<&ConnectorId>) -> Result<u64> {
        self.0.cancel(tenant, owner, connector).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.0.purge_expired(now, limit).await
    }
}

#[async_trait]
impl ConnectionStore for Flawed {
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>> {
        self.0.read(key).await
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>> {
        ConnectionStore::get(&self.0, key).await
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        mut condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Result<Put> {
        if self.has(Flaw::PutIgnoresVersion)
            && let Condition::Version(_) = condition
            && let Some(there) = self.get(&record.key).await?
        {
            condition = Condition::Version(there.version);
        }
        let owed = owed.filter(|_| !self.has(Flaw::OwedIsForgotten));
        let release = release.filter(|_| !self.has(Flaw::PutReleasesNothing));
        ConnectionStore::put(&self.0, record, condition, owed, release).await
    }

    async fn put_and_finish(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        taken: &FlowRecord,
    ) -> Result<Option<Finish>> {
        let finish = self.0.put_and_finish(record, condition, owed, taken).await?;
        match finish {
            Some(Finish::Gone) if self.has(Flaw::FinishIgnoresTheFlow) => {
                let put = ConnectionStore::put(&self.0, record, condition, owed, None).await?;
                Ok(Some(match put {
                    Put::Conflict(there) => Finish::Conflict(there),
                    Put::Written => Finish::Written,
                }))
            }
            Some(Finish::Written) if self.has(Flaw::FinishLeavesTheFlow) => {
                let _ = self.0.insert(taken, u32::MAX, taken.created_at).await?;
                self.0.take(&taken.state_hash, taken.expires_at, taken.created_at).await?;
                Ok(finish)
            }
            _ => Ok(finish),
        }
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put> {
        ConnectionStore::delete(&self.0, key, version, owed).await
    }

    async fn list(&self, filter: &ConnectionFilter, page: &Page) -> Result<Paged<ListedConnection>> {
        let mut paged = ConnectionStore::list(&self.0, filter, page).await?;
        if self.has(Flaw::ListSkipsAtPageEnds) && paged.next.is_some() && paged.items.len() > 1 {
            paged.items.pop();
        }
        Ok(paged)
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>> {
        let mut due = self.0.due(before, limit).await?;
        if self.has(Flaw::DueStopsAtOne) {
            due.truncate(1);
        }
        Ok(due)
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire> {
        self.0.acquire_lease(key, holder, ttl).await
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        mut fence: u64,
        ttl: Duration,
    ) -> Result<bool> {
        if self.has(Flaw::RenewIgnoresFence) {
            for stale in 0..100 {
                fence = if self.0.renew_lease(key, holder, stale, ttl).await? { stale } else { fence };
            }
        }
        self.0.renew_lease(key, holder, fence, ttl).await
    }

    async fn release_lease(&self, key: &ConnectionKey, holder: AttemptId, fence: u64) -> Result<()> {
        if self.has(Flaw::ReleaseIgnoresFence) {
            for stale in 0..100 {
                self.0.release_lease(key, holder, stale).await?;
            }
        }
        self.0.release_lease(key, holder, fence).await
    }

    async fn lease(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>> {
        self.0.lease(key).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.0.now().await
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>> {
        self.0.owed_due(before, limit).await
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>> {
        self.0.list_owed(tenant, owner, page).await
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool> {
        self.0.update_owed(record, version).await
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<()> {
        self.0.delete_owed(key, id).await
    }
}
