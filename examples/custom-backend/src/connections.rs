use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey as Key, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord as Record, ConnectionStatus, ConnectionStore,
    Finish, FlowRecord, Lease, LeaseAcquire, LeaseHeld, LeaseHolder, ListedConnection, Page, Paged, Put,
    RevocationRecord as Owed, Version,
};

use crate::flows::{is_taken, remove};
use crate::{Error, RedbStore, Result, Table, get, path, set, swap};

/// A row: the record, and its lease beside it.
#[derive(Serialize, Deserialize)]
struct Leased {
    record: Record,
    fence: u64,
    held: Option<(AttemptId, Timestamp)>,
}

impl Leased {
    fn held_at(&self, now: Timestamp) -> Option<(AttemptId, Timestamp)> {
        self.held.filter(|(_, until)| *until > now)
    }
}

fn under(kind: char, tenant: &TenantId, owner: Option<&Owner>) -> Vec<u8> {
    match owner {
        None => path(kind, [tenant.as_str()]),
        Some(Owner::Shared) => path(kind, [tenant.as_str(), "s"]),
        Some(Owner::User(user)) => path(kind, [tenant.as_str(), "u", user.as_str()]),
    }
}

fn of(key: &Key) -> Vec<u8> {
    let owners = under('c', &key.tenant, Some(&key.owner));
    [owners, path('c', [key.connector.as_str(), key.slot.as_str()])].concat()
}

fn of_owed(key: &Key, id: RevocationId) -> Vec<u8> {
    [under('o', &key.tenant, Some(&key.owner)).as_slice(), id.as_bytes()].concat()
}

/// What is to stand in a record's place, or nothing; and what is owed, and whose lease ends, if that happens.
struct Change {
    at: Vec<u8>,
    when: Condition,
    new: Option<Record>,
    owed: Option<Owed>,
    release: Option<LeaseHolder>,
}

impl Change {
    fn put(record: &Record, when: Condition, owed: Option<&Owed>, release: Option<LeaseHolder>) -> Self {
        Self { at: of(&record.key), when, new: Some(record.clone()), owed: owed.cloned(), release }
    }

    fn make(self, rows: &mut Table<'_>) -> Result<Put, Error> {
        let Self { at, when, new, owed, release } = self;
        let row = |old: Option<Leased>| {
            let (fence, held) = old.map_or((0, None), |old| (old.fence, old.held));
            let ours = |by| release.is_some_and(|ours| (ours.holder, ours.fence) == (by, fence));
            let held = held.filter(|(by, _)| !ours(*by));
            new.map(|record| Leased { record, fence, held })
        };
        let put = swap(rows, &at, when, |old| old.record.version, row)?;
        if let (Put::Written, Some(owed)) = (put, owed) {
            set(rows, &of_owed(&owed.key, owed.id), &owed)?;
        }
        Ok(put)
    }
}

impl RedbStore {
    /// Lets `change` at the row, if there is one, and tells it the store's time.
    async fn lease<T: Send + 'static, F>(&self, key: &Key, change: F) -> Result<Option<T>>
    where
        F: FnOnce(&mut Leased, Timestamp) -> T + Send + 'static,
    {
        let path = of(key);
        self.write(move |rows| {
            let Some(mut row) = get(rows, &path)? else { return Ok(None) };
            let answer = change(&mut row, SystemTime::now().into());
            set(rows, &path, &row)?;
            Ok(Some(answer))
        })
        .await
    }
}

#[async_trait]
impl ConnectionStore for RedbStore {
    async fn read(&self, key: &Key) -> Result<Option<Bytes>> {
        Ok(self.get(key).await?.map(|record| record.credential))
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        Ok(self.row(of(key)).await?.map(|row: Leased| row.record))
    }

    async fn put(
        &self,
        record: &Record,
        condition: Condition,
        owed: Option<&Owed>,
        release: Option<LeaseHolder>,
    ) -> Result<Put> {
        let change = Change::put(record, condition, owed, release);
        self.write(move |rows| change.make(rows)).await
    }

    async fn put_and_finish(
        &self,
        record: &Record,
        condition: Condition,
        owed: Option<&Owed>,
        taken: &FlowRecord,
    ) -> Result<Option<Finish>> {
        let (change, flow) = (Change::put(record, condition, owed, None), taken.state_hash);
        self.write(move |rows| {
            if !is_taken(rows, &flow)? {
                return Ok(Some(Finish::Gone));
            }
            let put = change.make(rows)?;
            if put == Put::Written {
                remove(rows, &flow)?;
            }
            Ok(Some(match put {
                Put::Conflict(there) => Finish::Conflict(there),
                Put::Written => Finish::Written,
            }))
        })
        .await
    }

