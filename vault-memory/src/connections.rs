use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStatus, ConnectionStore, Finish,
    FlowRecord, Lease, LeaseAcquire, LeaseHeld, LeaseHolder, ListedConnection, Page, Paged, Put,
    RevocationRecord, StoreError, Version,
};

use crate::owed::Owed;
use crate::table::{Path, Table, holds, owner_path, page, path};
use crate::{MemoryStore, lock};

/// Connections and owed revocations share a lock, because one write may touch both.
#[derive(Default)]
pub(crate) struct Connections {
    rows: HashMap<ConnectionKey, Row>,
    /// The same in the order of listings.
    order: Table<ConnectionKey>,
    /// Those that are ever due, earliest first.
    due: BTreeSet<(Timestamp, ConnectionKey)>,
    owed: Owed,
}

struct Row {
    record: ConnectionRecord,
    fence: u64,
    held: Option<Held>,
}

#[derive(Clone, Copy)]
struct Held {
    holder: AttemptId,
    until: Timestamp,
}

impl Row {
    fn held_at(&self, now: Timestamp) -> Option<Held> {
        self.held.filter(|held| held.until > now)
    }

    fn is_held_by(&self, LeaseHolder { holder, fence }: LeaseHolder) -> bool {
        self.fence == fence && self.held.is_some_and(|held| held.holder == holder)
    }

    fn release(&mut self, holder: LeaseHolder) {
        if self.is_held_by(holder) {
            self.held = None;
        }
    }
}

/// Its place among those that are due.
fn due_entry(record: &ConnectionRecord) -> Option<(Timestamp, ConnectionKey)> {
    let due_at = record.due_at.filter(|_| record.status == ConnectionStatus::Active)?;
    Some((due_at, record.key.clone()))
}

fn key_path(key: &ConnectionKey) -> Path {
    let mut full = owner_path(&key.tenant, &key.owner);
    full.extend(path([key.connector.as_str(), key.slot.as_str()]));
    full
}

impl Connections {
    fn credential(&self, key: &ConnectionKey) -> Option<Bytes> {
        self.rows.get(key).map(|row| row.record.credential.clone())
    }

    fn version(&self, key: &ConnectionKey) -> Option<Version> {
        self.rows.get(key).map(|row| row.record.version)
    }

