use vault_core::store::{KeyRecord, KeyScope, StoreError};

use super::row::{Fields, corrupt, id, version};
use crate::engine::{Value, values};

pub(crate) const COLUMNS: [&str; 5] = ["kind", "tenant", "user_id", "version", "wrapped"];

/// The first three of [`COLUMNS`].
pub(crate) fn scope_values(scope: &KeyScope) -> [Value<'_>; 3] {
    match scope {
        KeyScope::Vault => values![0, "", ""],
        KeyScope::Tenant(tenant) => values![1, tenant.as_str(), ""],
        KeyScope::User(tenant, user) => values![2, tenant.as_str(), user.as_str()],
    }
}

/// In the order of [`COLUMNS`].
pub(crate) fn values(record: &KeyRecord) -> [Value<'_>; COLUMNS.len()] {
    let [kind, tenant, user] = scope_values(&record.scope);
    [kind, tenant, user, record.version.as_i64().into(), record.wrapped.as_slice().into()]
}

pub(crate) fn record(row: &impl Fields) -> Result<KeyRecord, StoreError> {
    let scope = match row.int("kind")? {
        0 => KeyScope::Vault,
        1 => KeyScope::Tenant(id(row, "tenant")?),
        2 => KeyScope::User(id(row, "tenant")?, id(row, "user_id")?),
        _ => return Err(corrupt("unknown kind of key scope")),
    };
    Ok(KeyRecord { scope, version: version(row)?, wrapped: row.bytes("wrapped")? })
}
