//! Reads that a replica answers, behind the primary.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use vault_core::Stores;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, LeaseAcquire, LeaseHeld,
    LeaseHolder, ListedConnection, Page, Paged, Put, RevocationRecord, StoreError, Version,
};

use super::*;

/// Answers `read` with what it was when the test said so; everything else is the primary's.
#[derive(Debug)]
struct Lagging {
    primary: Arc<dyn ConnectionStore>,
    behind: Mutex<Option<Bytes>>,
}

#[async_trait]
impl ConnectionStore for Lagging {
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>, StoreError> {
        let behind = self.behind.lock().expect("no panics").clone();
        match behind {
            None => self.primary.read(key).await,
            behind => Ok(behind),
        }
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>, StoreError> {
        self.primary.get(key).await
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Result<Put, StoreError> {
        self.primary.put(record, condition, owed, release).await
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put, StoreError> {
        self.primary.delete(key, version, owed).await
    }

    async fn list(
        &self,
        filter: &ConnectionFilter,
        page: &Page,
    ) -> Result<Paged<ListedConnection>, StoreError> {
        self.primary.list(filter, page).await
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>, StoreError> {
        self.primary.due(before, limit).await
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire, StoreError> {
        self.primary.acquire_lease(key, holder, ttl).await
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.primary.renew_lease(key, holder, fence, ttl).await
    }

    async fn release_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
    ) -> Result<(), StoreError> {
        self.primary.release_lease(key, holder, fence).await
    }

    async fn lease(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>, StoreError> {
        self.primary.lease(key).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.primary.now().await
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>, StoreError> {
        self.primary.owed_due(before, limit).await
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>, StoreError> {
        self.primary.list_owed(tenant, owner, page).await
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool, StoreError> {
        self.primary.update_owed(record, version).await
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<(), StoreError> {
        self.primary.delete_owed(key, id).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r24_a_replica_that_lags_causes_no_second_send() {
    let world = due(World::builder()).await;
    let primary = world.backend.open().await;
    let lagging = Arc::new(Lagging { primary: Arc::clone(&primary.connections), behind: Mutex::default() });
    let stores = Stores { connections: Arc::<Lagging>::clone(&lagging), ..primary };
    let (vault, _) = world.second_vault_with(|builder| builder.stores(stores)).await.expect("it starts");
    let key = world.user("alice").connections().await.expect("a listing")[0].key().clone();

    let old = lagging.primary.read(&key).await.expect("memory works").expect("a connection");
    let first = read(&world, &vault).await.expect("a token");
    *lagging.behind.lock().expect("no panics") = Some(old);
    for _ in 0..3 {
        let token = read(&world, &vault).await.expect("what the primary has");
        assert_eq!((token.generation(), token.expose_secret()), (2, first.expose_secret()));
        let token = world.note(vault.report_rejected(&first).await);
        assert_eq!(*token.expect_err("a moment old, and refused").kind(), ErrorKind::ProviderUnavailable);
    }
    assert_eq!(world.provider.refreshes().len(), 1);
    assert_eq!(world.count_events(is_marked), 0);
}
