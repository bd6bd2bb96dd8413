use vault_core::store::{FlowRecord, StoreError};

use super::row::{Fields, fixed, id, owner, owner_columns, time};
use crate::engine::{Value, values};

/// All but `place`, which the insert finds.
pub(crate) const COLUMNS: [&str; 9] = [
    "tenant",
    "owner_kind",
    "owner_id",
    "state_hash",
    "connector",
    "slot",
    "created_at",
    "expires_at",
    "sealed",
];

/// In the order of [`COLUMNS`].
pub(crate) fn values(record: &FlowRecord) -> [Value<'_>; COLUMNS.len()] {
    let (owner_kind, owner_id) = owner_columns(&record.owner);
    values![
        record.tenant.as_str(),
        owner_kind,
        owner_id,
        &record.state_hash,
        record.connector.as_str(),
        record.slot.as_str(),
        record.created_at.as_millis(),
        record.expires_at.as_millis(),
        record.sealed.as_slice(),
    ]
}

pub(crate) fn record(row: &impl Fields) -> Result<FlowRecord, StoreError> {
    Ok(FlowRecord {
        state_hash: fixed(row, "state_hash")?,
        tenant: id(row, "tenant")?,
        owner: owner(row)?,
        connector: id(row, "connector")?,
        slot: id(row, "slot")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        sealed: row.bytes("sealed")?,
    })
}
