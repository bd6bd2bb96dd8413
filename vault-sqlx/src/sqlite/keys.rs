use async_trait::async_trait;
use sqlx::SqliteConnection;
use vault_core::store::{
    Condition, KeyRecord, KeyScope, KeyStore, Page, Paged, Put, StoreError, StoreErrorKind, Version,
};

use super::error::fault;
use super::{SqliteStore, begin, commit};
use crate::row::{self, Fields};

#[async_trait]
impl KeyStore for SqliteStore {
    async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>, StoreError> {
        let (kind, tenant, user) = row::scope_columns(scope);
        sqlx::query("SELECT * FROM vault_keys WHERE kind = $1 AND tenant = $2 AND user_id = $3")
            .bind(kind)
            .bind(tenant)
            .bind(user)
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("getting a data key"))?
            .map(|row| row::key(&row))
            .transpose()
    }

    async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put, StoreError> {
        let mut connection = self.writer().await?;
        let mut tx = begin(&mut connection).await?;
        let current = version(&mut tx, &record.scope).await?;
        if !row::holds(condition, current) {
            return Ok(Put::Conflict(current));
        }
        upsert(&mut tx, record).await?;
        commit(tx).await?;
        Ok(Put::Written)
    }

    async fn delete(&self, scope: &KeyScope) -> Result<bool, StoreError> {
        let (kind, tenant, user) = row::scope_columns(scope);
        let done = sqlx::query("DELETE FROM vault_keys WHERE kind = $1 AND tenant = $2 AND user_id = $3")
            .bind(kind)
            .bind(tenant)
            .bind(user)
            .execute(&self.writer)
            .await
            .map_err(fault("deleting a data key"))?;
        Ok(done.rows_affected() > 0)
    }

    async fn list(&self, page: &Page) -> Result<Paged<KeyRecord>, StoreError> {
        let (kind, tenant, user) = parse_cursor(row::after(page))?;
        let rows = sqlx::query(
            "SELECT * FROM vault_keys WHERE (kind, tenant, user_id) > ($1, $2, $3)
             ORDER BY kind, tenant, user_id LIMIT $4",
        )
        .bind(kind)
        .bind(tenant)
        .bind(user)
        .bind(row::rows_for(page))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("listing data keys"))?;
        row::paged(&rows, page, row::key, cursor)
    }
}

/// The last row's kind, tenant and user, with NUL between: no identifier contains one.
fn cursor(row: &impl Fields) -> Result<Vec<u8>, StoreError> {
    let (kind, tenant, user) = (row.int("kind")?, row.text("tenant")?, row.text("user_id")?);
    Ok(format!("{kind}\0{tenant}\0{user}").into_bytes())
}

fn parse_cursor(cursor: &[u8]) -> Result<(i64, &str, &str), StoreError> {
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

async fn version(tx: &mut SqliteConnection, scope: &KeyScope) -> Result<Option<Version>, StoreError> {
    let (kind, tenant, user) = row::scope_columns(scope);
    let version =
        sqlx::query_scalar("SELECT version FROM vault_keys WHERE kind = $1 AND tenant = $2 AND user_id = $3")
            .bind(kind)
            .bind(tenant)
            .bind(user)
            .fetch_optional(tx)
            .await
            .map_err(fault("getting a data key's version"))?;
    Ok(version.map(Version::from_i64))
}

async fn upsert(tx: &mut SqliteConnection, record: &KeyRecord) -> Result<(), StoreError> {
    let (kind, tenant, user) = row::scope_columns(&record.scope);
    sqlx::query(
        "INSERT INTO vault_keys (kind, tenant, user_id, version, wrapped) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (kind, tenant, user_id) DO UPDATE SET
             version = excluded.version, wrapped = excluded.wrapped",
    )
    .bind(kind)
    .bind(tenant)
    .bind(user)
    .bind(record.version.as_i64())
    .bind(record.wrapped.as_slice())
    .execute(tx)
    .await
    .map_err(fault("putting a data key"))?;
    Ok(())
}
