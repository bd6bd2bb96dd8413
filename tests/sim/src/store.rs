//! The stores as one process sees them: every call travels, and may be lost on either way.

use std::fmt;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, ConnectorId, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, ConnectorRecord, ConnectorStore,
    Finish, FlowInsert, FlowRecord, FlowStore, KeyRecord, KeyScope, KeyStore, LeaseAcquire, LeaseHeld,
    LeaseHolder, ListedConnection, NamedPut, Page, Paged, Put, RevocationRecord, StoreError, StoreErrorKind,
    Version,
};
use vault_memory::MemoryStore;

use crate::Plant;
use crate::audit;
use crate::call::{Far, Label, call};
use crate::history::{Fault, Pid, What};
use crate::world::{Held, Shared, World};

/// One process's way to the shared store.
#[derive(Clone)]
pub(crate) struct SimStore {
    pub(crate) pid: Pid,
    pub(crate) world: Shared,
    pub(crate) inner: MemoryStore,
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStore").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// The memory store never waits.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("what should not wait does"),
    }
}

type Answer<T> = Result<T, StoreError>;

impl SimStore {
    async fn call<T: fmt::Debug + Send + 'static>(
        &self,
        what: &'static str,
        key: Option<&ConnectionKey>,
        effect: impl FnOnce(&mut World, &MemoryStore, Pid, Option<usize>) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let conn = key.and_then(|key| self.world.lock().conn(key));
        let (inner, pid) = (self.inner.clone(), self.pid);
        let label = Label { pid, conn, what, far: Far::Store, spent: None };
        let effect = move |world: &mut World, _| effect(world, &inner, pid, conn);
        call(&self.world, label, effect, |fault| {
            Err(match fault {
                Fault::NotSent => StoreError::new(StoreErrorKind::Busy, "simulated"),
                Fault::Lost | Fault::AnswerLost => StoreError::new(StoreErrorKind::Unavailable, "simulated"),
            })
        })
        .await
    }

    /// A call that only reads, or writes what the checker does not follow.
    async fn plain<T, F>(
        &self,
        what: &'static str,
        key: Option<&ConnectionKey>,
        work: impl FnOnce(MemoryStore) -> F + Send + 'static,
    ) -> Answer<T>
    where
        T: fmt::Debug + Send + 'static,
        F: Future<Output = Answer<T>> + Send,
    {
        self.call(what, key, move |_, inner, _, _| at_once(work(inner.clone()))).await
    }
}

fn planted(world: &World, there: Option<&ConnectionRecord>, condition: Condition) -> Condition {
    match (world.plant, there) {
        (Some(Plant::IgnoreVersions), Some(there)) => Condition::Version(there.version),
        (Some(Plant::IgnoreVersions), None) => Condition::Absent,
        _ => condition,
    }
}

fn released(world: &mut World, pid: Pid, conn: usize, holder: AttemptId) {
    if world.leases[conn].is_some_and(|held| held.holder == holder) {
        world.leases[conn] = None;
        world.note(Some(pid), Some(conn), What::Released { holder });
    }
}

#[async_trait]
impl ConnectionStore for SimStore {
    async fn read(&self, key: &ConnectionKey) -> Answer<Option<Bytes>> {
        let wanted = key.clone();
        self.plain("read", Some(key), |inner| async move { inner.read(&wanted).await }).await
    }

