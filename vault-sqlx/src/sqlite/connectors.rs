use async_trait::async_trait;
use sqlx::SqliteConnection;
use vault_core::id::{ConnectorId, TenantId};
use vault_core::store::{
    Condition, ConnectorRecord, ConnectorStore, NamedPut, Page, Paged, StoreError, Version,
};

use super::error::fault;
use super::{SqliteStore, begin, commit};
use crate::row::{self, Fields as _};

#[async_trait]
impl ConnectorStore for SqliteStore {
    async fn get(&self, tenant: &TenantId, id: &ConnectorId) -> Result<Option<ConnectorRecord>, StoreError> {
        sqlx::query("SELECT * FROM vault_connectors WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("getting a connector"))?
            .map(|row| row::connector(&row))
            .transpose()
    }

    async fn find(&self, tenant: &TenantId, name: &str) -> Result<Option<ConnectorRecord>, StoreError> {
        sqlx::query("SELECT * FROM vault_connectors WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("finding a connector"))?
            .map(|row| row::connector(&row))
            .transpose()
    }

    async fn put(&self, record: &ConnectorRecord, condition: Condition) -> Result<NamedPut, StoreError> {
        let mut connection = self.writer().await?;
        let mut tx = begin(&mut connection).await?;
        let current = version(&mut tx, record).await?;
        if !row::holds(condition, current) {
            return Ok(NamedPut::Conflict(current));
        }
        if is_name_taken(&mut tx, record).await? {
            return Ok(NamedPut::NameTaken);
        }
        upsert(&mut tx, record).await?;
        commit(tx).await?;
        Ok(NamedPut::Written)
    }

    async fn delete(
        &self,
        tenant: &TenantId,
        id: &ConnectorId,
        version: Version,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM vault_connectors WHERE tenant = $1 AND id = $2 AND version = $3")
            .bind(tenant.as_str())
            .bind(id.as_str())
            .bind(version.as_i64())
            .execute(&self.writer)
            .await
            .map_err(fault("deleting a connector"))?;
        Ok(done.rows_affected() > 0)
    }

    async fn list(&self, tenant: &TenantId, page: &Page) -> Result<Paged<ConnectorRecord>, StoreError> {
        let after = String::from_utf8_lossy(row::after(page));
        let rows =
            sqlx::query("SELECT * FROM vault_connectors WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3")
                .bind(tenant.as_str())
                .bind(&*after)
                .bind(row::rows_for(page))
                .fetch_all(&self.readers)
                .await
                .map_err(fault("listing connectors"))?;
        row::paged(&rows, page, row::connector, |row| row.text("id").map(String::into_bytes))
    }
}

async fn version(tx: &mut SqliteConnection, record: &ConnectorRecord) -> Result<Option<Version>, StoreError> {
    let version = sqlx::query_scalar("SELECT version FROM vault_connectors WHERE tenant = $1 AND id = $2")
        .bind(record.tenant.as_str())
        .bind(record.id.as_str())
        .fetch_optional(tx)
        .await
        .map_err(fault("getting a connector's version"))?;
    Ok(version.map(Version::from_i64))
}

async fn is_name_taken(tx: &mut SqliteConnection, record: &ConnectorRecord) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM vault_connectors WHERE tenant = $1 AND name = $2 AND id <> $3)",
    )
    .bind(record.tenant.as_str())
    .bind(record.name.as_str())
    .bind(record.id.as_str())
    .fetch_one(tx)
    .await
    .map_err(fault("looking for a connector's name"))
}

async fn upsert(tx: &mut SqliteConnection, record: &ConnectorRecord) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO vault_connectors (tenant, id, name, version, created_at, updated_at, sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant, id) DO UPDATE SET
             name = excluded.name, version = excluded.version, created_at = excluded.created_at,
             updated_at = excluded.updated_at, sealed = excluded.sealed",
    )
    .bind(record.tenant.as_str())
    .bind(record.id.as_str())
    .bind(record.name.as_str())
    .bind(record.version.as_i64())
    .bind(record.created_at.as_millis())
    .bind(record.updated_at.as_millis())
    .bind(record.sealed.as_slice())
    .execute(tx)
    .await
    .map_err(fault("putting a connector"))?;
    Ok(())
}
