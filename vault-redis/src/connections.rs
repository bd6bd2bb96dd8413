use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStatus, ConnectionStore, Finish,
    FlowRecord, LeaseAcquire, LeaseHeld, LeaseHolder, ListedConnection, Page, Paged, Put, RevocationRecord,
    StoreError, Version,
};

use crate::link::Effect;
use crate::names::{Kind, entry, moment, owed_id};
use crate::store::{Also, Bounds, Entry, Outcome, When};
use crate::{RedisStore, record};

#[async_trait]
impl ConnectionStore for RedisStore {
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>, StoreError> {
        let read = self.shared.link.credential("reading a credential", self.connection_name(key)).await?;
        Ok(read.map(Bytes::from))
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>, StoreError> {
        let name = self.connection_name(key);
        let mut get = redis::cmd("HMGET");
        get.arg(&name).arg(&["record", "credential", "refresh"]);
        match self.shared.link.run("getting a connection", &name, get, Effect::Read).await? {
            (Some(record), Some(credential), Some(refresh)) => {
                let record: Vec<u8> = record;
                record::connection(&record, credential, refresh).map(Some)
            }
            (None::<Vec<u8>>, None, None) => Ok(None),
            _ => Err(record::corrupt("a connection without all its fields")),
        }
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Result<Put, StoreError> {
        let (when, also) = (When::Holds(condition), release.map_or(Also::Nothing, Also::Release));
        let first = self.connection_entry(record);
        put(self.change("putting a connection", &record.key, when, also, first, owed).await?)
    }

    async fn put_and_finish(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        taken: &FlowRecord,
    ) -> Result<Option<Finish>, StoreError> {
        let (places, place) = self.place_of(taken);
        let also = Also::EndFlow { places, place: place.clone() };
        let (when, first) = (When::Holds(condition), self.connection_entry(record));
        let doing = "storing what was connected";
        match self.change(doing, &record.key, when, also, first, owed).await? {
            Outcome::Ended => Ok(Some(Finish::Gone)),
            other => Ok(Some(match put(other)? {
                Put::Conflict(there) => Finish::Conflict(there),
                Put::Written => {
                    self.forget(&place).await;
                    Finish::Written
                }
            })),
        }
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put, StoreError> {
        let first = Entry {
            key: self.connection_name(key),
            moving: None,
            fixed: entry::connection(key),
            fields: Vec::new(),
        };
        let when = When::Holds(Condition::Version(version));
        put(self.change("deleting a connection", key, when, Also::Nothing, first, owed).await?)
    }

    async fn list(
        &self,
        filter: &ConnectionFilter,
        page: &Page,
    ) -> Result<Paged<ListedConnection>, StoreError> {
        let connector = filter.connector.as_ref();
        let (shards, prefix) = match &filter.owner {
            None => (0..self.shared.names.shards, entry::of_tenant(&filter.tenant, connector)),
            Some(owner) => {
                let shard = self.shared.names.shard_of(&filter.tenant, owner);
                (shard..shard + 1, entry::of_owner(&filter.tenant, owner, connector))
            }
        };
        let doing = "listing connections";
        self.page(doing, shards, Kind::Connection, &prefix, page, record::listed_connection).await
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>, StoreError> {
        let bounds = Bounds::until(entry::DUE, &moment(before)).free();
        let doing = "scanning for due connections";
        self.earliest(doing, Kind::Connection, &bounds, limit, record::connection_key).await
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire, StoreError> {
        self.acquire(key, holder, ttl).await
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.renew(key, holder, fence, ttl).await
    }

    async fn release_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
    ) -> Result<(), StoreError> {
        self.release(key, holder, fence).await
    }

    async fn lease(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>, StoreError> {
        self.holder(key).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.clock().await
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>, StoreError> {
        let bounds = Bounds::until(entry::OWED_DUE, &moment(before));
        let doing = "scanning for owed revocations";
        self.earliest(doing, Kind::Owed, &bounds, limit, record::revocation).await
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>, StoreError> {
        let shards = match owner {
            None => 0..self.shared.names.shards,
            Some(owner) => {
                let shard = self.shared.names.shard_of(tenant, owner);
                shard..shard + 1
            }
        };
        let prefix = entry::owed_of(tenant, owner);
        let doing = "listing owed revocations";
        self.page(doing, shards, Kind::Owed, &prefix, page, record::revocation).await
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool, StoreError> {
        let shard = self.shard_of(&record.key);
        let when = When::Holds(Condition::Version(version));
        let entries = vec![self.owed_entry(record)];
        let written =
            self.write("rewriting an owed revocation", shard, when, 0, Also::Nothing, entries).await?;
        Ok(matches!(written, Outcome::Written))
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<(), StoreError> {
        let shard = self.shard_of(key);
        let gone = Entry {
            key: self.shared.names.record(shard, Kind::Owed, &owed_id(key, id)),
            moving: None,
            fixed: entry::owed(key, id),
            fields: Vec::new(),
        };
        self.write("forgetting an owed revocation", shard, When::Any, 0, Also::Nothing, vec![gone]).await?;
        Ok(())
    }
}

impl RedisStore {
    fn shard_of(&self, key: &ConnectionKey) -> u16 {
        self.shared.names.shard_of(&key.tenant, &key.owner)
    }

    pub(crate) fn connection_name(&self, key: &ConnectionKey) -> String {
        self.shared.names.connection(key)
    }

    fn connection_entry(&self, record: &ConnectionRecord) -> Entry {
        let due_at = record.due_at.filter(|_| record.status == ConnectionStatus::Active);
        Entry {
            key: self.connection_name(&record.key),
            moving: due_at.map(|at| entry::due(at, &record.key)),
            fixed: entry::connection(&record.key),
            fields: vec![
                ("version", record.version.as_i64().to_string().into_bytes()),
                ("record", record::from_connection(record)),
                ("credential", record.credential.to_vec()),
                ("refresh", record.refresh.clone()),
            ],
        }
    }

    /// Writes or removes a connection, and stores what that owes.
    async fn change(
        &self,
        doing: &'static str,
        key: &ConnectionKey,
        when: When,
        also: Also,
        first: Entry,
        owed: Option<&RevocationRecord>,
    ) -> Result<Outcome, StoreError> {
        let mut entries = vec![first];
        entries.extend(owed.map(|owed| self.owed_entry(owed)));
        self.write(doing, self.shard_of(key), when, 0, also, entries).await
    }

    fn owed_entry(&self, owed: &RevocationRecord) -> Entry {
        let shard = self.shard_of(&owed.key);
        Entry {
            key: self.shared.names.record(shard, Kind::Owed, &owed_id(&owed.key, owed.id)),
            moving: Some(entry::owed_due(owed.due_at, &owed.key, owed.id)),
            fixed: entry::owed(&owed.key, owed.id),
            fields: vec![
                ("version", owed.version.as_i64().to_string().into_bytes()),
                ("record", record::from_revocation(owed)),
            ],
        }
    }
}

/// Where nothing is unique, and no flow ends.
fn put(outcome: Outcome) -> Result<Put, StoreError> {
    match outcome {
        Outcome::Conflict(there) => Ok(Put::Conflict(there)),
        Outcome::Written => Ok(Put::Written),
        Outcome::Taken | Outcome::Ended => Err(record::corrupt("nothing of a connection is unique")),
    }
}
