use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::Url;
use vault_core::Stores;
use vault_core::store::ConnectionWatch;
use vault_sqlx::PostgresOptions;

use super::{Backend, LEDGER, Telling, searchable};
use crate::servers::{address, unique_name};

/// A schema of its own.
#[derive(Debug)]
pub struct PostgresSchema {
    server: String,
    pooler: Option<String>,
    schema: String,
    /// How long a call waits for a connection.
    patience: Duration,
}

impl PostgresSchema {
    /// On the shared server.
    #[must_use]
    pub fn new() -> Self {
        Self {
            server: address("VAULT_TEST_POSTGRES"),
            pooler: None,
            schema: unique_name(),
            patience: Duration::from_secs(30),
        }
    }

    /// On the same server, through PgBouncer in transaction mode.
    #[must_use]
    pub fn through_pgbouncer() -> Self {
        Self { pooler: Some(address("VAULT_TEST_PGBOUNCER")), ..Self::new() }
    }

    /// On a server of the scenario's own, through its PgBouncer where there is one. A call fails soon.
    #[must_use]
    pub fn at(server: String, pooler: Option<String>) -> Self {
        Self { server, pooler, schema: unique_name(), patience: Duration::from_millis(500) }
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.server).await.expect("the server works")
    }

    /// The tables, with their schema.
    async fn tables(&self, connection: &mut PgConnection) -> Vec<(String, String)> {
        let tables = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = $1");
        let tables: Vec<String> =
            tables.bind(&self.schema).fetch_all(connection).await.expect("the server answers");
        tables.into_iter().map(|table| (format!("{}.{table}", self.schema), table)).collect()
    }
}

impl Default for PostgresSchema {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Backend for PostgresSchema {
    async fn open(&self) -> Stores {
        // Every vault has its own, and scenarios run beside each other.
        let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(self.patience);
        let options = PostgresOptions::new().schema(&self.schema).expect("a plain name").pool(pool);
        let store = match &self.pooler {
            Some(pooler) => options.transaction_pooler().connect(pooler).await,
            None => options.connect(&self.server).await,
        };
        Stores::from_backend(store.expect("the server works"))
    }

    async fn dump(&self) -> String {
        let mut connection = self.connection().await;
        // Bytes as the characters that they are, not as digits.
        let escape = sqlx::raw_sql("SET bytea_output = escape").execute(&mut connection).await;
        escape.expect("good SQL");
        let mut dump = String::new();
        for (table, _) in self.tables(&mut connection).await {
            let rows = AssertSqlSafe(format!("SELECT row::text FROM {table} row"));
            let rows: Vec<String> =
                sqlx::query_scalar(rows).fetch_all(&mut connection).await.expect("good SQL");
            dump += &searchable(rows.join("\n").into_bytes());
        }
        dump
    }

    async fn sizes(&self) -> BTreeMap<String, u64> {
        let mut connection = self.connection().await;
        let mut sizes = BTreeMap::new();
        for (table, name) in self.tables(&mut connection).await {
            let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await.expect("good SQL");
            sizes.insert(name, rows.unsigned_abs());
        }
        sizes.retain(|_, rows| *rows > 0);
        sizes
    }

    async fn bytes(&self) -> Option<u64> {
        let mut connection = self.connection().await;
        let tables = self.tables(&mut connection).await.into_iter().map(|(table, _)| table);
        let tables: Vec<_> = tables.collect();
        let vacuum = AssertSqlSafe(format!("VACUUM {}", tables.join(", ")));
        sqlx::raw_sql(vacuum).execute(&mut connection).await.expect("good SQL");
        let size =
            "SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest($1::text[]) AS name";
        let size: i64 =
            sqlx::query_scalar(size).bind(tables).fetch_one(&mut connection).await.expect("good SQL");
        Some(size.unsigned_abs())
    }

    async fn empty(&self) {
        let mut connection = self.connection().await;
        let tables = self.tables(&mut connection).await.into_iter();
        let tables: Vec<_> = tables.filter(|(_, name)| name != LEDGER).map(|(table, _)| table).collect();
        let truncate = AssertSqlSafe(format!("TRUNCATE {}", tables.join(", ")));
        sqlx::raw_sql(truncate).execute(&mut connection).await.expect("good SQL");
    }
}

#[async_trait]
impl Telling for PostgresSchema {
    async fn watch(&self) -> Arc<dyn ConnectionWatch> {
        let mut named = Url::parse(&self.server).expect("a URL");
        named.query_pairs_mut().append_pair("application_name", &self.schema);
        let pool = PgPoolOptions::new().max_connections(2);
        let options = PostgresOptions::new().schema(&self.schema).expect("a plain name").pool(pool);
        Arc::new(options.connect(named.as_str()).await.expect("the server works"))
    }

    async fn cut(&self) {
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        let terminate = sqlx::query(terminate).bind(&self.schema);
        terminate.execute(&mut self.connection().await).await.expect("it may");
    }
}
