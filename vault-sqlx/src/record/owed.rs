use vault_core::id::{Incarnation, RevocationId};
use vault_core::store::{RevocationRecord, StoreError};

use super::connection;
use super::row::{Fields, fixed, number, owner_columns, time, version};
use crate::engine::{Value, values};

pub(crate) const COLUMNS: [&str; 13] = [
    "id",
    "connection",
    "tenant",
    "owner_kind",
    "owner_id",
    "connector",
    "slot",
    "incarnation",
    "version",
    "due_at",
    "attempts",
    "created_at",
    "sealed",
];

/// In the order of [`COLUMNS`]; `connection` is the key's digest.
pub(crate) fn values<'a>(
    record: &'a RevocationRecord,
    connection: &'a [u8; 32],
) -> [Value<'a>; COLUMNS.len()] {
    let (owner_kind, owner_id) = owner_columns(&record.key.owner);
    values![
        record.id.as_bytes(),
        connection,
        record.key.tenant.as_str(),
        owner_kind,
        owner_id,
        record.key.connector.as_str(),
        record.key.slot.as_str(),
        record.incarnation.as_bytes(),
        record.version.as_i64(),
        record.due_at.as_millis(),
        i64::from(record.attempts),
        record.created_at.as_millis(),
        record.sealed.as_slice(),
    ]
}

pub(crate) fn record(row: &impl Fields) -> Result<RevocationRecord, StoreError> {
    Ok(RevocationRecord {
        id: RevocationId::from_bytes(fixed(row, "id")?),
        key: connection::key(row)?,
        incarnation: Incarnation::from_bytes(fixed(row, "incarnation")?),
        version: version(row)?,
        due_at: time(row, "due_at")?,
        attempts: number(row, "attempts")?,
        created_at: time(row, "created_at")?,
        sealed: row.bytes("sealed")?,
    })
}
