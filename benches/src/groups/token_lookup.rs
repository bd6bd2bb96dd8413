//! `vault.user(..).token(..)` of a connected user: cold, which is one read of the store, and warm, out of the cache of
//! opened tokens.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use quick_cache::sync::Cache;
use vault_core::id::ConnectionKey;

use super::Bench;
use crate::backend::memory::{self, MapRead};
use crate::backend::postgres::Postgres;
use crate::backend::redis::Redis;
use crate::backend::sqlite::Sqlite;
use crate::external::{Peer, PgBench, RedisBenchmark};
use crate::group::{Case, Group, names};
use crate::operation::{Operation, pick};
use crate::plan::Plan;
use crate::servers::{self, Servers};
use crate::setup::{Setup, Size};
use crate::vault::TokenRead;

pub const COLD: &str = "token_lookup cold";
pub const WARM: &str = "token_lookup warm";

pub(super) fn memory(bench: &mut Bench<'_>) {
    let Bench { plan, runtime, .. } = *bench;
    for &token_bytes in plan.tokens {
        let size = Size { rows: plan.usual_rows(), token_bytes };
        let setup = runtime.block_on(memory::seed(size));
        for &tasks in plan.tasks_for(size) {
            let floor = Arc::new(runtime.block_on(MapRead::of(&setup)));
            bench.measure(lookup(COLD, "memory", tasks, &setup).versus(names::MAP, floor));
        }
        warm(bench, "memory", &setup);
    }
}

pub(super) fn sqlite(bench: &mut Bench<'_>) {
    let Bench { plan, runtime, .. } = *bench;
    for &token_bytes in plan.tokens {
        let size = Size { rows: plan.usual_rows(), token_bytes };
        let sqlite = runtime.block_on(Sqlite::seed(size));
        let file = sqlite.another_file();
        let peer = servers::peers().map(|peers| Peer::start(&peers, "sqlite", &file, size));
        for &tasks in plan.tasks_for(size) {
            let group = lookup(COLD, "SQLite", tasks, &sqlite.setup);
            let group = group.versus(names::POOL, Arc::new(sqlite.pooled()));
            let held = (tasks == 1).then(|| Arc::new(runtime.block_on(sqlite.held())));
            bench.measure(group.maybe_versus(names::HELD, held).maybe_versus(names::SESSIONS, peer.clone()));
        }
        warm(bench, "SQLite", &sqlite.setup);
    }
}

pub(super) fn postgres(bench: &mut Bench<'_>, servers: &Servers) {
    let Bench { plan, runtime, .. } = *bench;
    for &token_bytes in plan.tokens {
        let size = Size { rows: plan.usual_rows(), token_bytes };
        let over_tcp = runtime.block_on(Postgres::seed(&servers.postgres, size));
        let over_socket = runtime.block_on(over_tcp.through(&servers.postgres_socket));
        postgres_way(bench, "PostgreSQL, socket", &over_socket, servers);
        postgres_way(bench, "PostgreSQL, TCP", &over_tcp, servers);
        warm(bench, "PostgreSQL", &over_tcp.setup);
    }
}

fn postgres_way(bench: &mut Bench<'_>, place: &str, postgres: &Postgres, servers: &Servers) {
    let Bench { plan, runtime, .. } = *bench;
    let (setup, size) = (&postgres.setup, postgres.setup.size);
    let pooled = || Arc::new(runtime.block_on(postgres.pooled()));
    let peer = Peer::start(&servers.peers, "postgres", &postgres.url, size);
    for &tasks in plan.tasks_for(size) {
        let group = lookup(COLD, place, tasks, setup).versus(names::POOL, pooled());
        let group = if tasks == 1 {
            group.versus(names::HELD, Arc::new(runtime.block_on(postgres.held())))
        } else {
            group.versus(names::PGBENCH, PgBench::new(&servers.pgbench, postgres))
        };
        bench.measure(group.versus(names::SESSIONS, peer.clone()));
    }
}

