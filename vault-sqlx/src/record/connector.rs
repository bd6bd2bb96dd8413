use vault_core::store::{ConnectorRecord, StoreError};

use super::row::{Fields, id, time, version};
use crate::engine::{Value, values};

pub(crate) const COLUMNS: [&str; 7] =
    ["tenant", "id", "name", "version", "created_at", "updated_at", "sealed"];

/// In the order of [`COLUMNS`].
pub(crate) fn values(record: &ConnectorRecord) -> [Value<'_>; COLUMNS.len()] {
    values![
        record.tenant.as_str(),
        record.id.as_str(),
        record.name.as_str(),
        record.version.as_i64(),
        record.created_at.as_millis(),
        record.updated_at.as_millis(),
        record.sealed.as_slice(),
    ]
}

pub(crate) fn record(row: &impl Fields) -> Result<ConnectorRecord, StoreError> {
    Ok(ConnectorRecord {
        tenant: id(row, "tenant")?,
        id: id(row, "id")?,
        name: row.text("name")?,
        version: version(row)?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        sealed: row.bytes("sealed")?,
    })
}
