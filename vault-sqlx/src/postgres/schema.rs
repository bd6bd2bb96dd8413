//! The schema and its ledger.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};
use vault_core::store::{StoreError, StoreErrorKind};

use super::error::fault;
use super::{PostgresOptions, PostgresStore};

/// Each takes the schema one version up, and says so in the ledger itself: hosts who migrate by hand run these files.
const STEPS: [&str; 4] = [
    include_str!("../../schema/postgres/0001_init.sql"),
    include_str!("../../schema/postgres/0002_changes.sql"),
    include_str!("../../schema/postgres/0003_inline.sql"),
    include_str!("../../schema/postgres/0004_partitions.sql"),
];

/// Sees what others committed while it waited for the lock, whatever the default is.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

const NOT_UTF8: &str = "SELECT count(*) FROM pg_database WHERE datname = current_database() AND pg_encoding_to_char(encoding) <> 'UTF8'";

impl PostgresStore {
    /// Brings the schema up to date. Does nothing when it is. Several processes may call it at once: one does the work,
    /// the others wait for it.
    ///
    /// It needs the right to create tables, a schema if [`PostgresOptions::schema`] names one that is not there, and the
    /// tables of an earlier version for its own.
    ///
    /// # Errors
    /// [`StoreErrorKind::SchemaTooNew`] when a newer version of this crate has been here; the schema is left as it is.
    /// [`StoreErrorKind::Misconfigured`] when the database's encoding is not UTF8, or its user may not create tables.
    /// [`StoreErrorKind::Busy`] when another process migrates, or vacuums or changes a table, for longer than
    /// `statement_timeout` or `lock_timeout`; where neither is set, it waits.
    ///
    /// # Cancel safety
    /// Dropped, it has done everything or nothing.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let migrated = match self.engine.hosts.primary().await {
            Ok(pool) => migrate(pool, &self.engine.options).await.map_err(fault("migrating the schema")),
            Err(error) => Err(error),
        };
        self.engine.hosts.observe(migrated.as_ref().err());
        migrated?
    }
}

/// By simple queries, which a pooler does not mind.
async fn migrate(pool: &PgPool, options: &PostgresOptions) -> sqlx::Result<Result<(), StoreError>> {
    let mut connection = pool.acquire().await?;
    let mut tx = connection.begin_with(BEGIN).await?;
    enter_schema(&mut tx, options).await?;
    if number(&mut tx, NOT_UTF8.to_owned()).await? > 0 {
        let message = "the encoding of the database is not UTF8, and identifiers may be any text";
        return Ok(Err(StoreError::new(StoreErrorKind::Misconfigured, message)));
    }
    let version = version(&mut tx, &options.prefix).await?;
    let Some(missing) = usize::try_from(version).ok().and_then(|version| STEPS.get(version..)) else {
        let message = "the database was written by a newer version of vault-sqlx";
        return Ok(Err(StoreError::new(StoreErrorKind::SchemaTooNew, message)));
    };
    for step in missing {
        run(&mut tx, step.replace("vault_", &options.prefix)).await?;
    }
    tx.commit().await?;
    Ok(Ok(()))
}

/// Takes the lock that keeps other migrations of the same tables out, and goes where they are.
async fn enter_schema(tx: &mut PgConnection, options: &PostgresOptions) -> sqlx::Result<()> {
    let schema = options.schema.as_deref();
    let lock = format!("vault-sqlx migrates {}.{}", schema.unwrap_or_default(), options.prefix);
    run(tx, format!("SELECT pg_advisory_xact_lock(hashtextextended('{lock}', 0))")).await?;
    if let Some(schema) = schema {
        let there = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'");
        if number(tx, there).await? == 0 {
            run(tx, format!("CREATE SCHEMA \"{schema}\"")).await?;
        }
        run(tx, format!("SET LOCAL search_path TO \"{schema}\"")).await?;
    }
    Ok(())
}

async fn version(tx: &mut PgConnection, prefix: &str) -> sqlx::Result<i64> {
    let ledger = format!("SELECT count(to_regclass('{prefix}schema'))");
    if number(tx, ledger).await? == 0 {
        return Ok(0);
    }
    number(tx, format!("SELECT coalesce(max(version), 0) FROM {prefix}schema")).await
}

async fn run(tx: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    // Nothing but our own text and plain names.
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await.map(drop)
}

async fn number(tx: &mut PgConnection, sql: String) -> sqlx::Result<i64> {
    let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(tx).await?;
    rows.pop().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}
