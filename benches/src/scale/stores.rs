//! Bytes and rates, as the servers count them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::{Plan, bytes};
use crate::backend::postgres::Postgres;
use crate::backend::redis::{CONNECTIONS, Redis, masters};
use crate::operation::{Contestant as _, Operation};
use crate::report::tables::grouped;
use crate::servers::Servers;
use crate::setup::{Setup, Size};
use crate::vault::TokenRead;

const TASKS: u64 = 64;
const PARTS: u32 = 16;

/// What one connection and one refresh cost a server.
pub(super) struct Costs {
    /// Bytes of a connection, all told.
    pub(super) connection: f64,
    /// Bytes of log that a refresh writes.
    pub(super) log: f64,
    /// Refreshes in a second.
    pub(super) refreshes: f64,
    /// Cold reads in a second.
    pub(super) reads: f64,
    /// For people.
    pub(super) lines: Vec<(String, String)>,
}

pub(super) async fn postgres(servers: &Servers, plan: Plan) -> Costs {
    let postgres = Postgres::seed(&servers.postgres, size(plan)).await;
    let mut admin = PgConnection::connect(&servers.postgres).await.expect("the server is up");
    let rows = plan.rows as f64;
    let mut lines = Vec::new();
    let mut connection = 0.0;
    for (name, size) in relations(&mut admin, &postgres.table).await {
        connection += size / rows;
        lines.push((format!("{name}, a connection"), bytes(size / rows)));
    }
    lines.push(("all of it, a connection".to_owned(), bytes(connection)));

    // The first write to a page after a checkpoint logs the whole page.
    execute(&mut admin, "CHECKPOINT").await;
    let (first, _) = refreshed(&mut admin, &postgres.setup, plan.refreshes).await;
    let (log, refreshes) = refreshed(&mut admin, &postgres.setup, plan.refreshes).await;
    lines.push(("log, a refresh right after a checkpoint".to_owned(), bytes(first)));
    lines.push(("log, a refresh later on".to_owned(), bytes(log)));
    let reads = reads(&postgres.setup).await;
    lines.extend(rates(refreshes, reads));
    let grown: f64 = relations(&mut admin, &postgres.table).await.iter().map(|(_, size)| size).sum();
    let by = (grown / rows - connection) * rows / (2 * plan.refreshes) as f64;
    lines.push(("growth by a refresh before vacuum".to_owned(), bytes(by)));

    let mut changes = postgres.watch().await;
    let listening = tokio::spawn(async move { while changes.next().await.is_ok() {} });
    let told = refresh(&postgres.setup, plan.refreshes / 5).await;
    listening.abort();
    lines.push(("refreshes/s while a token cache listens (`NOTIFY`)".to_owned(), grouped(told)));

    let parted = Postgres::seed_in_parts(&servers.postgres, size(plan), PARTS).await;
    let (_, parted_refreshes) = refreshed(&mut admin, &parted.setup, plan.refreshes).await;
    let parted_reads = self::reads(&parted.setup).await;
    lines.push((format!("refreshes/s in {PARTS} hash partitions"), grouped(parted_refreshes)));
    lines.push((format!("cold reads/s in {PARTS} hash partitions"), grouped(parted_reads)));
    Costs { connection, log, refreshes, reads, lines }
}

fn rates(refreshes: f64, reads: f64) -> [(String, String); 2] {
    [
        (format!("refreshes/s, {TASKS} tasks, provider at once"), grouped(refreshes)),
        (format!("cold reads/s, {TASKS} tasks"), grouped(reads)),
    ]
}

/// The table with what is stored out of line, and each index.
async fn relations(admin: &mut PgConnection, table: &str) -> Vec<(String, f64)> {
    let sizes = format!(
        "SELECT 'table' AS name, pg_table_size('{table}') AS size \
         UNION ALL SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) \
         FROM pg_index WHERE indrelid = '{table}'::regclass"
    );
    let rows = sqlx::query(AssertSqlSafe(sizes)).fetch_all(admin).await.expect("the table is there");
    let prefix = table.trim_end_matches("connections");
    let relation = |row: &sqlx::postgres::PgRow| {
        let name: String = row.get("name");
        let name = match name.strip_prefix(prefix) {
            Some(index) => format!("index {index}"),
            None => name,
        };
        (name, row.get::<i64, _>("size") as f64)
    };
    rows.iter().map(relation).collect()
}

