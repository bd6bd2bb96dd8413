//! What the SQL backends share: records as columns, and columns as records.

use std::time::Duration;

use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, ConnectorId, Incarnation, Owner, RevocationId, Slot, TenantId, UserId};
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStatus, ConnectorRecord, Cursor, FlowRecord, KeyRecord, KeyScope,
    ListedConnection, Page, Paged, RevocationRecord, StoreError, StoreErrorKind, Version,
};

type Result<T> = std::result::Result<T, StoreError>;

/// A row of any database, by the four types that the schema uses.
pub(crate) trait Fields {
    fn int(&self, column: &'static str) -> Result<i64>;
    fn maybe_int(&self, column: &'static str) -> Result<Option<i64>>;
    fn text(&self, column: &'static str) -> Result<String>;
    fn bytes(&self, column: &'static str) -> Result<Vec<u8>>;
}

macro_rules! fields {
    ($row:ty) => {
        impl $crate::row::Fields for $row {
            fn int(&self, column: &'static str) -> Result<i64, StoreError> {
                self.try_get(column).map_err($crate::fault::undecodable)
            }
            fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
                self.try_get(column).map_err($crate::fault::undecodable)
            }
            fn text(&self, column: &'static str) -> Result<String, StoreError> {
                self.try_get(column).map_err($crate::fault::undecodable)
            }
            fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
                self.try_get(column).map_err($crate::fault::undecodable)
            }
        }
    };
}
pub(crate) use fields;

/// The row holds what no record of ours has.
const fn corrupt(what: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, what)
}

fn number<T: TryFrom<i64>>(row: &impl Fields, column: &'static str) -> Result<T> {
    T::try_from(row.int(column)?).map_err(|_| corrupt("a number out of range"))
}

fn time(row: &impl Fields, column: &'static str) -> Result<Timestamp> {
    row.int(column).map(Timestamp::from_millis)
}

fn maybe_time(row: &impl Fields, column: &'static str) -> Result<Option<Timestamp>> {
    Ok(row.maybe_int(column)?.map(Timestamp::from_millis))
}

fn fixed<const N: usize>(row: &impl Fields, column: &'static str) -> Result<[u8; N]> {
    let bytes = row.bytes(column)?;
    <[u8; N]>::try_from(bytes).map_err(|_| corrupt("a value of the wrong length"))
}

fn id<T: TryFrom<String>>(row: &impl Fields, column: &'static str) -> Result<T> {
    T::try_from(row.text(column)?).map_err(|_| corrupt("not an identifier"))
}

pub(crate) fn version(row: &impl Fields) -> Result<Version> {
    row.int("version").map(Version::from_i64)
}

fn status(row: &impl Fields) -> Result<ConnectionStatus> {
    ConnectionStatus::from_code(number(row, "status")?).ok_or(corrupt("unknown status"))
}

fn owner(row: &impl Fields) -> Result<Owner> {
    match row.int("owner_kind")? {
        0 => Ok(Owner::Shared),
        1 => Ok(Owner::User(id::<UserId>(row, "owner_id")?)),
        _ => Err(corrupt("unknown kind of owner")),
    }
}

/// An owner as `owner_kind` and `owner_id`.
pub(crate) fn owner_columns(owner: &Owner) -> (i64, &str) {
    match owner {
        Owner::Shared => (0, ""),
        Owner::User(user) => (1, user.as_str()),
    }
}

/// A scope as `kind`, `tenant` and `user_id`.
pub(crate) fn scope_columns(scope: &KeyScope) -> (i64, &str, &str) {
    match scope {
        KeyScope::Vault => (0, "", ""),
        KeyScope::Tenant(tenant) => (1, tenant.as_str(), ""),
        KeyScope::User(tenant, user) => (2, tenant.as_str(), user.as_str()),
    }
}

/// A generation as databases count.
pub(crate) fn generation_column(generation: u64) -> Result<i64> {
    i64::try_from(generation).map_err(|_| corrupt("a generation past the largest that can be stored"))
}

/// A span in milliseconds, short enough that adding it to a time of day does not overflow.
pub(crate) fn millis(span: Duration) -> i64 {
    const LONGEST: i64 = 1 << 53;
    i64::try_from(span.as_millis()).map_or(LONGEST, |millis| millis.min(LONGEST))
}

pub(crate) fn holds(condition: Condition, current: Option<Version>) -> bool {
    match condition {
        Condition::Absent => current.is_none(),
        Condition::Version(version) => current == Some(version),
    }
}

pub(crate) fn connection_key(row: &impl Fields) -> Result<ConnectionKey> {
    Ok(ConnectionKey {
        tenant: id::<TenantId>(row, "tenant")?,
        owner: owner(row)?,
        connector: id::<ConnectorId>(row, "connector")?,
        slot: id::<Slot>(row, "slot")?,
    })
}

pub(crate) fn connector(row: &impl Fields) -> Result<ConnectorRecord> {
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

pub(crate) fn connection(row: &impl Fields) -> Result<ConnectionRecord> {
    Ok(ConnectionRecord {
        key: connection_key(row)?,
        version: version(row)?,
        incarnation: Incarnation::from_bytes(fixed(row, "incarnation")?),
        generation: number(row, "generation")?,
        status: status(row)?,
        due_at: maybe_time(row, "due_at")?,
        expires_at: maybe_time(row, "expires_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        summary: row.bytes("summary")?,
        credential: row.bytes("credential")?,
        refresh: row.bytes("refresh")?,
    })
}

pub(crate) fn listed_connection(row: &impl Fields) -> Result<ListedConnection> {
    Ok(ListedConnection {
        key: connection_key(row)?,
        incarnation: Incarnation::from_bytes(fixed(row, "incarnation")?),
        generation: number(row, "generation")?,
        status: status(row)?,
        expires_at: maybe_time(row, "expires_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        summary: row.bytes("summary")?,
    })
}

pub(crate) fn revocation(row: &impl Fields) -> Result<RevocationRecord> {
    Ok(RevocationRecord {
        id: RevocationId::from_bytes(fixed(row, "id")?),
        key: connection_key(row)?,
        incarnation: Incarnation::from_bytes(fixed(row, "incarnation")?),
        version: version(row)?,
        due_at: time(row, "due_at")?,
        attempts: number(row, "attempts")?,
        created_at: time(row, "created_at")?,
        sealed: row.bytes("sealed")?,
    })
}

pub(crate) fn flow(row: &impl Fields) -> Result<FlowRecord> {
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

pub(crate) fn key(row: &impl Fields) -> Result<KeyRecord> {
    let scope = match row.int("kind")? {
        0 => KeyScope::Vault,
        1 => KeyScope::Tenant(id(row, "tenant")?),
        2 => KeyScope::User(id(row, "tenant")?, id(row, "user_id")?),
        _ => return Err(corrupt("unknown kind of key scope")),
    };
    Ok(KeyRecord { scope, version: version(row)?, wrapped: row.bytes("wrapped")? })
}

/// Where a page starts, in the bytes that [`paged`] made its cursor of; empty for the first.
pub(crate) fn after(page: &Page) -> &[u8] {
    page.after.as_ref().map_or(&[], |Cursor(after)| after)
}

/// How many rows to ask for: one more than the page holds, to learn whether there is another.
pub(crate) fn rows_for(page: &Page) -> i64 {
    i64::from(page.limit.max(1)) + 1
}

/// A page out of the rows that [`rows_for`] asked for.
pub(crate) fn paged<R, T>(
    rows: &[R],
    page: &Page,
    item: impl Fn(&R) -> Result<T>,
    cursor: impl Fn(&R) -> Result<Vec<u8>>,
) -> Result<Paged<T>> {
    let limit = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    let shown = &rows[..rows.len().min(limit)];
    let next = match shown.last() {
        Some(last) if rows.len() > limit => Some(Cursor(cursor(last)?)),
        _ => None,
    };
    let items = shown.iter().map(item).collect::<Result<_>>()?;
    Ok(Paged { items, next })
}
