use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;
use vault_core::Stores;
use vault_sqlx::SqliteStore;

use super::{Backend, LEDGER, searchable};

/// A database in a folder of its own.
#[derive(Debug)]
pub struct SqliteFile {
    folder: TempDir,
}

impl SqliteFile {
    /// In a new folder.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The database.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("vault.db")
    }

    async fn connection(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path());
        options.busy_timeout(Duration::from_secs(30)).connect().await.expect("the database opens")
    }
}

impl Default for SqliteFile {
    fn default() -> Self {
        Self::new()
    }
}

async fn tables(connection: &mut SqliteConnection) -> Vec<String> {
    let tables = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'");
    tables.fetch_all(connection).await.expect("the database answers")
}

#[async_trait]
impl Backend for SqliteFile {
    async fn open(&self) -> Stores {
        Stores::from_backend(SqliteStore::open(self.path()).await.expect("the database opens"))
    }

    async fn dump(&self) -> String {
        let files = ["vault.db", "vault.db-wal", "vault.db-shm"].map(|name| self.folder.path().join(name));
        searchable(files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default()))
    }

    async fn sizes(&self) -> BTreeMap<String, u64> {
        let mut connection = self.connection().await;
        let mut sizes = BTreeMap::new();
        for table in tables(&mut connection).await {
            let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await.expect("good SQL");
            sizes.insert(table, rows.unsigned_abs());
        }
        sizes.retain(|_, rows| *rows > 0);
        sizes
    }

    async fn bytes(&self) -> Option<u64> {
        let size = "SELECT (page_count - freelist_count) * page_size
                    FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let size: i64 =
            sqlx::query_scalar(size).fetch_one(&mut self.connection().await).await.expect("good SQL");
        Some(size.unsigned_abs())
    }

    async fn empty(&self) {
        let mut connection = self.connection().await;
        for table in tables(&mut connection).await.iter().filter(|table| *table != LEDGER) {
            let delete = AssertSqlSafe(format!("DELETE FROM {table}"));
            sqlx::raw_sql(delete).execute(&mut connection).await.expect("good SQL");
        }
    }
}
