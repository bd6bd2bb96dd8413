//! Listings: one user's connections, and a page of a tenant's.

use std::hint::black_box;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::sync::Mutex;
use vault_core::id::TenantId;
use vault_core::store::Page;

use super::Bench;
use crate::backend::memory::{self, MapList};
use crate::backend::postgres::Postgres;
use crate::backend::redis::{Records, Redis};
use crate::backend::sqlite::Sqlite;
use crate::group::{Case, Group, names};
use crate::operation::{Operation, pick};
use crate::plan::Plan;
use crate::servers::Servers;
use crate::setup::{Setup, Size};

const PAGE: u32 = 50;
const COLUMNS: &str = "id, tenant, owner_kind, owner_id, connector, slot, incarnation, generation, status, expires_at, \
                       created_at, updated_at, summary";

pub(super) fn local(bench: &mut Bench<'_>) {
    let size = size(bench.plan);
    let (setup, floors) = bench.runtime.block_on(async {
        let setup = memory::seed(size).await;
        let floors = [MapList::of_user(&setup).await, MapList::first(&setup, PAGE as usize).await];
        (setup, floors)
    });
    versus(bench, "memory", &setup, names::MAP, floors);

    let sqlite = bench.runtime.block_on(Sqlite::seed(size));
    let selects = [Select::USER, Select::PAGE].map(|which| Select {
        sql: which.sql("vault_connections"),
        executor: Executor::Sqlite(sqlite.pool.clone()),
        setup: sqlite.setup.clone(),
    });
    versus(bench, "SQLite", &sqlite.setup, names::POOL, selects);
}

pub(super) fn on_servers(bench: &mut Bench<'_>, servers: &Servers) {
    let size = size(bench.plan);
    let postgres = bench.runtime.block_on(Postgres::seed(&servers.postgres, size));
    let selects = [Select::USER, Select::PAGE].map(|which| {
        let connection = bench.runtime.block_on(PgConnection::connect(&postgres.url));
        Select {
            sql: which.sql(&postgres.table),
            executor: Executor::Postgres(Mutex::new(connection.expect("the server is up"))),
            setup: postgres.setup.clone(),
        }
    });
    versus(bench, "PostgreSQL, TCP", &postgres.setup, names::HELD, selects);

    let redis = bench.runtime.block_on(Redis::seed(&servers.redis, size));
    on_redis(bench, "Redis, TCP", &redis);
    let redis = bench.runtime.block_on(Redis::seed_cluster(&servers.redis_cluster, size));
    on_redis(bench, "Redis Cluster", &redis);
}

fn on_redis(bench: &mut Bench<'_>, place: &str, redis: &Redis) {
    let records = [1, PAGE as usize].map(|count| bench.runtime.block_on(Records::of(redis, count)));
    versus(bench, place, &redis.setup, names::GETS, records);
}

/// One user's, and a page of the tenant's, each beside its floor.
fn versus<O: Operation>(
    bench: &mut Bench<'_>,
    place: &str,
    setup: &Setup,
    name: &'static str,
    floors: [O; 2],
) {
    for (group, floor) in groups(place, setup).into_iter().zip(floors) {
        bench.measure(group.versus(name, Arc::new(floor)));
    }
}

fn size(plan: Plan) -> Size {
    Size { rows: plan.usual_rows(), token_bytes: Plan::USUAL_BYTES }
}

fn groups(place: &str, setup: &Setup) -> [Group; 2] {
    let case = |bench| Case::new(bench, place).size(setup.size);
    [
        Group::latency(case("list one user"), Arc::new(OfUser(setup.clone()))),
        Group::latency(case("list 50 of a tenant"), Arc::new(OfTenant(setup.clone()))),
    ]
}

struct OfUser(Setup);

impl Operation for OfUser {
    async fn run(&self, n: u64) {
        let Setup { vault, users, .. } = &self.0;
        let listed = vault.user(users[pick(n, users.len())].clone()).connections().await;
        assert_eq!(listed.expect("the store is up").len(), 1);
    }
}

struct OfTenant(Setup);

impl Operation for OfTenant {
    async fn run(&self, _: u64) {
        let listed = self.0.vault.tenant(TenantId::default()).connections(None, &Page::first(PAGE)).await;
        black_box(listed.expect("the store is up"));
    }
}

/// Floor: the same rows and columns, without opening them.
struct Select {
    sql: Arc<str>,
    executor: Executor,
    setup: Setup,
}

enum Executor {
    Postgres(Mutex<PgConnection>),
    Sqlite(sqlx::SqlitePool),
}

/// Which rows. `$2` is the user for one, and where the page begins for the other.
struct Which(&'static str);

impl Select {
    const USER: Which = Which("owner_kind = 1 AND owner_id = $2 ORDER BY id");
    const PAGE: Which = Which("$2 = $2 ORDER BY id LIMIT 51");
}

impl Which {
    fn sql(&self, table: &str) -> Arc<str> {
        format!("SELECT {COLUMNS} FROM {table} WHERE tenant = $1 AND {}", self.0).into()
    }
}

impl Operation for Select {
    async fn run(&self, n: u64) {
        let (tenant, users) = (self.setup.record.key.tenant.as_str(), &self.setup.users);
        let (sql, user) = (AssertSqlSafe(Arc::clone(&self.sql)), users[pick(n, users.len())].as_str());
        let read = match &self.executor {
            Executor::Postgres(connection) => {
                let mut connection = connection.lock().await;
                let rows = sqlx::query(sql).bind(tenant).bind(user).fetch_all(&mut *connection).await;
                rows.expect("the server is up").iter().map(|row| row.get::<Vec<u8>, _>("summary").len()).sum()
            }
            Executor::Sqlite(pool) => {
                let rows = sqlx::query(sql).bind(tenant).bind(user).fetch_all(pool).await;
                let rows = rows.expect("the file is there");
                rows.iter().map(|row| row.get::<Vec<u8>, _>("summary").len()).sum::<usize>()
            }
        };
        black_box(read);
    }
}
