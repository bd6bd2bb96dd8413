use async_trait::async_trait;
use vault_core::id::{ConnectorId, TenantId};
use vault_core::store::{Condition, ConnectorRecord, ConnectorStore, NamedPut, Page, Paged, Version};

use super::{Result, after, conflict, nothing, paged, rows_for, settle};
use crate::SqlStore;
use crate::engine::{Access, Dialect, Engine, Guarded, Statement, assignments, parameters, values};
use crate::record::{Fields as _, connector};

#[derive(Debug)]
pub(super) struct Statements {
    get: Statement,
    find: Statement,
    insert: Guarded,
    update: Guarded,
    delete: Statement,
    list: Statement,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let table = dialect.table("connectors");
        let (columns, count) = (connector::COLUMNS.join(", "), connector::COLUMNS.len());
        let namesake = format!("FROM {table} WHERE tenant = $1 AND name = $3 AND id <> $2");
        let probe = format!(
            "(SELECT version FROM {table} WHERE tenant = $1 AND id = $2) AS version,
             (SELECT count(*) {namesake}) AS namesakes"
        );
        Self {
            get: Statement::new(
                "getting a connector",
                format!("SELECT {columns} FROM {table} WHERE tenant = $1 AND id = $2"),
            ),
            find: Statement::new(
                "finding a connector",
                format!("SELECT {columns} FROM {table} WHERE tenant = $1 AND name = $2"),
            ),
            insert: Guarded::new(
                "inserting a connector",
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
                "updating a connector",
                &format!(
                    "UPDATE {table} SET {} WHERE tenant = $1 AND id = $2 AND version = ${}
                         AND NOT EXISTS (SELECT 1 {namesake})
                     RETURNING version AS written",
                    assignments(&connector::COLUMNS),
                    count + 1
                ),
                count + 1,
                &probe,
                nothing,
            ),
            delete: Statement::new(
                "deleting a connector",
                format!("DELETE FROM {table} WHERE tenant = $1 AND id = $2 AND version = $3 RETURNING 1"),
            ),
            list: Statement::new(
                "listing connectors",
                format!("SELECT {columns} FROM {table} WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3"),
            ),
        }
    }
}

#[async_trait]
impl<E: Engine> ConnectorStore for SqlStore<E> {
    async fn get(&self, tenant: &TenantId, id: &ConnectorId) -> Result<Option<ConnectorRecord>> {
        let values = values![tenant.as_str(), id.as_str()];
        let rows = self.engine.rows(Access::Read, &self.sql.connectors.get, &values).await?;
        rows.first().map(connector::record).transpose()
    }

    async fn find(&self, tenant: &TenantId, name: &str) -> Result<Option<ConnectorRecord>> {
        let values = values![tenant.as_str(), name];
        let rows = self.engine.rows(Access::Read, &self.sql.connectors.find, &values).await?;
        rows.first().map(connector::record).transpose()
    }

    async fn put(&self, record: &ConnectorRecord, condition: Condition) -> Result<NamedPut> {
        let mut values = connector::values(record).to_vec();
        let guarded = match condition {
            Condition::Absent => &self.sql.connectors.insert,
            Condition::Version(version) => {
                values.push(version.as_i64().into());
                &self.sql.connectors.update
            }
        };
        let refused = |row: &E::Row| match conflict(row, condition)? {
            Some(current) => Ok(Some(NamedPut::Conflict(current))),
            None => Ok((row.int("namesakes")? > 0).then_some(NamedPut::NameTaken)),
        };
        settle(&self.engine, guarded, &values, None, |_| Ok(NamedPut::Written), refused).await
    }

    async fn delete(&self, tenant: &TenantId, id: &ConnectorId, version: Version) -> Result<bool> {
        let values = values![tenant.as_str(), id.as_str(), version.as_i64()];
        Ok(self.changed(&self.sql.connectors.delete, &values).await? > 0)
    }

    async fn list(&self, tenant: &TenantId, page: &Page) -> Result<Paged<ConnectorRecord>> {
        let after = String::from_utf8_lossy(after(page));
        let values = values![tenant.as_str(), &*after, rows_for(page)];
        let rows = self.engine.rows(Access::Read, &self.sql.connectors.list, &values).await?;
        paged(&rows, page, connector::record, |row| row.text("id").map(String::into_bytes))
    }
}
