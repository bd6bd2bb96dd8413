use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore, Page};

use crate::{RedbStore, Result, decode, get, list, path, set};

fn of(state_hash: &[u8; 32]) -> Vec<u8> {
    [path('f', []).as_slice(), state_hash].concat()
}

impl RedbStore {
    /// Removes the flows that `doomed` picks, at most `limit`.
    async fn remove(&self, limit: u32, doomed: impl Fn(&FlowRecord) -> bool + Send + 'static) -> Result<u64> {
        self.write(move |rows| {
            let doomed = list(rows, &path('f', []), &Page::first(limit), doomed)?.items;
            for flow in doomed.iter().take(limit as usize) {
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
            if get::<FlowRecord>(rows, &path)?.is_some() {
                return Ok(FlowInsert::Exists);
            }
            let same = |flow: &FlowRecord| (&flow.tenant, &flow.owner) == (&new.tenant, &new.owner);
            let pending = |flow: &FlowRecord| same(flow) && flow.expires_at > now;
            if list(rows, &prefix, &Page::first(u32::MAX), pending)?.items.len() >= cap as usize {
                return Ok(FlowInsert::TooMany);
            }
            set(rows, &path, &new)?;
            Ok(FlowInsert::Inserted)
        })
        .await
    }

    async fn take(&self, state_hash: &[u8; 32]) -> Result<Option<FlowRecord>> {
        let path = of(state_hash);
        self.write(move |rows| rows.remove(&*path)?.map(|row| decode(row.value())).transpose()).await
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
