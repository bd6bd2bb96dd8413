use sqlx::SqliteConnection;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{Page, Paged, RevocationRecord, StoreError, Version};

use super::SqliteStore;
use super::error::fault;
use crate::row::{self, Fields as _};

impl SqliteStore {
    pub(super) async fn owed_before(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<RevocationRecord>, StoreError> {
        sqlx::query("SELECT * FROM vault_owed WHERE due_at <= $1 ORDER BY due_at LIMIT $2")
            .bind(before.as_millis())
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(fault("scanning for owed revocations"))?
            .iter()
            .map(row::revocation)
            .collect()
    }

    pub(super) async fn owed_of(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>, StoreError> {
        let query = match owner {
            None => {
                sqlx::query("SELECT * FROM vault_owed WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3")
            }
            Some(_) => sqlx::query(
                "SELECT * FROM vault_owed
                 WHERE tenant = $1 AND owner_kind = $4 AND owner_id = $5 AND id > $2 ORDER BY id LIMIT $3",
            ),
        };
        let mut query = query.bind(tenant.as_str()).bind(row::after(page)).bind(row::rows_for(page));
        if let Some(owner) = owner {
            let (owner_kind, owner_id) = row::owner_columns(owner);
            query = query.bind(owner_kind).bind(owner_id);
        }
        let rows = query.fetch_all(&self.readers).await.map_err(fault("listing owed revocations"))?;
        row::paged(&rows, page, row::revocation, |row| row.bytes("id"))
    }

    pub(super) async fn rewrite_owed(
        &self,
        record: &RevocationRecord,
        version: Version,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE vault_owed SET
                 incarnation = $4, version = $5, due_at = $6, attempts = $7, created_at = $8, sealed = $9
             WHERE id = $1 AND connection = $2 AND version = $3",
        )
        .bind(record.id.as_bytes().as_slice())
        .bind(record.key.digest().as_slice())
        .bind(version.as_i64())
        .bind(record.incarnation.as_bytes().as_slice())
        .bind(record.version.as_i64())
        .bind(record.due_at.as_millis())
        .bind(i64::from(record.attempts))
        .bind(record.created_at.as_millis())
        .bind(record.sealed.as_slice())
        .execute(&self.writer)
        .await
        .map_err(fault("rewriting an owed revocation"))?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn forget_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM vault_owed WHERE id = $1 AND connection = $2")
            .bind(id.as_bytes().as_slice())
            .bind(key.digest().as_slice())
            .execute(&self.writer)
            .await
            .map_err(fault("forgetting an owed revocation"))?;
        Ok(())
    }
}

/// Stores what a write owes, in that write's transaction.
pub(super) async fn owe(
    tx: &mut SqliteConnection,
    owed: Option<&RevocationRecord>,
) -> Result<(), StoreError> {
    let Some(owed) = owed else { return Ok(()) };
    let (owner_kind, owner_id) = row::owner_columns(&owed.key.owner);
    sqlx::query(
        "INSERT OR REPLACE INTO vault_owed
             (id, connection, tenant, owner_kind, owner_id, connector, slot, incarnation, version, due_at,
              attempts, created_at, sealed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(owed.id.as_bytes().as_slice())
    .bind(owed.key.digest().as_slice())
    .bind(owed.key.tenant.as_str())
    .bind(owner_kind)
    .bind(owner_id)
    .bind(owed.key.connector.as_str())
    .bind(owed.key.slot.as_str())
    .bind(owed.incarnation.as_bytes().as_slice())
    .bind(owed.version.as_i64())
    .bind(owed.due_at.as_millis())
    .bind(i64::from(owed.attempts))
    .bind(owed.created_at.as_millis())
    .bind(owed.sealed.as_slice())
    .execute(tx)
    .await
    .map_err(fault("storing an owed revocation"))?;
    Ok(())
}
