//! The schema and its ledger.

use sqlx::{Connection as _, SqliteConnection};
use vault_core::store::{StoreError, StoreErrorKind};

use super::SqliteStore;
use super::engine::IMMEDIATE;
use super::error::fault;

/// Each takes the schema one version up, and says so in the ledger itself: hosts who migrate by hand run these files.
const STEPS: [&str; 2] = [
    include_str!("../../schema/sqlite/0001_init.sql"),
    include_str!("../../schema/sqlite/0002_flow_places.sql"),
];

impl SqliteStore {
    /// Brings the schema up to date. Does nothing when it is. Several processes may call it at once: one does the work,
    /// the others wait for it.
    ///
    /// # Errors
    /// [`StoreErrorKind::SchemaTooNew`] when a newer version of this crate has been here; the schema is left as it is.
    /// [`StoreErrorKind::Busy`] when another process holds the database for longer than the busy timeout.
    ///
    /// # Cancel safety
    /// Dropped, it has done everything or nothing.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let doing = fault("migrating the schema");
        let mut connection = self.engine.writer().await?;
        migrate(&mut connection).await.map_err(doing)?
    }
}

async fn migrate(connection: &mut SqliteConnection) -> Result<Result<(), StoreError>, sqlx::Error> {
    let mut tx = connection.begin_with(IMMEDIATE).await?;
    let version = version(&mut tx).await?;
    let Some(missing) = usize::try_from(version).ok().and_then(|version| STEPS.get(version..)) else {
        let message = "the database was written by a newer version of vault-sqlx";
        return Ok(Err(StoreError::new(StoreErrorKind::SchemaTooNew, message)));
    };
    for step in missing {
        sqlx::raw_sql(*step).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Ok(()))
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let ledger = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'vault_schema'";
    if sqlx::query_scalar::<_, i64>(ledger).fetch_one(&mut *connection).await? == 0 {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM vault_schema").fetch_one(connection).await
}
