use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, Incarnation};
use vault_core::store::{Bytes, ConnectionRecord, ListedConnection, StoreError};

use super::row::{Fields, fixed, generation_column, id, maybe_time, number, owner, owner_columns};
use super::row::{status, time, version};
use crate::engine::{Value, values};

/// All but the lease's. What tells a connection apart comes first, the longest last.
pub(crate) const COLUMNS: [&str; 17] = [
    "id",
    "tenant",
    "owner_kind",
    "owner_id",
    "connector",
    "slot",
    "version",
    "incarnation",
    "generation",
    "status",
    "due_at",
    "expires_at",
    "created_at",
    "updated_at",
    "refresh",
    "summary",
    "credential",
];

/// What a listing reads: not the credential.
pub(crate) const LISTED: &str = "id, tenant, owner_kind, owner_id, connector, slot, incarnation, generation, \
                                 status, expires_at, created_at, updated_at, summary";

/// In the order of [`COLUMNS`]; `id` is the key's digest.
pub(crate) fn values<'a>(
    record: &'a ConnectionRecord,
    id: &'a [u8; 32],
) -> Result<[Value<'a>; COLUMNS.len()], StoreError> {
    let (owner_kind, owner_id) = owner_columns(&record.key.owner);
    Ok(values![
        id,
        record.key.tenant.as_str(),
        owner_kind,
        owner_id,
        record.key.connector.as_str(),
        record.key.slot.as_str(),
        record.version.as_i64(),
        record.incarnation.as_bytes(),
        generation_column(record.generation)?,
        i64::from(record.status.code()),
        record.due_at.map(Timestamp::as_millis),
        record.expires_at.map(Timestamp::as_millis),
        record.created_at.as_millis(),
        record.updated_at.as_millis(),
        record.refresh.as_slice(),
        record.summary.as_slice(),
        record.credential.as_ref(),
    ])
}

pub(crate) fn key(row: &impl Fields) -> Result<ConnectionKey, StoreError> {
    Ok(ConnectionKey {
        tenant: id(row, "tenant")?,
        owner: owner(row)?,
        connector: id(row, "connector")?,
        slot: id(row, "slot")?,
    })
}

pub(crate) fn record(row: &impl Fields) -> Result<ConnectionRecord, StoreError> {
    Ok(ConnectionRecord {
        key: key(row)?,
        version: version(row)?,
        incarnation: Incarnation::from_bytes(fixed(row, "incarnation")?),
        generation: number(row, "generation")?,
        status: status(row)?,
        due_at: maybe_time(row, "due_at")?,
        expires_at: maybe_time(row, "expires_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        summary: row.bytes("summary")?,
        credential: credential(row)?,
        refresh: row.bytes("refresh")?,
    })
}

pub(crate) fn credential(row: &impl Fields) -> Result<Bytes, StoreError> {
    row.bytes("credential").map(Bytes::from)
}

pub(crate) fn listed(row: &impl Fields) -> Result<ListedConnection, StoreError> {
    Ok(ListedConnection {
        key: key(row)?,
        incarnation: Incarnation::from_bytes(fixed(row, "incarnation")?),
        generation: number(row, "generation")?,
        status: status(row)?,
        expires_at: maybe_time(row, "expires_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        summary: row.bytes("summary")?,
    })
}
