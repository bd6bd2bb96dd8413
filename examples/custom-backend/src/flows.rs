use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore, Page};

use crate::{Error, RedbStore, Result, Table, get, list, path, set};

/// And whether it was taken.
type Flow = (FlowRecord, bool);

fn of(state_hash: &[u8; 32]) -> Vec<u8> {
    [path('f', []).as_slice(), state_hash].concat()
}

/// Whether that flow is there, and was taken.
pub(crate) fn is_taken(rows: &Table<'_>, state_hash: &[u8; 32]) -> Result<bool, Error> {
    Ok(get(rows, &of(state_hash))?.is_some_and(|(_, taken): Flow| taken))
}

pub(crate) fn remove(rows: &mut Table<'_>, state_hash: &[u8; 32]) -> Result<(), Error> {
    rows.remove(&*of(state_hash))?;
    Ok(())
}

impl RedbStore {
    /// Removes the flows that `doomed` picks, at most `limit`.
    async fn remove(&self, limit: u32, doomed: impl Fn(&FlowRecord) -> bool + Send + 'static) -> Result<u64> {
        self.write(move |rows| {
            let doomed = move |(flow, _): &Flow| doomed(flow);
            let doomed = list(rows, &path('f', []), &Page::first(limit), doomed)?.items;
            for (flow, _) in doomed.iter().take(limit as usize) {
                rows.remove(&*of(&flow.state_hash))?;
            }
            Ok(doomed.len().min(limit as usize) as u64)
        })
        .await
    }
}

#[async_trait]
impl FlowStore for RedbStore {
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert> {
        let (path, prefix, new) = (of(&record.state_hash), path('f', []), record.clone());
        self.write(move |rows| {
            if get::<Flow>(rows, &path)?.is_some() {
                return Ok(FlowInsert::Exists);
            }
            let same = |flow: &FlowRecord| (&flow.tenant, &flow.owner) == (&new.tenant, &new.owner);
            let counted = |(flow, _): &Flow| same(flow) && flow.expires_at > now;
            if list(rows, &prefix, &Page::first(u32::MAX), counted)?.items.len() >= cap as usize {
                return Ok(FlowInsert::TooMany);
            }
            set(rows, &path, &(new, false))?;
            Ok(FlowInsert::Inserted)
        })
        .await
    }

    async fn take(&self, hash: &[u8; 32], until: Timestamp, _: Timestamp) -> Result<Option<FlowRecord>> {
        let path = of(hash);
        self.write(move |rows| {
            let Some((mut flow, false)) = get::<Flow>(rows, &path)? else { return Ok(None) };
            flow.expires_at = until;
            set(rows, &path, &(flow.clone(), true))?;
            Ok(Some(flow))
        })
        .await
    }

    async fn finish(&self, taken: &FlowRecord) -> Result<bool> {
        let flow = taken.state_hash;
        self.write(move |rows| {
            let there = is_taken(rows, &flow)?;
            if there {
                remove(rows, &flow)?;
            }
            Ok(there)
        })
        .await
    }

    async fn cancel(&self, tenant: &TenantId, owner: &Owner, connector: Option<&ConnectorId>) -> Result<u64> {
        let (tenant, owner, only) = (tenant.clone(), owner.clone(), connector.cloned());
        let to = move |flow: &FlowRecord| only.as_ref().is_none_or(|connector| flow.connector == *connector);
        self.remove(u32::MAX, move |flow| flow.tenant == tenant && flow.owner == owner && to(flow)).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.remove(limit, move |flow| flow.expires_at <= now).await
    }
}
