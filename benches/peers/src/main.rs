//! Loads session records of tower-sessions, the nearest Rust crate that loads a stored record, as the benches ask.
//!
//! `vault-bench-peers postgres|redis|sqlite URL ROWS BYTES`, of SQLite a new file's path, says `ready` once it has stored so many sessions of so many bytes.
//! Then it answers each line `TASKS FIRST EACH` with nanoseconds, as the benches' own `Contestant::time`.

#[allow(dead_code, reason = "the benches need all of it")]
#[path = "../../src/operation.rs"]
mod operation;

use std::hint::black_box;
use std::io::{BufRead as _, stdin};
use std::sync::Arc;

use fred::clients::Client;
use fred::interfaces::ClientLike as _;
use fred::types::Builder;
use fred::types::config::Config;
use operation::{Contestant, Operation, pick};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use time::{Duration, OffsetDateTime};
use tokio::runtime::Runtime;
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

/// As many connections as the vault's pool may have.
const CONNECTIONS: u32 = 8;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Load<S> {
    store: S,
    ids: Vec<Id>,
}

impl<S: SessionStore> Operation for Load<S> {
    async fn run(&self, n: u64) {
        let loaded = self.store.load(&self.ids[pick(n, self.ids.len())]).await;
        black_box(loaded.expect("the server is up").expect("the session is there"));
    }
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, url, rows, bytes] = args.as_slice() else {
        return Err("usage: vault-bench-peers postgres|redis|sqlite URL ROWS BYTES".into());
    };
    let (rows, bytes) = (rows.parse()?, bytes.parse()?);
    let runtime = Runtime::new()?;
    let load: Arc<dyn Contestant> = match server.as_str() {
        "postgres" => Arc::new(Arc::new(runtime.block_on(seed(postgres(url), rows, bytes))?)),
        "redis" => Arc::new(Arc::new(runtime.block_on(seed(redis(url), rows, bytes))?)),
        "sqlite" => Arc::new(Arc::new(runtime.block_on(seed(sqlite(url), rows, bytes))?)),
        other => return Err(format!("no such server: {other}").into()),
    };
    println!("ready");
    for line in stdin().lock().lines() {
        let line = line?;
        let mut numbers = line.split(' ').map(str::parse);
        let mut next = || numbers.next().ok_or("three numbers are needed");
        let (tasks, first, each) = (next()??, next()??, next()??);
        let load = Arc::clone(&load);
        let timed = runtime.spawn(async move { load.time(tasks, first, each).await });
        println!("{}", runtime.block_on(timed)?.as_nanos());
    }
    Ok(())
}

async fn seed<S: SessionStore>(
    store: impl Future<Output = Outcome<S>>,
    rows: u32,
    bytes: usize,
) -> Outcome<Load<S>> {
    let store = store.await?;
    let mut ids = Vec::new();
    for _ in 0..rows {
        let mut record = Record {
            id: Id::default(),
            data: [("access_token".to_owned(), "x".repeat(bytes).into())].into(),
            expiry_date: OffsetDateTime::now_utc() + Duration::days(1),
        };
        store.create(&mut record).await?;
        ids.push(record.id);
    }
    Ok(Load { store, ids })
}

async fn postgres(url: &str) -> Outcome<PostgresStore> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
    let store = PostgresStore::new(pool);
    store.migrate().await?;
    Ok(store)
}

/// In the file mode that the vault sets, too.
async fn sqlite(path: &str) -> Outcome<SqliteStore> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let store = SqliteStore::new(SqlitePoolOptions::new().connect_with(options).await?);
    store.migrate().await?;
    Ok(store)
}

async fn redis(url: &str) -> Outcome<RedisStore<Client>> {
    // fred's name for what redis-rs calls `unix:path`.
    let url = url.strip_prefix("unix:").map_or(url.to_owned(), |path| format!("redis+unix://{path}"));
    let client = Builder::from_config(Config::from_url(&url)?).build()?;
    client.init().await?;
    Ok(RedisStore::new(client))
}