    fn put(
        &mut self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Put {
        let current = self.version(&record.key);
        if !holds(condition, current) {
            return Put::Conflict(current);
        }
        let key = record.key.clone();
        match self.rows.entry(key.clone()) {
            Entry::Occupied(mut row) => {
                let row = row.get_mut();
                if let Some(entry) = due_entry(&row.record) {
                    self.due.remove(&entry);
                }
                row.record = record.clone();
                release.into_iter().for_each(|holder| row.release(holder));
            }
            Entry::Vacant(place) => {
                place.insert(Row { record: record.clone(), fence: 0, held: None });
                self.order.insert(key_path(&key), key);
            }
        }
        self.due.extend(due_entry(record));
        owed.into_iter().for_each(|owed| self.owed.put(owed));
        Put::Written
    }

    fn delete(&mut self, key: &ConnectionKey, version: Version, owed: Option<&RevocationRecord>) -> Put {
        let current = self.version(key);
        if current != Some(version) {
            return Put::Conflict(current);
        }
        if let Some(entry) = self.rows.remove(key).and_then(|row| due_entry(&row.record)) {
            self.due.remove(&entry);
        }
        self.order.remove(&key_path(key));
        owed.into_iter().for_each(|owed| self.owed.put(owed));
        Put::Written
    }

    fn due(&self, before: Timestamp, now: Timestamp, limit: usize) -> Vec<ConnectionKey> {
        self.due
            .iter()
            .take_while(|(at, _)| *at <= before)
            .map(|(_, key)| key)
            .filter(|key| self.rows.get(*key).is_some_and(|row| row.held_at(now).is_none()))
            .take(limit)
            .cloned()
            .collect()
    }

    fn acquire(
        &mut self,
        key: &ConnectionKey,
        holder: AttemptId,
        now: Timestamp,
        ttl: Duration,
    ) -> LeaseAcquire {
        let Some(row) = self.rows.get_mut(key) else {
            return LeaseAcquire::Absent;
        };
        if let Some(held) = row.held_at(now).filter(|held| held.holder != holder) {
            return LeaseAcquire::Held { remaining: held.until.saturating_since(now) };
        }
        row.fence += 1;
        row.held = Some(Held { holder, until: now.saturating_add(ttl) });
        let lease = Lease { fence: row.fence, granted_at: now };
        LeaseAcquire::Acquired(lease, Box::new(row.record.clone()))
    }

    fn renew(
        &mut self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        now: Timestamp,
        ttl: Duration,
    ) -> bool {
        let Some(row) = self.rows.get_mut(key) else {
            return false;
        };
        let ours = row.is_held_by(LeaseHolder { holder, fence }) && row.held_at(now).is_some();
        if ours {
            row.held = Some(Held { holder, until: now.saturating_add(ttl) });
        }
        ours
    }

    fn release(&mut self, key: &ConnectionKey, holder: LeaseHolder) {
        if let Some(row) = self.rows.get_mut(key) {
            row.release(holder);
        }
    }

    fn lease(&self, key: &ConnectionKey, now: Timestamp) -> Option<LeaseHeld> {
        let row = self.rows.get(key)?;
        let Held { holder, until } = row.held_at(now)?;
        Some(LeaseHeld { holder, fence: row.fence, remaining: until.saturating_since(now) })
    }
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[async_trait]
impl ConnectionStore for MemoryStore {
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>, StoreError> {
        Ok(lock(&self.shared.connections).credential(key))
    }

    fn read_at_once(&self, key: &ConnectionKey) -> Option<Result<Option<Bytes>, StoreError>> {
        Some(Ok(lock(&self.shared.connections).credential(key)))
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>, StoreError> {
        let connections = lock(&self.shared.connections);
        Ok(connections.rows.get(key).map(|row| row.record.clone()))
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Result<Put, StoreError> {
        let put = lock(&self.shared.connections).put(record, condition, owed, release);
        if put == Put::Written {
            self.tell(&record.key);
        }
        Ok(put)
    }

    async fn put_and_finish(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        taken: &FlowRecord,
    ) -> Result<Option<Finish>, StoreError> {
        let mut flows = lock(&self.shared.flows);
        if !flows.is_taken(&taken.state_hash) {
            return Ok(Some(Finish::Gone));
        }
        let put = lock(&self.shared.connections).put(record, condition, owed, None);
        Ok(Some(match put {
            Put::Conflict(version) => Finish::Conflict(version),
            Put::Written => {
                flows.finish(&taken.state_hash);
                self.tell(&record.key);
                Finish::Written
            }
        }))
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put, StoreError> {
        let put = lock(&self.shared.connections).delete(key, version, owed);
        if put == Put::Written {
            self.tell(key);
        }
        Ok(put)
    }

    async fn list(
        &self,
        filter: &ConnectionFilter,
        wanted: &Page,
    ) -> Result<Paged<ListedConnection>, StoreError> {
        let prefix = match &filter.owner {
            Some(owner) => owner_path(&filter.tenant, owner),
            None => path([filter.tenant.as_str()]),
        };
        let connections = lock(&self.shared.connections);
        Ok(page(&connections.order, &prefix, wanted, |key| {
            let wanted = filter.connector.as_ref().is_none_or(|id| *id == key.connector);
            wanted.then(|| connections.rows.get(key).map(|row| row.record.clone().into()))?
        }))
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>, StoreError> {
        Ok(lock(&self.shared.connections).due(before, self.time(), count(limit)))
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire, StoreError> {
        Ok(lock(&self.shared.connections).acquire(key, holder, self.time(), ttl))
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        Ok(lock(&self.shared.connections).renew(key, holder, fence, self.time(), ttl))
    }

    async fn release_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
    ) -> Result<(), StoreError> {
        lock(&self.shared.connections).release(key, LeaseHolder { holder, fence });
        Ok(())
    }

    async fn lease(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>, StoreError> {
        Ok(lock(&self.shared.connections).lease(key, self.time()))
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.time())
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>, StoreError> {
        Ok(lock(&self.shared.connections).owed.due(before, count(limit)))
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        wanted: &Page,
    ) -> Result<Paged<RevocationRecord>, StoreError> {
        Ok(lock(&self.shared.connections).owed.list(tenant, owner, wanted))
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool, StoreError> {
        Ok(lock(&self.shared.connections).owed.update(record, version))
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<(), StoreError> {
        lock(&self.shared.connections).owed.remove(key, id);
        Ok(())
    }
}
