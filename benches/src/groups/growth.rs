//! What more connections cost: a cold read, and the scan for what is due, which are a hundred among few and among many.

use std::hint::black_box;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::Mutex;

use super::Bench;
use crate::backend::memory::{self, MapRead};
use crate::backend::postgres::Postgres;
use crate::backend::redis::Redis;
use crate::backend::sqlite::Sqlite;
use crate::group::{Case, Group, names};
use crate::operation::{Contestant, Operation};
use crate::plan::Plan;
use crate::servers::Servers;
use crate::setup::{DUE, Setup, Size};
use crate::vault::TokenRead;

pub const READ: &str = "growth of a cold read";
pub const SCAN: &str = "growth of a due scan";

type Floor = Box<dyn Contestant>;

pub(super) fn local(bench: &mut Bench<'_>) {
    let Bench { plan, runtime, .. } = *bench;
    let (small, larger) = Plan::growth(plan.rows);
    let map = |setup: &Setup| Box::new(Arc::new(runtime.block_on(MapRead::of(setup)))) as Floor;
    let small_setup = runtime.block_on(memory::seed(small));
    for &large in &larger {
        let large = runtime.block_on(memory::seed(large));
        read(bench, "memory", [&small_setup, &large], [map(&small_setup), map(&large)]);
        scan(bench, "memory", [&small_setup, &large], None);
    }

    let small = runtime.block_on(Sqlite::seed(small));
    for large in larger {
        let large = runtime.block_on(Sqlite::seed(large));
        let setups = [&small.setup, &large.setup];
        // As with PostgreSQL: the vault holds a connection too, and a pool's own time would hide what rows cost.
        let held =
            [&small, &large].map(|sqlite| Box::new(Arc::new(runtime.block_on(sqlite.held()))) as Floor);
        read(bench, "SQLite", setups, held);
        scan(bench, "SQLite", setups, None);
    }
}

pub(super) fn on_servers(bench: &mut Bench<'_>, servers: &Servers) {
    let Bench { plan, runtime, .. } = *bench;
    let (small, larger) = Plan::growth(plan.rows);
    let small = runtime.block_on(Postgres::seed(&servers.postgres, small));
    for &large in &larger {
        let large = runtime.block_on(Postgres::seed(&servers.postgres, large));
        let (place, setups, both) = ("PostgreSQL, TCP", [&small.setup, &large.setup], [&small, &large]);
        let held = both.map(|postgres| Box::new(Arc::new(runtime.block_on(postgres.held()))) as Floor);
        read(bench, place, setups, held);
        let select =
            both.map(|postgres| Box::new(Arc::new(runtime.block_on(DueSelect::on(postgres)))) as Floor);
        scan(bench, place, setups, Some(select));
    }

    redis(bench, "Redis, TCP", plan.rows, |size| runtime.block_on(Redis::seed(&servers.redis, size)));
    let seed = |size| runtime.block_on(Redis::seed_cluster(&servers.redis_cluster, size));
    redis(bench, "Redis Cluster", plan.cluster_rows, seed);
}

fn redis(bench: &mut Bench<'_>, place: &str, rows: &[usize], seed: impl Fn(Size) -> Redis) {
    let runtime = bench.runtime;
    let (small, larger) = Plan::growth(rows);
    let small = seed(small);
    for large in larger {
        let large = seed(large);
        let setups = [&small.setup, &large.setup];
        let get = [&small, &large].map(|redis| Box::new(Arc::new(runtime.block_on(redis.get()))) as Floor);
        read(bench, place, setups, get);
        scan(bench, place, setups, None);
    }
}

fn read(bench: &mut Bench<'_>, place: &str, [small, large]: [&Setup; 2], floors: [Floor; 2]) {
    let read = |setup: &Setup| Arc::new(TokenRead(Arc::new(setup.clone())));
    let group = Group::latency(Case::new(READ, place).size(large.size), read(small));
    bench.measure(with_floors(group.versus(names::VAULT_LARGE, read(large)), floors));
}

fn scan(bench: &mut Bench<'_>, place: &str, [small, large]: [&Setup; 2], floors: Option<[Floor; 2]>) {
    let scan = |setup: &Setup| Arc::new(Scan(setup.clone()));
    let group = Group::latency(Case::new(SCAN, place).size(large.size), scan(small));
    let group = group.versus(names::VAULT_LARGE, scan(large));
    bench.measure(match floors {
        Some(floors) => with_floors(group, floors),
        None => group,
    });
}

fn with_floors(group: Group, [small, large]: [Floor; 2]) -> Group {
    group.versus(names::BARE, small).versus(names::BARE_LARGE, large)
}

/// What a pass of maintenance asks first.
struct Scan(Setup);

impl Operation for Scan {
    async fn run(&self, _: u64) {
        let Setup { stores, record, .. } = &self.0;
        let due = stores.connections.due(record.created_at, DUE as u32).await.expect("the store is up");
        assert_eq!(due.len(), DUE);
    }
}

/// Floor: the same rows by the same index.
struct DueSelect {
    sql: Arc<str>,
    before: i64,
    connection: Mutex<PgConnection>,
}

impl DueSelect {
    async fn on(postgres: &Postgres) -> Self {
        let connection = PgConnection::connect(&postgres.url).await.expect("the server is up");
        let sql = format!(
            "SELECT tenant, owner_kind, owner_id, connector, slot FROM {} WHERE status = 0 AND due_at <= $1 \
             ORDER BY due_at LIMIT {DUE}",
            postgres.table
        );
        let before = postgres.setup.record.created_at.as_millis();
        Self { sql: sql.into(), before, connection: Mutex::new(connection) }
    }
}

impl Operation for DueSelect {
    async fn run(&self, _: u64) {
        let mut connection = self.connection.lock().await;
        let select = sqlx::query(AssertSqlSafe(Arc::clone(&self.sql))).bind(self.before);
        black_box(select.fetch_all(&mut *connection).await.expect("the server is up"));
    }
}
