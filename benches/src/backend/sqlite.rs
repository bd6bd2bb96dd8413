//! Floors: one keyed select of the same column, on a held connection and through a pool with the store's settings.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqliteConnection, SqliteExecutor, SqlitePool};
use tempfile::TempDir;
use tokio::sync::Mutex;
use vault_core::store::{ConnectionRecord, Stores};
use vault_sqlx::SqliteStore;

use super::sql::{COLUMNS, Row};
use crate::operation::{Operation, pick};
use crate::setup::{Loader, Setup, Size};

/// A database file, which goes with this value, and a vault on it.
pub struct Sqlite {
    pub setup: Setup,
    pub pool: SqlitePool,
    folder: TempDir,
}

impl Sqlite {
    pub async fn seed(size: Size) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vault.db");
        let store = SqliteStore::open(&path).await.expect("the database opens");
        let pool = pool(&path);
        let setup = Setup::seed(Stores::from_backend(store), &BulkInsert(pool.clone()), size).await;
        // All of it is on the disk before reads are timed, not meanwhile.
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&pool).await;
        checkpoint.expect("nobody writes");
        Self { setup, pool, folder }
    }

    pub async fn held(&self) -> Held {
        let connection = self.pool.acquire().await.expect("the database opens").detach();
        Held { connection: Mutex::new(connection), ids: self.ids() }
    }

    /// A path for another program's database, beside this one. No file is there yet.
    pub fn another_file(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("peer{}.db", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.folder.path().join(name).display().to_string()
    }

    pub fn pooled(&self) -> Pooled {
        Pooled { pool: self.pool.clone(), ids: self.ids() }
    }

    fn ids(&self) -> Arc<[[u8; 32]]> {
        (0..self.setup.users.len()).map(|n| self.setup.key(n).digest()).collect()
    }
}

fn pool(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .synchronous(SqliteSynchronous::Full);
    SqlitePoolOptions::new()
        .max_connections(4)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options)
}

async fn select<'c>(id: &[u8; 32], on: impl SqliteExecutor<'c>) {
    let select = sqlx::query_scalar("SELECT credential FROM vault_connections WHERE id = $1");
    let credential: Vec<u8> = select.bind(&id[..]).fetch_one(on).await.expect("the row is there");
    black_box(credential);
}

pub struct Held {
    connection: Mutex<SqliteConnection>,
    ids: Arc<[[u8; 32]]>,
}

impl Operation for Held {
    async fn run(&self, n: u64) {
        let mut connection = self.connection.lock().await;
        select(&self.ids[pick(n, self.ids.len())], &mut *connection).await;
    }
}

pub struct Pooled {
    pool: SqlitePool,
    ids: Arc<[[u8; 32]]>,
}

impl Operation for Pooled {
    async fn run(&self, n: u64) {
        select(&self.ids[pick(n, self.ids.len())], &self.pool).await;
    }
}

struct BulkInsert(SqlitePool);

#[async_trait]
impl Loader for BulkInsert {
    async fn load(&self, records: Vec<ConnectionRecord>) {
        let insert = format!(
            "INSERT INTO vault_connections ({COLUMNS}) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        );
        let insert: Arc<str> = insert.into();
        let mut transaction = self.0.begin().await.expect("a transaction");
        for record in &records {
            let row = Row::of(record);
            let insert = sqlx::query(sqlx::AssertSqlSafe(Arc::clone(&insert)))
                .bind(&row.id[..])
                .bind(record.key.tenant.as_str())
                .bind(row.owner_kind)
                .bind(row.owner_id)
                .bind(record.key.connector.as_str())
                .bind(record.key.slot.as_str())
                .bind(record.version.as_i64())
                .bind(&record.incarnation.as_bytes()[..])
                .bind(row.generation)
                .bind(i64::from(record.status.code()))
                .bind(row.due_at)
                .bind(row.expires_at)
                .bind(record.created_at.as_millis())
                .bind(record.updated_at.as_millis())
                .bind(&record.refresh[..])
                .bind(&record.summary[..])
                .bind(&record.credential[..]);
            insert.execute(&mut *transaction).await.expect("a valid row");
        }
        transaction.commit().await.expect("it commits");
    }
}