/// Bytes of log for each of so many refreshes, and refreshes in a second.
async fn refreshed(admin: &mut PgConnection, setup: &Setup, refreshes: usize) -> (f64, f64) {
    let before = position(admin).await;
    let rate = refresh(setup, refreshes).await;
    ((position(admin).await - before) / refreshes as f64, rate)
}

async fn position(admin: &mut PgConnection) -> f64 {
    let sql = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint";
    sqlx::query_scalar::<_, i64>(sql).fetch_one(admin).await.expect("a primary") as f64
}

async fn execute(admin: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(admin).await.expect("a superuser");
}

/// One server, or a Cluster's.
pub(super) async fn redis(nodes: &[String], plan: Plan) -> Costs {
    let mut masters = masters(nodes).await;
    let before = info(&mut masters, "memory", "used_memory").await;
    let redis = match nodes {
        [node] => Redis::seed(node, size(plan)).await,
        nodes => Redis::seed_cluster(nodes, size(plan)).await,
    };
    let connection = (info(&mut masters, "memory", "used_memory").await - before) / plan.rows as f64;

    let (mut node, names) = redis.by_node(CONNECTIONS).await.swap_remove(0);
    let mut memory = redis::cmd("MEMORY");
    memory.arg("USAGE").arg(&names[0]).arg("SAMPLES").arg(0);
    let hash: f64 = memory.query_async(&mut node).await.expect("a key");

    let logged = info(&mut masters, "persistence", "aof_current_size").await;
    let refreshes = refresh(&redis.setup, plan.refreshes).await;
    let log = (info(&mut masters, "persistence", "aof_current_size").await - logged) / plan.refreshes as f64;
    let reads = reads(&redis.setup).await;
    let mut lines = vec![
        ("its hash, a connection".to_owned(), bytes(hash)),
        ("index entries and keys, a connection".to_owned(), bytes(connection - hash)),
        ("all of it, a connection".to_owned(), bytes(connection)),
        ("append-only file, a refresh".to_owned(), bytes(log)),
    ];
    lines.extend(rates(refreshes, reads));
    Costs { connection, log, refreshes, reads, lines }
}

/// Of all of them.
async fn info(servers: &mut [redis::aio::MultiplexedConnection], section: &str, name: &str) -> f64 {
    let mut sum = 0.0;
    for server in servers {
        let info: String =
            redis::cmd("INFO").arg(section).query_async(server).await.expect("the server is up");
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok());
        // A server without an append-only file does not name one.
        sum += value.unwrap_or(0.0_f64);
    }
    sum
}

fn size(plan: Plan) -> Size {
    Size { rows: plan.rows, token_bytes: crate::plan::Plan::USUAL_BYTES }
}

/// Refreshes so many connections, one after another of each task's own, and says how many a second.
async fn refresh(setup: &Setup, refreshes: usize) -> f64 {
    let each = (refreshes as u64).div_ceil(TASKS);
    let time = Arc::new(Refresh(setup.clone())).time(TASKS, 0, each).await;
    (TASKS * each) as f64 / time.as_secs_f64()
}

async fn reads(setup: &Setup) -> f64 {
    let read = Arc::new(TokenRead(Arc::new(setup.clone())));
    let (mut time, mut each) = (Duration::ZERO, 50);
    while time < Duration::from_secs(1) {
        each *= 2;
        time = read.time(TASKS, 0, each).await;
    }
    (TASKS * each) as f64 / time.as_secs_f64()
}

/// Of the nth connection, in their order: each but once.
struct Refresh(Setup);

impl Operation for Refresh {
    async fn run(&self, n: u64) {
        let Setup { vault, users, connector, .. } = &self.0;
        let user = users[usize::try_from(n).unwrap_or_default() % users.len()].clone();
        vault.user(user).token(connector).fresh().await.expect("a new token");
    }
}
