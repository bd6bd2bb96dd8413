//! The traits hold for pointers to what holds them, so that a backend can be shared and wrapped.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Changes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, ConnectionWatch,
    ConnectorRecord, ConnectorStore, Finish, FlowInsert, FlowRecord, FlowStore, KeyRecord, KeyScope,
    KeyStore, LeaseAcquire, LeaseHeld, LeaseHolder, ListedConnection, NamedPut, Page, Paged, Put,
    RevocationRecord, StoreError, Version,
};
use crate::clock::Timestamp;
use crate::id::{AttemptId, ConnectionKey, ConnectorId, Owner, RevocationId, TenantId};

type Result<T> = std::result::Result<T, StoreError>;

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: ConnectorStore + ?Sized> ConnectorStore for $pointer<S> {
            async fn get(&self, tenant: &TenantId, id: &ConnectorId) -> Result<Option<ConnectorRecord>> {
                (**self).get(tenant, id).await
            }
            async fn find(&self, tenant: &TenantId, name: &str) -> Result<Option<ConnectorRecord>> {
                (**self).find(tenant, name).await
            }
            async fn put(&self, record: &ConnectorRecord, condition: Condition) -> Result<NamedPut> {
                (**self).put(record, condition).await
            }
            async fn delete(&self, tenant: &TenantId, id: &ConnectorId, version: Version) -> Result<bool> {
                (**self).delete(tenant, id, version).await
            }
            async fn list(&self, tenant: &TenantId, page: &Page) -> Result<Paged<ConnectorRecord>> {
                (**self).list(tenant, page).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: ConnectionStore + ?Sized> ConnectionStore for $pointer<S> {
            async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>> {
                (**self).read(key).await
            }
            fn read_at_once(&self, key: &ConnectionKey) -> Option<Result<Option<Bytes>>> {
                (**self).read_at_once(key)
            }
            async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>> {
                (**self).get(key).await
            }
            async fn put(
                &self,
                record: &ConnectionRecord,
                condition: Condition,
                owed: Option<&RevocationRecord>,
                release: Option<LeaseHolder>,
            ) -> Result<Put> {
                (**self).put(record, condition, owed, release).await
            }
            async fn put_and_finish(
                &self,
                record: &ConnectionRecord,
                condition: Condition,
                owed: Option<&RevocationRecord>,
                taken: &FlowRecord,
            ) -> Result<Option<Finish>> {
                (**self).put_and_finish(record, condition, owed, taken).await
            }
            async fn delete(
                &self,
                key: &ConnectionKey,
                version: Version,
                owed: Option<&RevocationRecord>,
            ) -> Result<Put> {
                (**self).delete(key, version, owed).await
            }
            async fn list(&self, filter: &ConnectionFilter, page: &Page) -> Result<Paged<ListedConnection>> {
                (**self).list(filter, page).await
            }
            async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>> {
                (**self).due(before, limit).await
            }
            async fn acquire_lease(
                &self,
                key: &ConnectionKey,
                holder: AttemptId,
                ttl: Duration,
            ) -> Result<LeaseAcquire> {
                (**self).acquire_lease(key, holder, ttl).await
            }
            async fn renew_lease(
                &self,
                key: &ConnectionKey,
                holder: AttemptId,
                fence: u64,
                ttl: Duration,
            ) -> Result<bool> {
                (**self).renew_lease(key, holder, fence, ttl).await
            }
            async fn release_lease(&self, key: &ConnectionKey, holder: AttemptId, fence: u64) -> Result<()> {
                (**self).release_lease(key, holder, fence).await
            }
            async fn lease(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>> {
                (**self).lease(key).await
            }
            async fn now(&self) -> Result<Timestamp> {
                (**self).now().await
            }
            async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>> {
                (**self).owed_due(before, limit).await
            }
            async fn list_owed(
                &self,
                tenant: &TenantId,
                owner: Option<&Owner>,
                page: &Page,
            ) -> Result<Paged<RevocationRecord>> {
                (**self).list_owed(tenant, owner, page).await
            }
            async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool> {
                (**self).update_owed(record, version).await
            }
            async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<()> {
                (**self).delete_owed(key, id).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<W: ConnectionWatch + ?Sized> ConnectionWatch for $pointer<W> {
            async fn watch(&self) -> Result<Box<dyn Changes>> {
                (**self).watch().await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: FlowStore + ?Sized> FlowStore for $pointer<S> {
            async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert> {
                (**self).insert(record, cap, now).await
            }
            async fn take(
                &self,
                state_hash: &[u8; 32],
                until: Timestamp,
                now: Timestamp,
            ) -> Result<Option<FlowRecord>> {
                (**self).take(state_hash, until, now).await
            }
            async fn finish(&self, taken: &FlowRecord) -> Result<bool> {
                (**self).finish(taken).await
            }
            async fn cancel(
                &self,
                tenant: &TenantId,
                owner: &Owner,
                connector: Option<&ConnectorId>,
            ) -> Result<u64> {
                (**self).cancel(tenant, owner, connector).await
            }
            async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64> {
                (**self).purge_expired(now, limit).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: KeyStore + ?Sized> KeyStore for $pointer<S> {
            async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>> {
                (**self).get(scope).await
            }
            async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put> {
                (**self).put(record, condition).await
            }
            async fn delete(&self, scope: &KeyScope) -> Result<bool> {
                (**self).delete(scope).await
            }
            async fn list(&self, page: &Page) -> Result<Paged<KeyRecord>> {
                (**self).list(page).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
