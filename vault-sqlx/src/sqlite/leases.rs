//! Leases, each call one statement on SQLite's clock.

use std::time::Duration;

use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey};
use vault_core::store::{Lease, LeaseAcquire, StoreError};

use super::SqliteStore;
use super::error::fault;
use crate::row::{self, Fields as _};

/// SQLite's clock in Unix milliseconds; one reading per statement.
macro_rules! now {
    () => {
        "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
    };
}
pub(super) use now;

impl SqliteStore {
    pub(super) async fn acquire(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire, StoreError> {
        loop {
            if let Some(lease) = self.take_free_lease(key, holder, ttl).await? {
                return Ok(LeaseAcquire::Acquired(lease));
            }
            match self.lease_remaining(key).await? {
                None => return Ok(LeaseAcquire::Absent),
                Some(remaining) if !remaining.is_zero() => return Ok(LeaseAcquire::Held { remaining }),
                // It became free between the two statements.
                Some(_) => {}
            }
        }
    }

    async fn take_free_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        // Not `fetch_optional`: it answers with the row before the update is committed, and drops the commit's error.
        let rows = sqlx::query(concat!(
            "UPDATE vault_connections
             SET lease_holder = $2, lease_fence = lease_fence + 1, lease_until = ",
            now!(),
            " + $3
             WHERE id = $1 AND (lease_holder IS NULL OR lease_holder = $2 OR lease_until <= ",
            now!(),
            ")
             RETURNING lease_fence, lease_until - $3 AS granted_at"
        ))
        .bind(key.digest().as_slice())
        .bind(holder.as_bytes().as_slice())
        .bind(row::millis(ttl))
        .fetch_all(&self.writer)
        .await
        .map_err(fault("acquiring a lease"))?;
        rows.first()
            .map(|row| {
                Ok(Lease {
                    fence: row.int("lease_fence")?.unsigned_abs(),
                    granted_at: Timestamp::from_millis(row.int("granted_at")?),
                })
            })
            .transpose()
    }

    /// How long the lease is still held; zero when it is free, `None` when there is no such connection.
    async fn lease_remaining(&self, key: &ConnectionKey) -> Result<Option<Duration>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT max(coalesce(lease_until - ",
            now!(),
            ", 0), 0) AS remaining
             FROM vault_connections WHERE id = $1"
        ))
        .bind(key.digest().as_slice())
        .fetch_optional(&self.readers)
        .await
        .map_err(fault("looking at a lease"))?;
        row.map(|row| row.int("remaining").map(|millis| Duration::from_millis(millis.unsigned_abs())))
            .transpose()
    }

    pub(super) async fn renew(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(concat!(
            "UPDATE vault_connections SET lease_until = ",
            now!(),
            " + $4
             WHERE id = $1 AND lease_holder = $2 AND lease_fence = $3 AND lease_until > ",
            now!()
        ))
        .bind(key.digest().as_slice())
        .bind(holder.as_bytes().as_slice())
        .bind(fence_column(fence))
        .bind(row::millis(ttl))
        .execute(&self.writer)
        .await
        .map_err(fault("renewing a lease"))?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn release(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE vault_connections SET lease_holder = NULL, lease_until = NULL
             WHERE id = $1 AND lease_holder = $2 AND lease_fence = $3",
        )
        .bind(key.digest().as_slice())
        .bind(holder.as_bytes().as_slice())
        .bind(fence_column(fence))
        .execute(&self.writer)
        .await
        .map_err(fault("releasing a lease"))?;
        Ok(())
    }
}

/// A fence that no database could have given out matches none.
fn fence_column(fence: u64) -> i64 {
    i64::try_from(fence).unwrap_or(-1)
}
