//! Leases, on the server's clock.

use std::time::Duration;

use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey};
use vault_core::store::{Lease, LeaseAcquire, LeaseHeld};

use super::{Result, nothing, settle};
use crate::SqlStore;
use crate::engine::{Access, Dialect, Engine, Guarded, Statement, values};
use crate::record::{Fields, connection, corrupt, fixed, millis, number, time};

#[derive(Debug)]
pub(super) struct Statements {
    acquire: Guarded,
    renew: Statement,
    release: Statement,
    look: Statement,
    clock: Statement,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let (table, now) = (dialect.table("connections"), dialect.now);
        let columns = connection::COLUMNS.join(", ");
        Self {
            acquire: Guarded::new(
                "acquiring a lease",
                &format!(
                    "UPDATE {table}
                     SET lease_holder = $2, lease_fence = lease_fence + 1, lease_until = {now} + $3
                     WHERE id = $1 AND (lease_holder IS NULL OR lease_holder = $2 OR lease_until <= {now})
                     RETURNING {columns}, lease_fence AS written, lease_until - $3 AS granted_at"
                ),
                3,
                &format!("(SELECT coalesce(lease_until, 0) - {now} FROM {table} WHERE id = $1) AS remaining"),
                nothing,
            ),
            renew: Statement::new(
                "renewing a lease",
                format!(
                    "UPDATE {table} SET lease_until = {now} + $4
                     WHERE id = $1 AND lease_holder = $2 AND lease_fence = $3 AND lease_until > {now}
                     RETURNING 1"
                ),
            ),
            release: Statement::new(
                "releasing a lease",
                format!(
                    "UPDATE {table} SET lease_holder = NULL, lease_until = NULL
                     WHERE id = $1 AND lease_holder = $2 AND lease_fence = $3
                     RETURNING 1"
                ),
            ),
            look: Statement::new(
                "looking at a lease",
                format!(
                    "SELECT lease_holder, lease_fence, lease_until - {now} AS remaining FROM {table}
                     WHERE id = $1 AND lease_until > {now}"
                ),
            ),
            clock: Statement::new("reading the clock", format!("SELECT {now} AS now")),
        }
    }
}

impl<E: Engine> SqlStore<E> {
    pub(super) async fn acquire(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire> {
        let id = key.digest();
        let values = values![&id, holder.as_bytes(), millis(ttl)];
        settle(&self.engine, &self.sql.leases.acquire, &values, None, acquired, held).await
    }

    pub(super) async fn renew(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool> {
        let id = key.digest();
        let values = values![&id, holder.as_bytes(), fence_column(fence), millis(ttl)];
        Ok(self.changed(&self.sql.leases.renew, &values).await? > 0)
    }

    pub(super) async fn release(&self, key: &ConnectionKey, holder: AttemptId, fence: u64) -> Result<()> {
        let id = key.digest();
        let values = values![&id, holder.as_bytes(), fence_column(fence)];
        self.changed(&self.sql.leases.release, &values).await.map(drop)
    }

    pub(super) async fn holder(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>> {
        let id = key.digest();
        let rows = self.engine.rows(Access::Read, &self.sql.leases.look, &values![&id]).await?;
        rows.first().map(looked).transpose()
    }

    pub(super) async fn clock(&self) -> Result<Timestamp> {
        let rows = self.engine.rows(Access::Read, &self.sql.leases.clock, &[]).await?;
        time(rows.first().ok_or(corrupt("a clock without a time"))?, "now")
    }
}

fn acquired(row: &impl Fields) -> Result<LeaseAcquire> {
    let lease = Lease { fence: row.int("written")?.unsigned_abs(), granted_at: time(row, "granted_at")? };
    Ok(LeaseAcquire::Acquired(lease, Box::new(connection::record(row)?)))
}

fn held(row: &impl Fields) -> Result<Option<LeaseAcquire>> {
    Ok(match row.maybe_int("remaining")? {
        None => Some(LeaseAcquire::Absent),
        Some(remaining @ 1..) => {
            Some(LeaseAcquire::Held { remaining: Duration::from_millis(remaining.unsigned_abs()) })
        }
        // It is free by now.
        Some(_) => None,
    })
}

fn looked(row: &impl Fields) -> Result<LeaseHeld> {
    Ok(LeaseHeld {
        holder: AttemptId::from_bytes(fixed(row, "lease_holder")?),
        fence: number(row, "lease_fence")?,
        // Where the clock passes the lease's end within the statement, it has lapsed as good as now.
        remaining: Duration::from_millis(row.int("remaining")?.try_into().unwrap_or(0)),
    })
}

/// A fence that no database could have given out matches none.
pub(super) fn fence_column(fence: u64) -> i64 {
    i64::try_from(fence).unwrap_or(-1)
}