    async fn get(&self, key: &ConnectionKey) -> Answer<Option<ConnectionRecord>> {
        let wanted = key.clone();
        self.plain("get", Some(key), |inner| async move { ConnectionStore::get(&inner, &wanted).await }).await
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Answer<Put> {
        let (record, owed) = (record.clone(), owed.cloned());
        let key = record.key.clone();
        self.call("put", Some(&key), move |world, inner, pid, conn| {
            let there = at_once(ConnectionStore::get(inner, &record.key))?;
            let condition = planted(world, there.as_ref(), condition);
            let put = at_once(ConnectionStore::put(inner, &record, condition, owed.as_ref(), release))?;
            match (put, conn) {
                (Put::Written, Some(conn)) => {
                    audit::written(world, pid, conn, there.as_ref(), &record, owed.as_ref());
                    if let Some(LeaseHolder { holder, .. }) = release {
                        released(world, pid, conn, holder);
                    }
                }
                _ => world.note(Some(pid), conn, What::Acted { call: 0, outcome: "conflict".into() }),
            }
            Ok(put)
        })
        .await
    }

    async fn put_and_finish(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        taken: &FlowRecord,
    ) -> Answer<Option<Finish>> {
        let (record, owed, taken) = (record.clone(), owed.cloned(), taken.clone());
        let key = record.key.clone();
        self.call("put_and_finish", Some(&key), move |world, inner, pid, conn| {
            let there = at_once(ConnectionStore::get(inner, &record.key))?;
            let condition = planted(world, there.as_ref(), condition);
            let finish = at_once(inner.put_and_finish(&record, condition, owed.as_ref(), &taken))?;
            match (finish, conn) {
                (Some(Finish::Written), Some(conn)) => {
                    audit::written(world, pid, conn, there.as_ref(), &record, owed.as_ref());
                }
                _ => world.note(Some(pid), conn, What::Acted { call: 0, outcome: "conflict".into() }),
            }
            Ok(finish)
        })
        .await
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Answer<Put> {
        let (gone, owed) = (key.clone(), owed.cloned());
        self.call("delete", Some(key), move |world, inner, pid, conn| {
            let put = at_once(ConnectionStore::delete(inner, &gone, version, owed.as_ref()))?;
            if let (Put::Written, Some(conn)) = (put, conn) {
                world.leases[conn] = None;
                if let Some(before) = world.standings[conn].take() {
                    world.note(Some(pid), Some(conn), What::Deleted { before, owed: owed.is_some() });
                }
            }
            Ok(put)
        })
        .await
    }

    async fn list(&self, filter: &ConnectionFilter, page: &Page) -> Answer<Paged<ListedConnection>> {
        let (filter, page) = (filter.clone(), page.clone());
        self.plain("list", None, |inner| async move { ConnectionStore::list(&inner, &filter, &page).await })
            .await
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Answer<Vec<ConnectionKey>> {
        self.plain("due", None, move |inner| async move { inner.due(before, limit).await }).await
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Answer<LeaseAcquire> {
        let wanted = key.clone();
        self.call("acquire", Some(key), move |world, inner, pid, conn| {
            let leased = at_once(inner.acquire_lease(&wanted, holder, ttl))?;
            if let (LeaseAcquire::Acquired(lease, _), Some(conn)) = (&leased, conn) {
                let until = world.now() + ttl;
                let lapsed = world.leases[conn].is_some_and(|held| held.holder != holder);
                world.leases[conn] = Some(Held { holder, until });
                let leased = What::Leased { holder, fence: lease.fence, until, lapsed };
                world.note(Some(pid), Some(conn), leased);
                world.leasers.push(pid);
            }
            Ok(leased)
        })
        .await
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Answer<bool> {
        let wanted = key.clone();
        self.call("renew", Some(key), move |world, inner, pid, conn| {
            let renewed = at_once(inner.renew_lease(&wanted, holder, fence, ttl))?;
            if let (true, Some(conn)) = (renewed, conn) {
                let until = world.now() + ttl;
                world.leases[conn] = Some(Held { holder, until });
                world.note(Some(pid), Some(conn), What::Renewed { holder, until });
            }
            Ok(renewed)
        })
        .await
    }

    async fn release_lease(&self, key: &ConnectionKey, holder: AttemptId, fence: u64) -> Answer<()> {
        let wanted = key.clone();
        self.call("release", Some(key), move |world, inner, pid, conn| {
            at_once(inner.release_lease(&wanted, holder, fence))?;
            if let Some(conn) = conn {
                released(world, pid, conn, holder);
            }
            Ok(())
        })
        .await
    }

    async fn lease(&self, key: &ConnectionKey) -> Answer<Option<LeaseHeld>> {
        let wanted = key.clone();
        self.plain("lease", Some(key), |inner| async move { inner.lease(&wanted).await }).await
    }

    async fn now(&self) -> Answer<Timestamp> {
        self.plain("now", None, |inner| async move { ConnectionStore::now(&inner).await }).await
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Answer<Vec<RevocationRecord>> {
        self.plain("owed_due", None, move |inner| async move { inner.owed_due(before, limit).await }).await
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Answer<Paged<RevocationRecord>> {
        let (tenant, owner, page) = (tenant.clone(), owner.cloned(), page.clone());
        let work = |inner: MemoryStore| async move { inner.list_owed(&tenant, owner.as_ref(), &page).await };
        self.plain("list_owed", None, work).await
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Answer<bool> {
        let (key, record) = (record.key.clone(), record.clone());
        let work = move |inner: MemoryStore| async move { inner.update_owed(&record, version).await };
        self.plain("update_owed", Some(&key), work).await
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Answer<()> {
        let wanted = key.clone();
        let work = move |inner: MemoryStore| async move { inner.delete_owed(&wanted, id).await };
        self.plain("delete_owed", Some(key), work).await
    }
}

#[async_trait]
impl ConnectorStore for SimStore {
    async fn get(&self, tenant: &TenantId, id: &ConnectorId) -> Answer<Option<ConnectorRecord>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        let work = |inner: MemoryStore| async move { ConnectorStore::get(&inner, &tenant, &id).await };
        self.plain("connector", None, work).await
    }

    async fn find(&self, tenant: &TenantId, name: &str) -> Answer<Option<ConnectorRecord>> {
        let (tenant, name) = (tenant.clone(), name.to_owned());
        let work = |inner: MemoryStore| async move { inner.find(&tenant, &name).await };
        self.plain("find_connector", None, work).await
    }

    async fn put(&self, record: &ConnectorRecord, condition: Condition) -> Answer<NamedPut> {
        let record = record.clone();
        let work =
            move |inner: MemoryStore| async move { ConnectorStore::put(&inner, &record, condition).await };
        self.plain("put_connector", None, work).await
    }

    async fn delete(&self, tenant: &TenantId, id: &ConnectorId, version: Version) -> Answer<bool> {
        let (tenant, id) = (tenant.clone(), id.clone());
        let work = move |inner: MemoryStore| async move {
            ConnectorStore::delete(&inner, &tenant, &id, version).await
        };
        self.plain("delete_connector", None, work).await
    }

    async fn list(&self, tenant: &TenantId, page: &Page) -> Answer<Paged<ConnectorRecord>> {
        let (tenant, page) = (tenant.clone(), page.clone());
        let work = |inner: MemoryStore| async move { ConnectorStore::list(&inner, &tenant, &page).await };
        self.plain("list_connectors", None, work).await
    }
}

#[async_trait]
impl FlowStore for SimStore {
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Answer<FlowInsert> {
        let record = record.clone();
        let work = move |inner: MemoryStore| async move { inner.insert(&record, cap, now).await };
        self.plain("insert_flow", None, work).await
    }

    async fn take(&self, hash: &[u8; 32], until: Timestamp, now: Timestamp) -> Answer<Option<FlowRecord>> {
        let hash = *hash;
        self.plain("take_flow", None, move |inner| async move { inner.take(&hash, until, now).await }).await
    }

    async fn finish(&self, taken: &FlowRecord) -> Answer<bool> {
        let taken = taken.clone();
        self.plain("finish_flow", None, move |inner| async move { inner.finish(&taken).await }).await
    }

    async fn cancel(&self, tenant: &TenantId, owner: &Owner, connector: Option<&ConnectorId>) -> Answer<u64> {
        let (tenant, owner, connector) = (tenant.clone(), owner.clone(), connector.cloned());
        let work =
            move |inner: MemoryStore| async move { inner.cancel(&tenant, &owner, connector.as_ref()).await };
        self.plain("cancel_flows", None, work).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Answer<u64> {
        let work = move |inner: MemoryStore| async move { inner.purge_expired(now, limit).await };
        self.plain("purge_flows", None, work).await
    }
}

#[async_trait]
impl KeyStore for SimStore {
    async fn get(&self, scope: &KeyScope) -> Answer<Option<KeyRecord>> {
        let scope = scope.clone();
        let work = |inner: MemoryStore| async move { KeyStore::get(&inner, &scope).await };
        self.plain("key", None, work).await
    }

    async fn put(&self, record: &KeyRecord, condition: Condition) -> Answer<Put> {
        let record = record.clone();
        let work = move |inner: MemoryStore| async move { KeyStore::put(&inner, &record, condition).await };
        self.plain("put_key", None, work).await
    }

    async fn delete(&self, scope: &KeyScope) -> Answer<bool> {
        let scope = scope.clone();
        let work = |inner: MemoryStore| async move { KeyStore::delete(&inner, &scope).await };
        self.plain("delete_key", None, work).await
    }

    async fn list(&self, page: &Page) -> Answer<Paged<KeyRecord>> {
        let page = page.clone();
        let work = |inner: MemoryStore| async move { KeyStore::list(&inner, &page).await };
        self.plain("list_keys", None, work).await
    }
}
