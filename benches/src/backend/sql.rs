//! A connection's row, for inserts past the vault.

use vault_core::clock::Timestamp;
use vault_core::id::Owner;
use vault_core::store::ConnectionRecord;

/// In the order in which both servers' loaders bind them.
pub(super) const COLUMNS: &str = "id, tenant, owner_kind, owner_id, connector, slot, version, incarnation, generation, \
                                  status, due_at, expires_at, created_at, updated_at, refresh, summary, credential";

pub(super) struct Row<'a> {
    pub(super) record: &'a ConnectionRecord,
    pub(super) id: [u8; 32],
    pub(super) owner_kind: i64,
    pub(super) owner_id: &'a str,
    pub(super) generation: i64,
    pub(super) due_at: Option<i64>,
    pub(super) expires_at: Option<i64>,
}

impl<'a> Row<'a> {
    pub(super) fn of(record: &'a ConnectionRecord) -> Self {
        let (owner_kind, owner_id) = match &record.key.owner {
            Owner::Shared => (0, ""),
            Owner::User(user) => (1, user.as_str()),
        };
        Self {
            id: record.key.digest(),
            owner_kind,
            owner_id,
            generation: i64::try_from(record.generation).expect("a small number"),
            due_at: record.due_at.map(Timestamp::as_millis),
            expires_at: record.expires_at.map(Timestamp::as_millis),
            record,
        }
    }
}
