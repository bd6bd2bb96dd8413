use std::collections::HashMap;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore, StoreError};

use crate::{MemoryStore, lock};

#[derive(Default)]
pub(crate) struct Flows {
    there: HashMap<[u8; 32], Flow>,
}

struct Flow {
    record: FlowRecord,
    taken: bool,
}

impl Flows {
    fn insert(&mut self, record: &FlowRecord, cap: u32, now: Timestamp) -> FlowInsert {
        if self.there.contains_key(&record.state_hash) {
            return FlowInsert::Exists;
        }
        let counted = self
            .there
            .values()
            .map(|flow| &flow.record)
            .filter(|flow| flow.tenant == record.tenant && flow.owner == record.owner)
            .filter(|flow| flow.expires_at > now)
            .count();
        if u32::try_from(counted).is_ok_and(|counted| counted < cap) {
            self.there.insert(record.state_hash, Flow { record: record.clone(), taken: false });
            FlowInsert::Inserted
        } else {
            FlowInsert::TooMany
        }
    }

    fn take(&mut self, state_hash: &[u8; 32], until: Timestamp) -> Option<FlowRecord> {
        let flow = self.there.get_mut(state_hash).filter(|flow| !flow.taken)?;
        flow.taken = true;
        flow.record.expires_at = until;
        Some(flow.record.clone())
    }

    pub(crate) fn is_taken(&self, state_hash: &[u8; 32]) -> bool {
        self.there.get(state_hash).is_some_and(|flow| flow.taken)
    }

    pub(crate) fn finish(&mut self, state_hash: &[u8; 32]) -> bool {
        self.is_taken(state_hash) && self.there.remove(state_hash).is_some()
    }

    /// Removes at most `limit` of those that `doomed` picks.
    fn remove(&mut self, limit: u64, doomed: impl Fn(&FlowRecord) -> bool) -> u64 {
        let mut removed = 0;
        self.there.retain(|_, flow| {
            let keep = removed == limit || !doomed(&flow.record);
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

    async fn take(
        &self,
        state_hash: &[u8; 32],
        until: Timestamp,
        _now: Timestamp,
    ) -> Result<Option<FlowRecord>, StoreError> {
        Ok(lock(&self.shared.flows).take(state_hash, until))
    }

    async fn finish(&self, taken: &FlowRecord) -> Result<bool, StoreError> {
        Ok(lock(&self.shared.flows).finish(&taken.state_hash))
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
