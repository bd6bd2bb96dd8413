//! What the numbers of an operation stand for in one case, and what the case has come to so far.

use std::collections::HashMap;

use vault_core::ReauthReason;
use vault_core::clock::Timestamp;
use vault_core::id::{
    AttemptId, ConnectionKey, ConnectorId, Incarnation, Owner, RevocationId, Slot, TenantId, UserId,
};
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStatus, ConnectorRecord, FlowRecord, KeyRecord, KeyScope,
    RevocationRecord, Version,
};

use super::op::{TENANTS, When};
use crate::conformance::support::{LONG, NOW, VALID, at, draw, long_ago, tenant};

/// A case: random names, so that cases do not meet on a shared store, and the versions that stand.
pub(super) struct World {
    pub(super) tenants: [TenantId; TENANTS],
    past: Timestamp,
    hashes: [u8; 16],
    pub(super) connections: HashMap<usize, Stand<Version>>,
    pub(super) fences: HashMap<usize, Stand<u64>>,
    pub(super) connectors: HashMap<(usize, usize), Stand<Version>>,
    pub(super) keys: HashMap<usize, Stand<Version>>,
    pub(super) flows: HashMap<usize, FlowRecord>,
    pub(super) owed: Vec<(RevocationRecord, Stand<Version>)>,
    /// Both backends can end a flow in a write.
    pub(super) finishing: bool,
}

/// What stands, and what stood before.
#[derive(Clone, Copy)]
pub(super) struct Stand<T> {
    pub(super) current: Option<T>,
    former: Option<T>,
}

impl<T> Default for Stand<T> {
    fn default() -> Self {
        Self { current: None, former: None }
    }
}

impl<T: Copy> Stand<T> {
    pub(super) fn moves(&mut self, to: Option<T>) {
        self.former = self.current.or(self.former);
        self.current = to;
    }

    fn pick(self, when: When) -> Option<T> {
        match when {
            When::Absent => None,
            When::Current => self.current,
            When::Former => self.former,
        }
    }
}

/// A version that no step draws.
const NEVER: Version = Version::from_i64(-1);

/// Versions of either sign, one for each step.
pub(super) fn drawn_in(step: usize) -> Version {
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    Version::from_i64(step.wrapping_add(1).wrapping_mul(0x1e37_79b9_7f4a_7c15))
}

pub(super) fn condition(stand: Option<&Stand<Version>>, when: When) -> Condition {
    match when {
        When::Absent => Condition::Absent,
        _ => Condition::Version(version(stand, when)),
    }
}

pub(super) fn version(stand: Option<&Stand<Version>>, when: When) -> Version {
    stand.and_then(|stand| stand.pick(when)).unwrap_or(NEVER)
}

pub(super) fn fence(stand: Option<&Stand<u64>>, when: When) -> u64 {
    stand.and_then(|stand| stand.pick(when)).unwrap_or(1_000_000)
}

