use async_trait::async_trait;
use sqlx::SqliteConnection;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore, StoreError};

use super::error::fault;
use super::{SqliteStore, begin, commit};
use crate::row;

#[async_trait]
impl FlowStore for SqliteStore {
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert, StoreError> {
        let mut connection = self.writer().await?;
        let mut tx = begin(&mut connection).await?;
        if exists(&mut tx, &record.state_hash).await? {
            return Ok(FlowInsert::Exists);
        }
        if pending(&mut tx, record, now).await? >= i64::from(cap) {
            return Ok(FlowInsert::TooMany);
        }
        insert(&mut tx, record).await?;
        commit(tx).await?;
        Ok(FlowInsert::Inserted)
    }

    async fn take(&self, state_hash: &[u8; 32]) -> Result<Option<FlowRecord>, StoreError> {
        // Not `fetch_optional`: it answers with the row before the delete is committed, and drops the commit's error.
        sqlx::query("DELETE FROM vault_flows WHERE state_hash = $1 RETURNING *")
            .bind(state_hash.as_slice())
            .fetch_all(&self.writer)
            .await
            .map_err(fault("taking a flow"))?
            .first()
            .map(row::flow)
            .transpose()
    }

    async fn cancel(
        &self,
        tenant: &TenantId,
        owner: &Owner,
        connector: Option<&ConnectorId>,
    ) -> Result<u64, StoreError> {
        let (owner_kind, owner_id) = row::owner_columns(owner);
        let done = sqlx::query(
            "DELETE FROM vault_flows WHERE tenant = $1 AND owner_kind = $2 AND owner_id = $3
             AND ($4 IS NULL OR connector = $4)",
        )
        .bind(tenant.as_str())
        .bind(owner_kind)
        .bind(owner_id)
        .bind(connector.map(ConnectorId::as_str))
        .execute(&self.writer)
        .await
        .map_err(fault("cancelling flows"))?;
        Ok(done.rows_affected())
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM vault_flows WHERE rowid IN
                 (SELECT rowid FROM vault_flows WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
        )
        .bind(now.as_millis())
        .bind(i64::from(limit))
        .execute(&self.writer)
        .await
        .map_err(fault("purging expired flows"))?;
        Ok(done.rows_affected())
    }
}

async fn exists(tx: &mut SqliteConnection, state_hash: &[u8; 32]) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM vault_flows WHERE state_hash = $1)")
        .bind(state_hash.as_slice())
        .fetch_one(tx)
        .await
        .map_err(fault("looking for a flow"))
}

/// How many unexpired flows the record's owner has.
async fn pending(tx: &mut SqliteConnection, record: &FlowRecord, now: Timestamp) -> Result<i64, StoreError> {
    let (owner_kind, owner_id) = row::owner_columns(&record.owner);
    sqlx::query_scalar(
        "SELECT count(*) FROM vault_flows
         WHERE tenant = $1 AND owner_kind = $2 AND owner_id = $3 AND expires_at > $4",
    )
    .bind(record.tenant.as_str())
    .bind(owner_kind)
    .bind(owner_id)
    .bind(now.as_millis())
    .fetch_one(tx)
    .await
    .map_err(fault("counting pending flows"))
}

async fn insert(tx: &mut SqliteConnection, record: &FlowRecord) -> Result<(), StoreError> {
    let (owner_kind, owner_id) = row::owner_columns(&record.owner);
    sqlx::query(
        "INSERT INTO vault_flows
             (state_hash, tenant, owner_kind, owner_id, connector, slot, created_at, expires_at, sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(record.state_hash.as_slice())
    .bind(record.tenant.as_str())
    .bind(owner_kind)
    .bind(owner_id)
    .bind(record.connector.as_str())
    .bind(record.slot.as_str())
    .bind(record.created_at.as_millis())
    .bind(record.expires_at.as_millis())
    .bind(record.sealed.as_slice())
    .execute(tx)
    .await
    .map_err(fault("inserting a flow"))?;
    Ok(())
}
