use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Cache, Reading, What};
use crate::clock::{Clock, Timestamp};
use crate::id::{AttemptId, ConnectionKey, Owner, RevocationId, TenantId};
use crate::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, Finish, FlowRecord, LeaseAcquire,
    LeaseHeld, LeaseHolder, ListedConnection, Page, Paged, Put, RevocationRecord, StoreError, Version,
};

type Result<T> = std::result::Result<T, StoreError>;

/// The vault's way to its connections: the cache is told of every write, whoever makes it and however it ends.
#[derive(Debug)]
pub(crate) struct Told {
    inner: Arc<dyn ConnectionStore>,
    cache: Arc<Cache>,
    clock: Arc<dyn Clock>,
}

impl Told {
    pub(crate) const fn new(
        inner: Arc<dyn ConnectionStore>,
        cache: Arc<Cache>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { inner, cache, clock }
    }

    const fn writing<'a>(&'a self, key: &'a ConnectionKey) -> Writing<'a> {
        Writing { told: self, key, wrote: None }
    }
}

/// A write under way. What it came to counts when this is dropped, for nobody may be left to say so.
struct Writing<'a> {
    told: &'a Told,
    key: &'a ConnectionKey,
    wrote: Option<What>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let Told { cache, clock, .. } = self.told;
        match self.wrote.take() {
            Some(what) => cache.wrote(self.key, what, Reading::of(&**clock)),
            // Somebody else wrote, or nobody knows.
            None => cache.forget(self.key),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ConnectionStore for Told {
    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Result<Put> {
        let mut writing = self.writing(&record.key);
        let put = self.inner.put(record, condition, owed, release).await?;
        let ConnectionRecord { incarnation, generation, status, .. } = *record;
        writing.wrote = (put == Put::Written).then_some(What::Written(incarnation, generation, status));
        Ok(put)
    }

    async fn put_and_finish(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        taken: &FlowRecord,
    ) -> Result<Option<Finish>> {
        let mut writing = self.writing(&record.key);
        let finish = self.inner.put_and_finish(record, condition, owed, taken).await?;
        let ConnectionRecord { incarnation, generation, status, .. } = *record;
        let written = finish == Some(Finish::Written);
        writing.wrote = written.then_some(What::Written(incarnation, generation, status));
        Ok(finish)
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put> {
        let mut writing = self.writing(key);
        let put = self.inner.delete(key, version, owed).await?;
        writing.wrote = (put == Put::Written).then_some(What::Removed);
        Ok(put)
    }

    // The rest changes no credential, and goes through as it is.

    async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>> {
        self.inner.read(key).await
    }

    fn read_at_once(&self, key: &ConnectionKey) -> Option<Result<Option<Bytes>>> {
        self.inner.read_at_once(key)
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>> {
        self.inner.get(key).await
    }

    async fn list(&self, filter: &ConnectionFilter, page: &Page) -> Result<Paged<ListedConnection>> {
        self.inner.list(filter, page).await
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>> {
        self.inner.due(before, limit).await
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire> {
        self.inner.acquire_lease(key, holder, ttl).await
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool> {
        self.inner.renew_lease(key, holder, fence, ttl).await
    }

    async fn release_lease(&self, key: &ConnectionKey, holder: AttemptId, fence: u64) -> Result<()> {
        self.inner.release_lease(key, holder, fence).await
    }

    async fn lease(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>> {
        self.inner.lease(key).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>> {
        self.inner.owed_due(before, limit).await
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>> {
        self.inner.list_owed(tenant, owner, page).await
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool> {
        self.inner.update_owed(record, version).await
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<()> {
        self.inner.delete_owed(key, id).await
    }
}