fn bytes(what: &str, step: usize) -> Vec<u8> {
    format!("{what} of step {step}").into_bytes()
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            tenants: [(); TENANTS].map(|()| tenant()),
            past: long_ago(),
            hashes: draw(),
            connections: HashMap::new(),
            fences: HashMap::new(),
            connectors: HashMap::new(),
            keys: HashMap::new(),
            flows: HashMap::new(),
            owed: Vec::new(),
            finishing: false,
        }
    }

    pub(super) fn is_ours(&self, tenant: &TenantId) -> bool {
        self.tenants.contains(tenant)
    }

    /// Somewhere in that span: no two steps have the same time, so that orders by time are total.
    fn time_in(&self, span: i64, step: usize) -> Timestamp {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        at(self.past.as_millis() + span * 1_000 + step)
    }

    /// The end of the spans before that one.
    pub(super) fn until(&self, span: i64) -> Timestamp {
        at(self.past.as_millis() + span * 1_000 - 1)
    }

    /// Before everything that any test stores.
    pub(super) fn dawn() -> Timestamp {
        at(-(1 << 52) - 1)
    }

    pub(super) fn owner(owner: usize) -> Owner {
        match owner {
            0 => Owner::Shared,
            1 => Owner::User(UserId::new("alice").expect(VALID)),
            _ => Owner::User(UserId::new("shared").expect(VALID)),
        }
    }

    pub(super) fn connector_id(connector: usize) -> ConnectorId {
        ConnectorId::new(["mail", "mail ", "m:a"][connector]).expect(VALID)
    }

    pub(super) fn key(&self, key: usize) -> ConnectionKey {
        let (tenant, owner, connector, slot) = [
            (0, 1, 0, "default"),
            (0, 1, 0, "work"),
            (0, 1, 1, "default"),
            (0, 2, 0, "default"),
            (0, 0, 0, "default"),
            (1, 1, 0, "default"),
        ][key];
        ConnectionKey {
            tenant: self.tenants[tenant].clone(),
            owner: Self::owner(owner),
            connector: Self::connector_id(connector),
            slot: Slot::new(slot).expect(VALID),
        }
    }

    pub(super) fn holder(holder: usize) -> AttemptId {
        AttemptId::from_bytes([u8::try_from(holder).unwrap_or(u8::MAX); 16])
    }

    pub(super) fn connection(
        &self,
        step: usize,
        key: usize,
        due: Option<i64>,
        active: bool,
    ) -> ConnectionRecord {
        let waiting = ConnectionStatus::NeedsReauthorization(ReauthReason::LostRotation);
        ConnectionRecord {
            key: self.key(key),
            version: drawn_in(step),
            incarnation: incarnation(step),
            generation: step as u64,
            status: if active { ConnectionStatus::Active } else { waiting },
            due_at: due.map(|span| self.time_in(span, step)),
            expires_at: due.map(|_| NOW),
            created_at: NOW,
            updated_at: at(step as i64),
            summary: bytes("summary", step),
            credential: bytes("credential", step).into(),
            refresh: bytes("refresh", step % 3),
        }
    }

    pub(super) fn revocation(&self, step: usize, key: usize) -> RevocationRecord {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&drawn_in(step).as_i64().to_le_bytes());
        id[8..].copy_from_slice(&self.hashes[..8]);
        RevocationRecord {
            id: RevocationId::from_bytes(id),
            key: self.key(key),
            incarnation: incarnation(step),
            version: drawn_in(step),
            due_at: self.time_in(step as i64 % super::op::SPANS, step),
            attempts: 0,
            created_at: NOW,
            sealed: bytes("revocation", step),
        }
    }

    /// That revocation, or one that nobody ever owed, rewritten.
    pub(super) fn rewritten(&self, step: usize, which: usize, span: i64) -> RevocationRecord {
        let there = self.owed.get(which).map_or_else(|| self.revocation(step, 0), |(owed, _)| owed.clone());
        RevocationRecord {
            version: drawn_in(step),
            due_at: self.time_in(span, step),
            attempts: step as u32,
            sealed: bytes("rewritten", step),
            ..there
        }
    }

    pub(super) fn flow(&self, step: usize, flow: usize, of: (usize, usize, usize)) -> FlowRecord {
        let (tenant, owner, connector) = of;
        FlowRecord {
            state_hash: self.hash(flow),
            tenant: self.tenants[tenant].clone(),
            owner: Self::owner(owner),
            connector: Self::connector_id(connector),
            slot: Slot::default(),
            created_at: NOW,
            expires_at: NOW.saturating_add(LONG),
            sealed: bytes("flow", step),
        }
    }

    pub(super) fn taken_until() -> Timestamp {
        NOW.saturating_add(LONG * 2)
    }

    /// That flow as whoever took it has it, or one that nobody took.
    pub(super) fn taken(&self, step: usize, flow: usize) -> FlowRecord {
        let there = self.flows.get(&flow).cloned().unwrap_or_else(|| self.flow(step, flow, (0, 0, 0)));
        FlowRecord { expires_at: Self::taken_until(), ..there }
    }

    /// The same if it is of that connection's owner, else one that was never there.
    pub(super) fn taken_of(&self, step: usize, flow: usize, key: &ConnectionKey) -> FlowRecord {
        let of_owner = |taken: &FlowRecord| (&taken.tenant, &taken.owner) == (&key.tenant, &key.owner);
        let absent = || FlowRecord {
            tenant: key.tenant.clone(),
            owner: key.owner.clone(),
            ..self.taken(step, super::op::FLOWS)
        };
        Some(self.taken(step, flow)).filter(of_owner).unwrap_or_else(absent)
    }

    pub(super) fn hash(&self, flow: usize) -> [u8; 32] {
        let mut hash = [u8::try_from(flow).unwrap_or(u8::MAX); 32];
        hash[..16].copy_from_slice(&self.hashes);
        hash
    }

    pub(super) fn scope(&self, scope: usize) -> KeyScope {
        let [first, second] = &self.tenants;
        match scope {
            0 => KeyScope::Tenant(first.clone()),
            1 => KeyScope::Tenant(second.clone()),
            _ => KeyScope::User(first.clone(), UserId::new("alice").expect(VALID)),
        }
    }

    pub(super) fn data_key(&self, step: usize, scope: usize) -> KeyRecord {
        KeyRecord { scope: self.scope(scope), version: drawn_in(step), wrapped: bytes("key", step) }
    }

    pub(super) fn name(name: usize) -> &'static str {
        ["Mail", "mail", "mail "][name]
    }

    pub(super) fn connector(&self, step: usize, tenant: usize, id: usize, name: usize) -> ConnectorRecord {
        ConnectorRecord {
            tenant: self.tenants[tenant].clone(),
            id: Self::connector_id(id),
            name: Self::name(name).to_owned(),
            version: drawn_in(step),
            created_at: NOW,
            updated_at: at(step as i64),
            sealed: bytes("connector", step),
        }
    }
}

fn incarnation(step: usize) -> Incarnation {
    Incarnation::from_bytes([u8::try_from(step % 251).unwrap_or(0); 16])
}
