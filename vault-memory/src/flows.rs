use std::collections::HashMap;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore, StoreError};

use crate::{MemoryStore, lock};

#[derive(Default)]
pub(crate) struct Flows {
    pending: HashMap<[u8; 32], FlowRecord>,
}

impl Flows {
    fn insert(&mut self, record: &FlowRecord, cap: u32, now: Timestamp) -> FlowInsert {
        if self.pending.contains_key(&record.state_hash) {
            return FlowInsert::Exists;
        }
        let pending = self
            .pending
            .values()
            .filter(|flow| flow.tenant == record.tenant && flow.owner == record.owner)
            .filter(|flow| flow.expires_at > now)
            .count();
        if u32::try_from(pending).is_ok_and(|pending| pending < cap) {
            self.pending.insert(record.state_hash, record.clone());
            FlowInsert::Inserted
        } else {
            FlowInsert::TooMany
        }
    }

    /// Removes at most `limit` of those that `doomed` picks.
    fn remove(&mut self, limit: u64, doomed: impl Fn(&FlowRecord) -> bool) -> u64 {
        let mut removed = 0;
        self.pending.retain(|_, flow| {
            let keep = removed == limit || !doomed(flow);
            removed += u64::from(!keep);
            keep
        });
        removed
    }
}

#[async_trait]
impl FlowStore for MemoryStore {
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert, StoreError> {
        Ok(lock(&self.shared.flows).insert(record, cap, now))
    }

    async fn take(&self, state_hash: &[u8; 32]) -> Result<Option<FlowRecord>, StoreError> {
        Ok(lock(&self.shared.flows).pending.remove(state_hash))
    }

    async fn cancel(
        &self,
        tenant: &TenantId,
        owner: &Owner,
        connector: Option<&ConnectorId>,
    ) -> Result<u64, StoreError> {
        Ok(lock(&self.shared.flows).remove(u64::MAX, |flow| {
            flow.tenant == *tenant
                && flow.owner == *owner
                && connector.is_none_or(|connector| flow.connector == *connector)
        }))
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        Ok(lock(&self.shared.flows).remove(u64::from(limit), |flow| flow.expires_at <= now))
    }
}
