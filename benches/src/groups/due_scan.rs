//! What a pass of maintenance asks first: which connections are due.

use std::hint::black_box;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::Mutex;

use crate::backend::postgres::Postgres;
use crate::backend::sqlite::Sqlite;
use crate::operation::Operation;
use crate::setup::{DUE, Setup};

pub(super) struct DueScan(pub(super) Setup);

impl Operation for DueScan {
    async fn run(&self, _: u64) {
        let Setup { stores, record, .. } = &self.0;
        let due = stores.connections.due(record.created_at, DUE as u32).await.expect("the store is up");
        assert_eq!(due.len(), DUE);
    }
}

/// Floor: the same rows by the same index, on a held connection.
pub(super) struct DueSelect {
    sql: Arc<str>,
    before: i64,
    connection: Connection,
}

enum Connection {
    Postgres(Mutex<PgConnection>),
    Sqlite(Mutex<SqliteConnection>),
}

impl DueSelect {
    pub(super) async fn on_postgres(postgres: &Postgres) -> Self {
        let connection = PgConnection::connect(&postgres.url).await.expect("the server is up");
        Self::new(&postgres.table, &postgres.setup, Connection::Postgres(Mutex::new(connection)))
    }

    pub(super) async fn on_sqlite(sqlite: &Sqlite) -> Self {
        let connection = sqlite.pool.acquire().await.expect("the database opens").detach();
        Self::new("vault_connections", &sqlite.setup, Connection::Sqlite(Mutex::new(connection)))
    }

    fn new(table: &str, setup: &Setup, connection: Connection) -> Self {
        let sql = format!(
            "SELECT tenant, owner_kind, owner_id, connector, slot FROM {table} WHERE status = 0 AND due_at <= $1 \
             ORDER BY due_at LIMIT {DUE}"
        );
        Self { sql: sql.into(), before: setup.record.created_at.as_millis(), connection }
    }
}

impl Operation for DueSelect {
    async fn run(&self, _: u64) {
        let sql = AssertSqlSafe(Arc::clone(&self.sql));
        let found = match &self.connection {
            Connection::Postgres(connection) => {
                let mut connection = connection.lock().await;
                let rows = sqlx::query(sql).bind(self.before).fetch_all(&mut *connection).await;
                black_box(rows.expect("the server is up")).len()
            }
            Connection::Sqlite(connection) => {
                let mut connection = connection.lock().await;
                let rows = sqlx::query(sql).bind(self.before).fetch_all(&mut *connection).await;
                black_box(rows.expect("the file is there")).len()
            }
        };
        assert_eq!(found, DUE);
    }
}
