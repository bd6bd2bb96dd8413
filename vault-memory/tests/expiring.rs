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
pub(crate) struct ExpiringFlows(Mutex<HashMap<[u8; 32], Flow>>);

#[derive(Debug)]
struct Flow {
    record: FlowRecord,
    end: Instant,
    taken: bool,
}

fn end(at: Timestamp, now: Timestamp) -> Instant {
    Instant::now() + at.saturating_since(now).min(LONGEST)
}

impl ExpiringFlows {
    fn alive(&self) -> MutexGuard<'_, HashMap<[u8; 32], Flow>> {
        let mut flows = self.0.lock().expect("no panic inside");
        flows.retain(|_, flow| flow.end > Instant::now());
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
        let pending = flows.values().map(|flow| &flow.record).filter(|flow| {
            flow.tenant == record.tenant && flow.owner == record.owner && flow.expires_at > now
        });
        if pending.count() >= cap as usize {
            return Ok(FlowInsert::TooMany);
        }
        let end = end(record.expires_at, now);
        flows.insert(record.state_hash, Flow { record: record.clone(), end, taken: false });
        Ok(FlowInsert::Inserted)
    }

    async fn take(
        &self,
        state_hash: &[u8; 32],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<FlowRecord>, StoreError> {
        let mut flows = self.alive();
        Ok(flows.get_mut(state_hash).filter(|flow| !flow.taken).map(|flow| {
            (flow.taken, flow.record.expires_at, flow.end) = (true, until, end(until, now));
            flow.record.clone()
        }))
    }

    async fn finish(&self, taken: &FlowRecord) -> Result<bool, StoreError> {
        let mut flows = self.alive();
        let there = flows.get(&taken.state_hash).is_some_and(|flow| flow.taken);
        Ok(there && flows.remove(&taken.state_hash).is_some())
    }

    async fn cancel(
        &self,
        tenant: &TenantId,
        owner: &Owner,
        connector: Option<&ConnectorId>,
    ) -> Result<u64, StoreError> {
        let mut flows = self.alive();
        let before = flows.len();
        flows.retain(|_, Flow { record, .. }| {
            record.tenant != *tenant
                || record.owner != *owner
                || connector.is_some_and(|connector| record.connector != *connector)
        });
        Ok((before - flows.len()) as u64)
    }

    async fn purge_expired(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}
