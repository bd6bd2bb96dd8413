use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, ConnectorId, Owner, RevocationId, TenantId};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, LeaseAcquire, ListedConnection, Page,
    Paged, Put, RevocationRecord, StoreError, Version,
};

use super::error::fault;
use super::leases::now;
use super::owed::owe;
use super::{SqliteStore, begin, commit};
use crate::row::{self, Fields as _};

#[async_trait]
impl ConnectionStore for SqliteStore {
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query_scalar("SELECT credential FROM vault_connections WHERE id = $1")
            .bind(key.digest().as_slice())
            .fetch_optional(&self.readers)
            .await
            .map_err(fault("reading a credential"))
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>, StoreError> {
        sqlx::query(
            "SELECT tenant, owner_kind, owner_id, connector, slot, version, incarnation, generation, status,
                 due_at, expires_at, created_at, updated_at, refresh, summary, credential
             FROM vault_connections WHERE id = $1",
        )
        .bind(key.digest().as_slice())
        .fetch_optional(&self.readers)
        .await
        .map_err(fault("getting a connection"))?
        .map(|row| row::connection(&row))
        .transpose()
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put, StoreError> {
        let mut connection = self.writer().await?;
        let mut tx = begin(&mut connection).await?;
        let current = version(&mut tx, &record.key).await?;
        if !row::holds(condition, current) {
            return Ok(Put::Conflict(current));
        }
        upsert(&mut tx, record).await?;
        owe(&mut tx, owed).await?;
        commit(tx).await?;
        Ok(Put::Written)
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        wanted: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put, StoreError> {
        let mut connection = self.writer().await?;
        let mut tx = begin(&mut connection).await?;
        let current = version(&mut tx, key).await?;
        if current != Some(wanted) {
            return Ok(Put::Conflict(current));
        }
        sqlx::query("DELETE FROM vault_connections WHERE id = $1")
            .bind(key.digest().as_slice())
            .execute(&mut *tx)
            .await
            .map_err(fault("deleting a connection"))?;
        owe(&mut tx, owed).await?;
        commit(tx).await?;
        Ok(Put::Written)
    }

    async fn list(
        &self,
        filter: &ConnectionFilter,
        page: &Page,
    ) -> Result<Paged<ListedConnection>, StoreError> {
        let owner = filter.owner.as_ref().map(row::owner_columns);
        let rows = sqlx::query(listing(filter))
            .bind(filter.tenant.as_str())
            .bind(row::after(page))
            .bind(row::rows_for(page))
            .bind(owner.map(|(kind, _)| kind))
            .bind(owner.map(|(_, id)| id))
            .bind(filter.connector.as_ref().map(ConnectorId::as_str))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("listing connections"))?;
        row::paged(&rows, page, row::listed_connection, |row| row.bytes("id"))
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>, StoreError> {
        sqlx::query(concat!(
            "SELECT tenant, owner_kind, owner_id, connector, slot FROM vault_connections
             WHERE status = 0 AND due_at <= $1 AND (lease_until IS NULL OR lease_until <= ",
            now!(),
            ")
             ORDER BY due_at LIMIT $2"
        ))
        .bind(before.as_millis())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(fault("scanning for due connections"))?
        .iter()
        .map(row::connection_key)
        .collect()
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire, StoreError> {
        self.acquire(key, holder, ttl).await
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.renew(key, holder, fence, ttl).await
    }

    async fn release_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
    ) -> Result<(), StoreError> {
        self.release(key, holder, fence).await
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>, StoreError> {
        self.owed_before(before, limit).await
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>, StoreError> {
        self.owed_of(tenant, owner, page).await
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool, StoreError> {
        self.rewrite_owed(record, version).await
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<(), StoreError> {
        self.forget_owed(key, id).await
    }
}

/// A statement for each combination of filters, so that each finds its index.
fn listing(filter: &ConnectionFilter) -> &'static str {
    macro_rules! listing {
        ($narrowed:literal) => {
            concat!(
                "SELECT id, tenant, owner_kind, owner_id, connector, slot, incarnation, generation, status,
                     expires_at, created_at, updated_at, summary
                 FROM vault_connections WHERE tenant = $1 AND id > $2 ",
                $narrowed,
                " ORDER BY id LIMIT $3"
            )
        };
    }
    match (&filter.owner, &filter.connector) {
        (None, None) => listing!(""),
        (None, Some(_)) => listing!("AND connector = $6"),
        (Some(_), None) => listing!("AND owner_kind = $4 AND owner_id = $5"),
        (Some(_), Some(_)) => listing!("AND owner_kind = $4 AND owner_id = $5 AND connector = $6"),
    }
}

async fn version(tx: &mut SqliteConnection, key: &ConnectionKey) -> Result<Option<Version>, StoreError> {
    let version = sqlx::query_scalar("SELECT version FROM vault_connections WHERE id = $1")
        .bind(key.digest().as_slice())
        .fetch_optional(tx)
        .await
        .map_err(fault("getting a connection's version"))?;
    Ok(version.map(Version::from_i64))
}

/// Writes every column but the lease's.
async fn upsert(tx: &mut SqliteConnection, record: &ConnectionRecord) -> Result<(), StoreError> {
    let (owner_kind, owner_id) = row::owner_columns(&record.key.owner);
    sqlx::query(
        "INSERT INTO vault_connections
             (id, tenant, owner_kind, owner_id, connector, slot, version, incarnation, generation, status,
              due_at, expires_at, created_at, updated_at, refresh, summary, credential)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (id) DO UPDATE SET
             version = excluded.version, incarnation = excluded.incarnation,
             generation = excluded.generation, status = excluded.status, due_at = excluded.due_at,
             expires_at = excluded.expires_at, created_at = excluded.created_at,
             updated_at = excluded.updated_at, refresh = excluded.refresh, summary = excluded.summary,
             credential = excluded.credential",
    )
    .bind(record.key.digest().as_slice())
    .bind(record.key.tenant.as_str())
    .bind(owner_kind)
    .bind(owner_id)
    .bind(record.key.connector.as_str())
    .bind(record.key.slot.as_str())
    .bind(record.version.as_i64())
    .bind(record.incarnation.as_bytes().as_slice())
    .bind(row::generation_column(record.generation)?)
    .bind(i64::from(record.status.code()))
    .bind(record.due_at.map(Timestamp::as_millis))
    .bind(record.expires_at.map(Timestamp::as_millis))
    .bind(record.created_at.as_millis())
    .bind(record.updated_at.as_millis())
    .bind(record.refresh.as_slice())
    .bind(record.summary.as_slice())
    .bind(record.credential.as_slice())
    .execute(tx)
    .await
    .map_err(fault("putting a connection"))?;
    Ok(())
}
