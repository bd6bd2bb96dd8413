use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStatus, ConnectionStore, Lease,
    LeaseAcquire, LeaseHeld, LeaseHolder, ListedConnection, Page, Paged, Put, RevocationRecord, StoreError,
    Version,
};

use crate::table::{Path, Table, holds, owner_path, page, path};
use crate::{MemoryStore, lock};

/// Connections and owed revocations share a lock, because one write may touch both.
#[derive(Default)]
pub(crate) struct Connections {
    rows: Table<Row>,
    owed: Table<RevocationRecord>,
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

fn key_path(key: &ConnectionKey) -> Path {
    let mut full = owner_path(&key.tenant, &key.owner);
    full.extend(path([key.connector.as_str(), key.slot.as_str()]));
    full
}

fn owed_path(key: &ConnectionKey, id: RevocationId) -> Path {
    let mut full = owner_path(&key.tenant, &key.owner);
    full.extend_from_slice(id.as_bytes());
    full
}

impl Connections {
    fn version(&self, path: &Path) -> Option<Version> {
        self.rows.get(path).map(|row| row.record.version)
    }

    fn owe(&mut self, owed: Option<&RevocationRecord>) {
        if let Some(owed) = owed {
            self.owed.insert(owed_path(&owed.key, owed.id), owed.clone());
        }
    }

    fn put(
        &mut self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Put {
        let path = key_path(&record.key);
        let current = self.version(&path);
        if !holds(condition, current) {
            return Put::Conflict(current);
        }
        let record = record.clone();
        match self.rows.get_mut(&path) {
            None => drop(self.rows.insert(path, Row { record, fence: 0, held: None })),
            Some(row) => {
                row.record = record;
                release.into_iter().for_each(|holder| row.release(holder));
            }
        }
        self.owe(owed);
        Put::Written
    }

    fn delete(&mut self, key: &ConnectionKey, version: Version, owed: Option<&RevocationRecord>) -> Put {
        let path = key_path(key);
        let current = self.version(&path);
        if current != Some(version) {
            return Put::Conflict(current);
        }
        self.rows.remove(&path);
        self.owe(owed);
        Put::Written
    }

    fn due(&self, before: Timestamp, now: Timestamp, limit: usize) -> Vec<ConnectionKey> {
        let mut due: Vec<_> = self
            .rows
            .values()
            .filter(|row| row.record.status == ConnectionStatus::Active && row.held_at(now).is_none())
            .filter_map(|row| Some((row.record.due_at.filter(|at| *at <= before)?, &row.record.key)))
            .collect();
        due.sort();
        due.into_iter().take(limit).map(|(_, key)| key.clone()).collect()
    }

    fn acquire(
        &mut self,
        key: &ConnectionKey,
        holder: AttemptId,
        now: Timestamp,
        ttl: Duration,
    ) -> LeaseAcquire {
        let Some(row) = self.rows.get_mut(&key_path(key)) else {
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
        let Some(row) = self.rows.get_mut(&key_path(key)) else {
            return false;
        };
        let ours = row.is_held_by(LeaseHolder { holder, fence }) && row.held_at(now).is_some();
        if ours {
            row.held = Some(Held { holder, until: now.saturating_add(ttl) });
        }
        ours
    }

    fn release(&mut self, key: &ConnectionKey, holder: LeaseHolder) {
        if let Some(row) = self.rows.get_mut(&key_path(key)) {
            row.release(holder);
        }
    }

    fn lease(&self, key: &ConnectionKey, now: Timestamp) -> Option<LeaseHeld> {
        let row = self.rows.get(&key_path(key))?;
        let Held { holder, until } = row.held_at(now)?;
        Some(LeaseHeld { holder, fence: row.fence, remaining: until.saturating_since(now) })
    }

    fn owed_due(&self, before: Timestamp, limit: usize) -> Vec<RevocationRecord> {
        let mut due: Vec<_> = self.owed.values().filter(|owed| owed.due_at <= before).collect();
        due.sort_by_key(|owed| owed.due_at);
        due.into_iter().take(limit).cloned().collect()
    }

    fn update_owed(&mut self, record: &RevocationRecord, version: Version) -> bool {
        match self.owed.get_mut(&owed_path(&record.key, record.id)) {
            Some(there) if there.version == version => {
                *there = record.clone();
                true
            }
            _ => false,
        }
    }
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[async_trait]
impl ConnectionStore for MemoryStore {
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>, StoreError> {
        let connections = lock(&self.shared.connections);
        Ok(connections.rows.get(&key_path(key)).map(|row| row.record.credential.clone()))
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>, StoreError> {
        let connections = lock(&self.shared.connections);
        Ok(connections.rows.get(&key_path(key)).map(|row| row.record.clone()))
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Result<Put, StoreError> {
        Ok(lock(&self.shared.connections).put(record, condition, owed, release))
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put, StoreError> {
        Ok(lock(&self.shared.connections).delete(key, version, owed))
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
        Ok(page(&connections.rows, &prefix, wanted, |row| {
            let record = &row.record;
            let wanted = filter.connector.as_ref().is_none_or(|id| *id == record.key.connector);
            wanted.then(|| record.clone().into())
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
        Ok(lock(&self.shared.connections).owed_due(before, count(limit)))
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        wanted: &Page,
    ) -> Result<Paged<RevocationRecord>, StoreError> {
        let prefix = match owner {
            Some(owner) => owner_path(tenant, owner),
            None => path([tenant.as_str()]),
        };
        let connections = lock(&self.shared.connections);
        Ok(page(&connections.owed, &prefix, wanted, |owed| Some(owed.clone())))
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool, StoreError> {
        Ok(lock(&self.shared.connections).update_owed(record, version))
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<(), StoreError> {
        lock(&self.shared.connections).owed.remove(&owed_path(key, id));
        Ok(())
    }
}
