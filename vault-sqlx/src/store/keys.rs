use async_trait::async_trait;
use vault_core::store::{
    Condition, KeyRecord, KeyScope, KeyStore, Page, Paged, Put, StoreError, StoreErrorKind,
};

use super::{Result, after, conflict, nothing, paged, rows_for, settle};
use crate::SqlStore;
use crate::engine::{Access, Dialect, Engine, Guarded, Statement, assignments, parameters, values};
use crate::record::{Fields, key};

#[derive(Debug)]
pub(super) struct Statements {
    get: Statement,
    insert: Guarded,
    update: Guarded,
    delete: Statement,
    list: Statement,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let table = dialect.table("keys");
        let (columns, count) = (key::COLUMNS.join(", "), key::COLUMNS.len());
        let this = "kind = $1 AND tenant = $2 AND user_id = $3";
        let probe = format!("(SELECT version FROM {table} WHERE {this}) AS version");
        Self {
            get: Statement::new("getting a data key", format!("SELECT {columns} FROM {table} WHERE {this}")),
            insert: Guarded::new(
                "inserting a data key",
                &format!(
                    "INSERT INTO {table} ({columns}) VALUES ({}) ON CONFLICT DO NOTHING
                     RETURNING version AS written",
                    parameters(count, 0)
                ),
                count,
                &probe,
                nothing,
            ),
            update: Guarded::new(
                "updating a data key",
                &format!(
                    "UPDATE {table} SET {} WHERE {this} AND version = ${} RETURNING version AS written",
                    assignments(&key::COLUMNS),
                    count + 1
                ),
                count + 1,
                &probe,
                nothing,
            ),
            delete: Statement::new(
                "deleting a data key",
                format!("DELETE FROM {table} WHERE {this} RETURNING 1"),
            ),
            list: Statement::new(
                "listing data keys",
                format!(
                    "SELECT {columns} FROM {table} WHERE (kind, tenant, user_id) > ($1, $2, $3)
                     ORDER BY kind, tenant, user_id LIMIT $4"
                ),
            ),
        }
    }
}

#[async_trait]
impl<E: Engine> KeyStore for SqlStore<E> {
    async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>> {
        let values = key::scope_values(scope);
        let rows = self.engine.rows(Access::Read, &self.sql.keys.get, &values).await?;
        rows.first().map(key::record).transpose()
    }

    async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put> {
        let mut values = key::values(record).to_vec();
        let guarded = match condition {
            Condition::Absent => &self.sql.keys.insert,
            Condition::Version(version) => {
                values.push(version.as_i64().into());
                &self.sql.keys.update
            }
        };
        let refused = |row: &E::Row| Ok(conflict(row, condition)?.map(Put::Conflict));
        settle(&self.engine, guarded, &values, None, |_| Ok(Put::Written), refused).await
    }

    async fn delete(&self, scope: &KeyScope) -> Result<bool> {
        Ok(self.changed(&self.sql.keys.delete, &key::scope_values(scope)).await? > 0)
    }

    async fn list(&self, page: &Page) -> Result<Paged<KeyRecord>> {
        let (kind, tenant, user) = parse_cursor(after(page))?;
        let values = values![kind, tenant, user, rows_for(page)];
        let rows = self.engine.rows(Access::Read, &self.sql.keys.list, &values).await?;
        paged(&rows, page, key::record, cursor)
    }
}

/// The last row's kind, tenant and user, with NUL between: no identifier contains one.
fn cursor(row: &impl Fields) -> Result<Vec<u8>> {
    let (kind, tenant, user) = (row.int("kind")?, row.text("tenant")?, row.text("user_id")?);
    Ok(format!("{kind}\0{tenant}\0{user}").into_bytes())
}

fn parse_cursor(cursor: &[u8]) -> Result<(i64, &str, &str)> {
    if cursor.is_empty() {
        return Ok((-1, "", ""));
    }
    let parse = || {
        let (kind, rest) = str::from_utf8(cursor).ok()?.split_once('\0')?;
        let (tenant, user) = rest.split_once('\0')?;
        Some((kind.parse().ok()?, tenant, user))
    };
    parse().ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt, "not a cursor of this listing"))
}
