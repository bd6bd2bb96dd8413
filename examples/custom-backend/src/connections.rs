use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStatus, ConnectionStore, Lease, LeaseAcquire,
    ListedConnection, Page, Paged, Put, RevocationRecord, Version,
};

use crate::{RedbStore, Result, get, path, set, swap};

/// A row: the record, and its lease beside it.
#[derive(Serialize, Deserialize)]
struct Leased {
    record: ConnectionRecord,
    fence: u64,
    held: Option<(AttemptId, Timestamp)>,
}

impl Leased {
    fn holder(&self, now: Timestamp) -> Option<(AttemptId, Timestamp)> {
        self.held.filter(|(_, until)| *until > now)
    }
}

/// The store's clock.
fn now() -> Timestamp {
    SystemTime::now().into()
}

fn under(kind: char, tenant: &TenantId, owner: Option<&Owner>) -> Vec<u8> {
    match owner {
        None => path(kind, [tenant.as_str()]),
        Some(Owner::Shared) => path(kind, [tenant.as_str(), "s"]),
        Some(Owner::User(user)) => path(kind, [tenant.as_str(), "u", user.as_str()]),
    }
}

fn of(key: &ConnectionKey) -> Vec<u8> {
    let rest = path(':', [key.connector.as_str(), key.slot.as_str()]);
    [under('c', &key.tenant, Some(&key.owner)), rest].concat()
}

fn of_owed(key: &ConnectionKey, id: RevocationId) -> Vec<u8> {
    [under('o', &key.tenant, Some(&key.owner)).as_slice(), id.as_bytes()].concat()
}

impl RedbStore {
    /// Writes the record, or removes it if there is none, and stores what is owed if that happened.
    async fn replace(
        &self,
        key: &ConnectionKey,
        condition: Condition,
        record: Option<ConnectionRecord>,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put> {
        let (path, owed) = (of(key), owed.cloned());
        self.write(move |rows| {
            let new = |old: Option<Leased>| {
                let (fence, held) = old.map_or((0, None), |old| (old.fence, old.held));
                record.map(|record| Leased { record, fence, held })
            };
            let put = swap(rows, &path, condition, |old| old.record.version, new)?;
            if let (Put::Written, Some(owed)) = (put, owed) {
                set(rows, &of_owed(&owed.key, owed.id), &owed)?;
            }
            Ok(put)
        })
        .await
    }

    /// Lets `change` at the row, if there is one.
    async fn lease<T: Send + 'static>(
        &self,
        key: &ConnectionKey,
        change: impl FnOnce(&mut Leased, Timestamp) -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let path = of(key);
        self.write(move |rows| {
            let Some(mut row) = get(rows, &path)? else { return Ok(None) };
            let answer = change(&mut row, now());
            set(rows, &path, &row)?;
            Ok(Some(answer))
        })
        .await
    }
}

#[async_trait]
impl ConnectionStore for RedbStore {
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Vec<u8>>> {
        Ok(self.get(key).await?.map(|record| record.credential))
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>> {
        Ok(self.row(of(key)).await?.map(|row: Leased| row.record))
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put> {
        self.replace(&record.key, condition, Some(record.clone()), owed).await
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put> {
        self.replace(key, Condition::Version(version), None, owed).await
    }

    async fn list(&self, filter: &ConnectionFilter, page: &Page) -> Result<Paged<ListedConnection>> {
        let (prefix, only) = (under('c', &filter.tenant, filter.owner.as_ref()), filter.connector.clone());
        let pick = move |row: &Leased| only.as_ref().is_none_or(|id| *id == row.record.key.connector);
        let Paged { items, next } = self.rows(prefix, page, pick).await?;
        Ok(Paged { items: items.into_iter().map(|row| row.record.into()).collect(), next })
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>> {
        let now = now();
        let pick = move |row: &Leased| {
            let due = row.record.due_at.is_some_and(|at| at <= before) && row.holder(now).is_none();
            due && row.record.status == ConnectionStatus::Active
        };
        let mut due = self.rows(path('c', []), &Page::first(u32::MAX), pick).await?.items;
        due.sort_by_key(|row| row.record.due_at);
        Ok(due.into_iter().take(limit as usize).map(|row| row.record.key).collect())
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire> {
        let acquire = move |row: &mut Leased, now: Timestamp| match row.holder(now) {
            Some((other, until)) if other != holder => {
                LeaseAcquire::Held { remaining: until.saturating_since(now) }
            }
            _ => {
                row.fence += 1;
                row.held = Some((holder, now.saturating_add(ttl)));
                LeaseAcquire::Acquired(Lease { fence: row.fence, granted_at: now })
            }
        };
        Ok(self.lease(key, acquire).await?.unwrap_or(LeaseAcquire::Absent))
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool> {
        let renew = move |row: &mut Leased, now: Timestamp| {
            let ours = row.fence == fence && row.holder(now).is_some_and(|(by, _)| by == holder);
            if ours {
                row.held = Some((holder, now.saturating_add(ttl)));
            }
            ours
        };
        Ok(self.lease(key, renew).await?.unwrap_or(false))
    }

    async fn release_lease(&self, key: &ConnectionKey, holder: AttemptId, fence: u64) -> Result<()> {
        self.renew_lease(key, holder, fence, Duration::ZERO).await.map(drop)
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>> {
        let pick = move |owed: &RevocationRecord| owed.due_at <= before;
        let mut due = self.rows(path('o', []), &Page::first(u32::MAX), pick).await?.items;
        due.sort_by_key(|owed| owed.due_at);
        due.truncate(limit as usize);
        Ok(due)
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>> {
        self.rows(under('o', tenant, owner), page, |_| true).await
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool> {
        let (path, new) = (of_owed(&record.key, record.id), record.clone());
        let (condition, of) = (Condition::Version(version), |old: &RevocationRecord| old.version);
        Ok(self.write(move |rows| swap(rows, &path, condition, of, |_| Some(new))).await? == Put::Written)
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<()> {
        let path = of_owed(key, id);
        self.write(move |rows| rows.remove(&*path).map(drop).map_err(Into::into)).await
    }
}