    async fn delete(&self, key: &Key, version: Version, owed: Option<&Owed>) -> Result<Put> {
        let when = Condition::Version(version);
        let change = Change { at: of(key), when, new: None, owed: owed.cloned(), release: None };
        self.write(move |rows| change.make(rows)).await
    }

    async fn list(&self, filter: &ConnectionFilter, page: &Page) -> Result<Paged<ListedConnection>> {
        let (prefix, only) = (under('c', &filter.tenant, filter.owner.as_ref()), filter.connector.clone());
        let pick = move |row: &Leased| only.as_ref().is_none_or(|id| *id == row.record.key.connector);
        let Paged { items, next } = self.rows(prefix, page, pick).await?;
        Ok(Paged { items: items.into_iter().map(|row| row.record.into()).collect(), next })
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<Key>> {
        let now = SystemTime::now().into();
        let pick = move |row: &Leased| {
            let due = row.record.due_at.is_some_and(|at| at <= before);
            due && row.record.status == ConnectionStatus::Active && row.held_at(now).is_none()
        };
        let mut due = self.rows(path('c', []), &Page::first(u32::MAX), pick).await?.items;
        due.sort_by_key(|row| row.record.due_at);
        Ok(due.into_iter().take(limit as usize).map(|row| row.record.key).collect())
    }

    async fn acquire_lease(&self, key: &Key, holder: AttemptId, ttl: Duration) -> Result<LeaseAcquire> {
        let acquire = move |row: &mut Leased, now: Timestamp| {
            if let Some((_, until)) = row.held_at(now).filter(|(by, _)| *by != holder) {
                return LeaseAcquire::Held { remaining: until.saturating_since(now) };
            }
            row.fence += 1;
            row.held = Some((holder, now.saturating_add(ttl)));
            let lease = Lease { fence: row.fence, granted_at: now };
            LeaseAcquire::Acquired(lease, Box::new(row.record.clone()))
        };
        Ok(self.lease(key, acquire).await?.unwrap_or(LeaseAcquire::Absent))
    }

    async fn renew_lease(&self, key: &Key, holder: AttemptId, fence: u64, ttl: Duration) -> Result<bool> {
        let renew = move |row: &mut Leased, now: Timestamp| {
            let ours = row.fence == fence && row.held_at(now).is_some_and(|(by, _)| by == holder);
            row.held = if ours { Some((holder, now.saturating_add(ttl))) } else { row.held };
            ours
        };
        Ok(self.lease(key, renew).await?.unwrap_or(false))
    }

    async fn release_lease(&self, key: &Key, holder: AttemptId, fence: u64) -> Result<()> {
        self.renew_lease(key, holder, fence, Duration::ZERO).await.map(drop)
    }

    async fn lease(&self, key: &Key) -> Result<Option<LeaseHeld>> {
        let (row, now) = (self.row(of(key)).await?, SystemTime::now().into());
        Ok(row.and_then(|row: Leased| {
            let (holder, until) = row.held_at(now)?;
            Some(LeaseHeld { holder, fence: row.fence, remaining: until.saturating_since(now) })
        }))
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(SystemTime::now().into())
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<Owed>> {
        let pick = move |owed: &Owed| owed.due_at <= before;
        let mut due = self.rows(path('o', []), &Page::first(u32::MAX), pick).await?.items;
        due.sort_by_key(|owed| owed.due_at);
        due.truncate(limit as usize);
        Ok(due)
    }

    async fn list_owed(&self, tenant: &TenantId, owner: Option<&Owner>, page: &Page) -> Result<Paged<Owed>> {
        self.rows(under('o', tenant, owner), page, |_| true).await
    }

    async fn update_owed(&self, record: &Owed, version: Version) -> Result<bool> {
        let (path, new) = (of_owed(&record.key, record.id), record.clone());
        let (condition, of) = (Condition::Version(version), |old: &Owed| old.version);
        Ok(self.write(move |rows| swap(rows, &path, condition, of, |_| Some(new))).await? == Put::Written)
    }

    async fn delete_owed(&self, key: &Key, id: RevocationId) -> Result<()> {
        let path = of_owed(key, id);
        self.write(move |rows| rows.remove(&*path).map(drop).map_err(Into::into)).await
    }
}