pub(super) fn redis(bench: &mut Bench<'_>, servers: &Servers) {
    let Bench { plan, runtime, .. } = *bench;
    for &token_bytes in plan.tokens {
        let size = Size { rows: plan.usual_rows(), token_bytes };
        let over_tcp = runtime.block_on(Redis::seed(&servers.redis, size));
        let over_socket = runtime.block_on(over_tcp.through(&servers.redis_socket));
        redis_way(bench, "Redis, socket", &over_socket, Some((&servers.redis_socket, &servers.peers)));
        redis_way(bench, "Redis, TCP", &over_tcp, Some((&servers.redis, &servers.peers)));
        warm(bench, "Redis", &over_tcp.setup);
    }
}

pub(super) fn redis_cluster(bench: &mut Bench<'_>, servers: &Servers) {
    let Bench { plan, runtime, .. } = *bench;
    for &token_bytes in plan.tokens {
        let size = Size { rows: plan.usual_rows(), token_bytes };
        let redis = runtime.block_on(Redis::seed_cluster(&servers.redis_cluster, size));
        redis_way(bench, "Redis Cluster", &redis, None);
        warm(bench, "Redis Cluster", &redis.setup);
    }
}

/// Other programs are compared where there is one server: its address, and the program of `benches/peers`.
fn redis_way(bench: &mut Bench<'_>, place: &str, redis: &Redis, others: Option<(&str, &Path)>) {
    let Bench { plan, runtime, .. } = *bench;
    let size = redis.setup.size;
    let tasks = if size.token_bytes == Plan::USUAL_BYTES { plan.redis_tasks } else { &[1] };
    let peer = others.map(|(url, peers)| Peer::start(peers, "redis", url, size));
    for &tasks in tasks {
        let get = runtime.block_on(redis.get());
        let program = others.filter(|_| tasks > 1).map(|(url, _)| RedisBenchmark::new(url, get.name()));
        let group = lookup(COLD, place, tasks, &redis.setup).versus(names::GET, Arc::new(get));
        bench.measure(
            group.maybe_versus(names::REDIS_BENCHMARK, program).maybe_versus(names::SESSIONS, peer.clone()),
        );
    }
}

/// One task's latency, or the throughput of several.
fn lookup(bench: &str, place: &str, tasks: u64, setup: &Setup) -> Group {
    let case = Case::new(bench, place).size(setup.size).tasks(tasks);
    let read = Arc::new(TokenRead(Arc::new(setup.clone())));
    if tasks == 1 { Group::latency(case, read) } else { Group::throughput(case, read) }
}

fn warm(bench: &mut Bench<'_>, place: &str, setup: &Setup) {
    let Bench { plan, runtime, .. } = *bench;
    let cached = runtime.block_on(setup.cached());
    let floor = Arc::new(CacheGet::of(setup));
    let read = Arc::new(TokenRead(Arc::new(cached.clone())));
    // Until everything is in it.
    runtime.block_on(async {
        for n in 0..4 * setup.size.rows as u64 {
            read.run(n).await;
        }
    });
    for &tasks in plan.tasks_for(setup.size) {
        let group = lookup(WARM, place, tasks, &cached);
        bench.measure(group.versus(names::CACHE, Arc::clone(&floor)));
    }
}

/// Floor of a cache hit: as many entries under the same keys, each shared, as the vault's are.
struct CacheGet {
    cache: Cache<ConnectionKey, Arc<str>>,
    keys: Vec<ConnectionKey>,
}

impl CacheGet {
    fn of(setup: &Setup) -> Self {
        let (rows, token) = (setup.size.rows, "x".repeat(setup.size.token_bytes));
        let (cache, keys) = (Cache::new(2 * rows), (0..rows).map(|n| setup.key(n)).collect::<Vec<_>>());
        keys.iter().for_each(|key| cache.insert(key.clone(), token.as_str().into()));
        Self { cache, keys }
    }
}

impl Operation for CacheGet {
    async fn run(&self, n: u64) {
        black_box(self.cache.get(&self.keys[pick(n, self.keys.len())]).expect("it is there"));
    }
}
