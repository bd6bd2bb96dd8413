//! Floors: one keyed select of the same column, on a held connection and through a plain pool of sqlx's.

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tokio::sync::Mutex;
use vault_core::clock::Timestamp;
use vault_core::store::{Changes, ConnectionRecord, ConnectionWatch as _, Stores};
use vault_sqlx::PostgresOptions;

use super::sql::{COLUMNS, Row};
use crate::operation::{Operation, pick};
use crate::setup::{Loader, Setup, Size};

/// Of the vault's pool, and of the pools that it is compared with.
pub const CONNECTIONS: u32 = 8;

/// A vault on tables of its own.
pub struct Postgres {
    pub setup: Setup,
    /// For floors, by the same way as the vault's.
    pub url: String,
    pub table: String,
    prefix: String,
}

impl Postgres {
    pub async fn seed(url: &str, size: Size) -> Self {
        Self::seed_in_parts(url, size, 1).await
    }

    /// The same in hash partitions, if there are to be several.
    pub async fn seed_in_parts(url: &str, size: Size, parts: u32) -> Self {
        let prefix = format!("{}_", super::namespace());
        let table = format!("{prefix}connections");
        let stores = stores(url, &prefix).await;
        let loader = BulkInsert { pool: pool(url).await, table: table.clone() };
        if parts > 1 {
            let partition = sqlx::raw_sql(AssertSqlSafe(in_parts(&table, parts)));
            partition.execute(&loader.pool).await.expect("the table is empty");
        }
        let setup = Setup::seed(stores, &loader, size).await;
        // The server has it all on the disk before reads are timed, not meanwhile.
        for settle in [format!("VACUUM ANALYZE {table}"), "CHECKPOINT".to_owned()] {
            let settle = sqlx::raw_sql(AssertSqlSafe(settle));
            settle.execute(&loader.pool).await.expect("the table is there");
        }
        Self { setup, url: url.to_owned(), table, prefix }
    }

    /// The same connections by another way to the server.
    pub async fn through(&self, url: &str) -> Self {
        let setup = self.setup.through(stores(url, &self.prefix).await).await;
        Self { setup, url: url.to_owned(), table: self.table.clone(), prefix: self.prefix.clone() }
    }

    /// What listens to every change, as another process with a token cache does.
    pub async fn watch(&self) -> Box<dyn Changes> {
        let options = PostgresOptions::new().prefix(&self.prefix).expect("a plain name");
        let store = options.connect(&self.url).await.expect("the server is up");
        store.watch().await.expect("it listens")
    }

    pub async fn held(&self) -> Held {
        let connection = PgConnection::connect(&self.url).await.expect("the server is up");
        Held { connection: Mutex::new(connection), select: self.select() }
    }

    pub async fn pooled(&self) -> Pooled {
        Pooled { pool: pool(&self.url).await, select: self.select() }
    }

    pub fn ids(&self) -> Arc<[[u8; 32]]> {
        (0..self.setup.users.len()).map(|n| self.setup.key(n).digest()).collect()
    }

    fn select(&self) -> Select {
        let sql = format!("SELECT credential FROM {} WHERE id = $1", self.table);
        Select { sql: sql.into(), ids: self.ids() }
    }
}

fn in_parts(table: &str, parts: u32) -> String {
    let whole = format!(
        "ALTER TABLE {table} RENAME TO {table}_whole;
         CREATE TABLE {table} (LIKE {table}_whole INCLUDING ALL) PARTITION BY HASH (id);
         DROP TABLE {table}_whole;"
    );
    let part = |n| {
        format!(
            "CREATE TABLE {table}_{n} PARTITION OF {table} FOR VALUES WITH (MODULUS {parts}, REMAINDER {n})
             WITH (toast_tuple_target = 4080);"
        )
    };
    whole + &(0..parts).map(part).collect::<String>()
}

async fn stores(url: &str, prefix: &str) -> Stores {
    let options = PostgresOptions::new().prefix(prefix).expect("a plain name");
    let store = options.pool(PgPoolOptions::new().max_connections(CONNECTIONS)).connect(url).await;
    Stores::from_backend(store.expect("the server is up"))
}

pub async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await.expect("the server is up")
}

struct Select {
    sql: Arc<str>,
    ids: Arc<[[u8; 32]]>,
}

impl Select {
    async fn run<'c>(&self, n: u64, executor: impl sqlx::PgExecutor<'c>) {
        let id = &self.ids[pick(n, self.ids.len())];
        let select = sqlx::query_scalar(AssertSqlSafe(Arc::clone(&self.sql))).bind(&id[..]);
        let credential: Vec<u8> = select.fetch_one(executor).await.expect("the row is there");
        black_box(credential);
    }
}

/// The same connection each time.
pub struct Held {
    connection: Mutex<PgConnection>,
    select: Select,
}

impl Operation for Held {
    async fn run(&self, n: u64) {
        self.select.run(n, &mut *self.connection.lock().await).await;
    }
}

/// As hosts do it.
pub struct Pooled {
    pool: PgPool,
    select: Select,
}

impl Operation for Pooled {
    async fn run(&self, n: u64) {
        self.select.run(n, &self.pool).await;
    }
}

struct BulkInsert {
    pool: PgPool,
    table: String,
}

#[async_trait]
impl Loader for BulkInsert {
    async fn load(&self, records: Vec<ConnectionRecord>) {
        let rows: Vec<Row<'_>> = records.iter().map(Row::of).collect();
        let insert = format!(
            "INSERT INTO {} ({COLUMNS}) SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::text[], \
             $5::text[], $6::text[], $7::bigint[], $8::bytea[], $9::bigint[], $10::bigint[], $11::bigint[], \
             $12::bigint[], $13::bigint[], $14::bigint[], $15::bytea[], $16::bytea[], $17::bytea[])",
            self.table
        );
        let insert = sqlx::query(AssertSqlSafe(insert))
            .bind(column(&rows, |row| row.id.to_vec()))
            .bind(column(&rows, |row| row.record.key.tenant.as_str().to_owned()))
            .bind(column(&rows, |row| row.owner_kind))
            .bind(column(&rows, |row| row.owner_id.to_owned()))
            .bind(column(&rows, |row| row.record.key.connector.as_str().to_owned()))
            .bind(column(&rows, |row| row.record.key.slot.as_str().to_owned()))
            .bind(column(&rows, |row| row.record.version.as_i64()))
            .bind(column(&rows, |row| row.record.incarnation.as_bytes().to_vec()))
            .bind(column(&rows, |row| row.generation))
            .bind(column(&rows, |row| i64::from(row.record.status.code())))
            .bind(column(&rows, |row| row.due_at))
            .bind(column(&rows, |row| row.expires_at))
            .bind(column(&rows, |row| Timestamp::as_millis(row.record.created_at)))
            .bind(column(&rows, |row| Timestamp::as_millis(row.record.updated_at)))
            .bind(column(&rows, |row| row.record.refresh.clone()))
            .bind(column(&rows, |row| row.record.summary.clone()))
            .bind(column(&rows, |row| row.record.credential.to_vec()));
        insert.execute(&self.pool).await.expect("valid rows");
    }
}

fn column<'a, T>(rows: &[Row<'a>], of: impl Fn(&Row<'a>) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
