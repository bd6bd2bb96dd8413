//! What is in the database, where it is SQLite's.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};

use super::World;

impl World {
    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.database.clone().expect("a world on SQLite, by default")
    }

    async fn database_connection(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.database());
        options.busy_timeout(Duration::from_secs(30)).connect().await.expect("the database opens")
    }

    /// Does to the database what somebody with access to it could; answers how many rows it changed.
    pub async fn sql(&self, statement: impl Into<String>) -> u64 {
        let mut connection = self.database_connection().await;
        let done = sqlx::query(AssertSqlSafe(statement.into())).execute(&mut connection).await;
        done.expect("good SQL").rows_affected()
    }

    /// What a query finds, as bytes.
    pub async fn cell(&self, query: impl Into<String>) -> Vec<u8> {
        let mut connection = self.database_connection().await;
        let cell = sqlx::query_scalar(AssertSqlSafe(query.into())).fetch_one(&mut connection).await;
        cell.expect("good SQL and a row")
    }

    /// How many rows a table has.
    pub async fn rows(&self, table: &str) -> i64 {
        let mut connection = self.database_connection().await;
        let query = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("good SQL")
    }

    /// One sealed column of a user's connection.
    pub async fn blob(&self, user: &str, column: &str) -> Vec<u8> {
        self.cell(format!("SELECT {column} FROM vault_connections WHERE owner_id = '{user}'")).await
    }

    /// The same of the connection of that id.
    pub async fn blob_of(&self, id: &[u8], column: &str) -> Vec<u8> {
        self.cell(format!("SELECT {column} FROM vault_connections WHERE id = x'{}'", hex(id))).await
    }

    /// Overwrites one.
    pub async fn set_blob(&self, user: &str, column: &str, bytes: &[u8]) {
        let hex = hex(bytes);
        let changed = self
            .sql(format!("UPDATE vault_connections SET {column} = x'{hex}' WHERE owner_id = '{user}'"))
            .await;
        assert_eq!(changed, 1, "{user} has one connection");
    }

    /// Ends every refresh lease, as time would: the database's clock is the machine's, which no test moves.
    pub async fn lapse_leases(&self) {
        self.sql("UPDATE vault_connections SET lease_until = 0 WHERE lease_until IS NOT NULL").await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
