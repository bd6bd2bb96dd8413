//! Flows that go by themselves on the store's own clock, as Redis has it: the other way to keep the contract.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore, StoreError};

/// What the storage can express at most.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

#[derive(Debug, Default)]
pub(crate) struct ExpiringFlows(Mutex<HashMap<[u8; 32], (FlowRecord, Instant)>>);

impl ExpiringFlows {
    fn alive(&self) -> MutexGuard<'_, HashMap<[u8; 32], (FlowRecord, Instant)>> {
        let mut flows = self.0.lock().expect("no panic inside");
        flows.retain(|_, (_, end)| *end > Instant::now());
        flows
    }
}

#[async_trait]
impl FlowStore for ExpiringFlows {
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert, StoreError> {
        let mut flows = self.alive();
        if flows.contains_key(&record.state_hash) {
            return Ok(FlowInsert::Exists);
        }
        let pending = flows.values().filter(|(flow, _)| {
            flow.tenant == record.tenant && flow.owner == record.owner && flow.expires_at > now
        });
        if pending.count() >= cap as usize {
            return Ok(FlowInsert::TooMany);
        }
        let ttl = record.expires_at.saturating_since(now).min(LONGEST);
        flows.insert(record.state_hash, (record.clone(), Instant::now() + ttl));
        Ok(FlowInsert::Inserted)
    }

    async fn take(&self, state_hash: &[u8; 32]) -> Result<Option<FlowRecord>, StoreError> {
        Ok(self.alive().remove(state_hash).map(|(flow, _)| flow))
    }

    async fn cancel(
        &self,
        tenant: &TenantId,
        owner: &Owner,
        connector: Option<&ConnectorId>,
    ) -> Result<u64, StoreError> {
        let mut flows = self.alive();
        let before = flows.len();
        flows.retain(|_, (flow, _)| {
            flow.tenant != *tenant
                || flow.owner != *owner
                || connector.is_some_and(|connector| flow.connector != *connector)
        });
        Ok((before - flows.len()) as u64)
    }

    async fn purge_expired(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}
