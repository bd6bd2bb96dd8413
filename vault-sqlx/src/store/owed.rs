use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{Page, Paged, RevocationRecord, Version};

use super::{Result, after, paged, rows_for};
use crate::SqlStore;
use crate::engine::{Access, Dialect, Engine, Statement, assignments, parameters, replacements, values};
use crate::record::{Fields as _, owed, owner_columns};

#[derive(Debug)]
pub(super) struct Statements {
    due: Statement,
    list: Statement,
    list_of_owner: Statement,
    update: Statement,
    delete: Statement,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let (table, columns) = (dialect.table("owed"), owed::COLUMNS.join(", "));
        let listing = |narrowed: &str| {
            Statement::new(
                "listing owed revocations",
                format!(
                    "SELECT {columns} FROM {table} WHERE tenant = $1 AND id > $2 {narrowed}
                     ORDER BY id LIMIT $3"
                ),
            )
        };
        Self {
            due: Statement::new(
                "scanning for owed revocations",
                format!("SELECT {columns} FROM {table} WHERE due_at <= $1 ORDER BY due_at LIMIT $2"),
            ),
            list: listing(""),
            list_of_owner: listing("AND owner_kind = $4 AND owner_id = $5"),
            update: Statement::new(
                "rewriting an owed revocation",
                format!(
                    "UPDATE {table} SET {} WHERE id = $1 AND connection = $2 AND version = ${}
                     RETURNING 1",
                    assignments(&owed::COLUMNS),
                    owed::COLUMNS.len() + 1
                ),
            ),
            delete: Statement::new(
                "forgetting an owed revocation",
                format!("DELETE FROM {table} WHERE id = $1 AND connection = $2 RETURNING 1"),
            ),
        }
    }
}

/// An insert of what a write owes, of parameters numbered after so many, `from` the write. Made twice, it is there once.
pub(super) fn insert(dialect: &Dialect, after: usize, from: &str) -> String {
    format!(
        "INSERT INTO {} ({}) SELECT {} {from} WHERE true ON CONFLICT (id) DO UPDATE SET {}",
        dialect.table("owed"),
        owed::COLUMNS.join(", "),
        parameters(owed::COLUMNS.len(), after),
        replacements(&owed::COLUMNS)
    )
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn owed_before(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>> {
        let values = values![before.as_millis(), i64::from(limit)];
        let rows = self.engine.rows(Access::Read, &self.sql.owed.due, &values).await?;
        rows.iter().map(owed::record).collect()
    }

    pub(super) async fn owed_of(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>> {
        let mut values = values![tenant.as_str(), after(page), rows_for(page)].to_vec();
        let statement = match owner {
            None => &self.sql.owed.list,
            Some(owner) => {
                let (kind, id) = owner_columns(owner);
                values.extend(values![kind, id]);
                &self.sql.owed.list_of_owner
            }
        };
        let rows = self.engine.rows(Access::Read, statement, &values).await?;
        paged(&rows, page, owed::record, |row| row.bytes("id"))
    }

    pub(super) async fn rewrite_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool> {
        let connection = record.key.digest();
        let mut values = owed::values(record, &connection).to_vec();
        values.push(version.as_i64().into());
        Ok(self.changed(&self.sql.owed.update, &values).await? > 0)
    }

    pub(super) async fn forget_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<()> {
        let connection = key.digest();
        let values = values![id.as_bytes(), &connection];
        self.changed(&self.sql.owed.delete, &values).await.map(drop)
    }
}
