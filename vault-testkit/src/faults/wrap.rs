//! The four traits, each method a counted call of the store inside.

use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, ConnectorId, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, ConnectorRecord, ConnectorStore,
    Finish, FlowInsert, FlowRecord, FlowStore, KeyRecord, KeyScope, KeyStore, LeaseAcquire, LeaseHeld,
    LeaseHolder, ListedConnection, NamedPut, Page, Paged, Put, RevocationRecord, StoreError, Version,
};

use super::FaultStore;

type Result<T> = std::result::Result<T, StoreError>;

macro_rules! forward {
    ($($trait:ident of $field:ident {
        $($method:ident($($arg:ident: $type:ty),*) -> $out:ty $(, told by $told:ident)? $(, if $can:ident)?;)*
        $(@ $($more:tt)*)?
    })*) => {
        /// Every name that a fault can be asked for by.
        pub(super) const METHODS: &[&str] =
            &[$($(concat!(stringify!($field), ".", stringify!($method)),)*)*];
        $(
            #[async_trait]
            #[deny(clippy::missing_trait_methods)]
            impl $trait for FaultStore {
                $(async fn $method(&self, $($arg: $type),*) -> Result<$out> {
                    $(if !self.inner.$can() {
                        return Ok(None);
                    })?
                    let name = concat!(stringify!($field), ".", stringify!($method));
                    let answer = self.call(name, self.inner.$field.$method($($arg),*)).await;
                    $(let answer = answer.map(|said| self.$told(said));)?
                    answer
                })*
                $($($more)*)?
            }
        )*
    };
}

forward! {
    ConnectorStore of connectors {
        get(tenant: &TenantId, id: &ConnectorId) -> Option<ConnectorRecord>;
        find(tenant: &TenantId, name: &str) -> Option<ConnectorRecord>;
        put(record: &ConnectorRecord, condition: Condition) -> NamedPut;
        delete(tenant: &TenantId, id: &ConnectorId, version: Version) -> bool;
        list(tenant: &TenantId, page: &Page) -> Paged<ConnectorRecord>;
    }
    ConnectionStore of connections {
        read(key: &ConnectionKey) -> Option<Bytes>;
        get(key: &ConnectionKey) -> Option<ConnectionRecord>;
        put(
            record: &ConnectionRecord,
            condition: Condition,
            owed: Option<&RevocationRecord>,
            release: Option<LeaseHolder>
        ) -> Put;
        put_and_finish(
            record: &ConnectionRecord,
            condition: Condition,
            owed: Option<&RevocationRecord>,
            taken: &FlowRecord
        ) -> Option<Finish>, if finish_in_one_step;
        delete(key: &ConnectionKey, version: Version, owed: Option<&RevocationRecord>) -> Put;
        list(filter: &ConnectionFilter, page: &Page) -> Paged<ListedConnection>;
        due(before: Timestamp, limit: u32) -> Vec<ConnectionKey>;
        acquire_lease(key: &ConnectionKey, holder: AttemptId, ttl: Duration) -> LeaseAcquire, told by granted;
        renew_lease(key: &ConnectionKey, holder: AttemptId, fence: u64, ttl: Duration) -> bool;
        release_lease(key: &ConnectionKey, holder: AttemptId, fence: u64) -> ();
        lease(key: &ConnectionKey) -> Option<LeaseHeld>;
        now() -> Timestamp, told by time;
        owed_due(before: Timestamp, limit: u32) -> Vec<RevocationRecord>;
        list_owed(tenant: &TenantId, owner: Option<&Owner>, page: &Page) -> Paged<RevocationRecord>;
        update_owed(record: &RevocationRecord, version: Version) -> bool;
        delete_owed(key: &ConnectionKey, id: RevocationId) -> ();
        // Which call is to fail is decided where calls are waited for.
        @ fn read_at_once(&self, _key: &ConnectionKey) -> Option<Result<Option<Bytes>>> {
            None
        }
    }
    FlowStore of flows {
        insert(record: &FlowRecord, cap: u32, now: Timestamp) -> FlowInsert;
        take(state_hash: &[u8; 32], until: Timestamp, now: Timestamp) -> Option<FlowRecord>;
        finish(taken: &FlowRecord) -> bool;
        cancel(tenant: &TenantId, owner: &Owner, connector: Option<&ConnectorId>) -> u64;
        purge_expired(now: Timestamp, limit: u32) -> u64;
    }
    KeyStore of keys {
        get(scope: &KeyScope) -> Option<KeyRecord>;
        put(record: &KeyRecord, condition: Condition) -> Put;
        delete(scope: &KeyScope) -> bool;
        list(page: &Page) -> Paged<KeyRecord>;
    }
}
