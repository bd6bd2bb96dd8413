//! The storage backends' servers. They sync nothing, and outlast any pause of a busy machine: a test of a fault starts
//! a private server of its own.

use std::path::Path;
use std::time::Duration;

use vault_servers::cluster::RedisCluster;
use vault_servers::pgbouncer::{self, PgBouncer};
use vault_servers::postgres::{self, Postgres};
use vault_servers::redis::{self, Redis};
use vault_servers::sentinel::Sentinel;

use super::Server;
use crate::Result;
use crate::context::Context;

const DEAD_AFTER: Duration = Duration::from_secs(30);

/// A primary, its standby, and `PgBouncer` in front of the primary.
pub(super) fn postgres(context: &Context) -> Result<Server> {
    let options = postgres::Options::fast().with_logs(context.scratch());
    let primary = Postgres::start(&options.clone().with("unix_socket_directories", "."))?;
    let standby = primary.standby()?;
    let options = pgbouncer::Options::default().with_logs(context.scratch());
    let pgbouncer = PgBouncer::start(primary.port(), &options)?;
    let env = vec![
        ("VAULT_TEST_POSTGRES", primary.url()),
        ("VAULT_BENCH_POSTGRES_SOCKET", primary.socket_url()),
        ("VAULT_TEST_POSTGRES_STANDBY", standby.url()),
        ("VAULT_TEST_PGBOUNCER", pgbouncer.url()),
    ];
    // In the order in which they stop.
    Ok(Server::new(env, (pgbouncer, standby, primary)))
}

pub(super) fn redis(context: &Context) -> Result<Server> {
    on_a_socket(context, &options(context))
}

/// A server that forgets: a vault must refuse it.
pub(super) fn redis_evicting(context: &Context) -> Result<Server> {
    let options = options(context)
        .with("maxmemory", "64mb")
        .with("maxmemory-policy", "allkeys-lru")
        .with("appendonly", "no");
    single("VAULT_TEST_REDIS_EVICTING", "redis-evicting", &options)
}

pub(super) fn valkey(context: &Context) -> Result<Server> {
    let program = super::valkey().ok_or("no program is named")?;
    single("VAULT_TEST_VALKEY", "valkey", &options(context).with_program(Path::new(&program)))
}

pub(super) fn redis_cluster(context: &Context) -> Result<Server> {
    let cluster = RedisCluster::start(&options(context))?;
    Ok(Server::new(vec![("VAULT_TEST_REDIS_CLUSTER", cluster.urls().join(","))], cluster))
}

pub(super) fn redis_sentinel(context: &Context) -> Result<Server> {
    let sentinel = Sentinel::start(&options(context))?;
    Ok(Server::new(vec![("VAULT_TEST_REDIS_SENTINEL", sentinel.urls().join(","))], sentinel))
}

fn options(context: &Context) -> redis::Options {
    let options = redis::Options::default().with_logs(context.scratch()).with_dead_after(DEAD_AFTER);
    options.with("appendfsync", "no")
}

/// A server with a Unix socket, too.
fn on_a_socket(context: &Context, options: &redis::Options) -> Result<Server> {
    let socket = context.scratch().join("redis.sock").display().to_string();
    let redis = Redis::start(&options.clone().with("unixsocket", &socket))?;
    let env = vec![("VAULT_TEST_REDIS", redis.url()), ("VAULT_BENCH_REDIS_SOCKET", format!("unix:{socket}"))];
    Ok(Server::new(env, redis))
}

fn single(variable: &'static str, name: &str, options: &redis::Options) -> Result<Server> {
    let redis = Redis::start(&options.clone().with_name(name))?;
    Ok(Server::new(vec![(variable, redis.url())], redis))
}

/// For benches: as a host would run them, and on Unix sockets too.
pub(super) fn for_benches(context: &Context) -> Result<Vec<Server>> {
    let options = postgres::Options::durable()
        .with_logs(context.scratch())
        .with("unix_socket_directories", ".")
        .with("shared_buffers", "1GB")
        .with("max_wal_size", "8GB");
    let postgres = Postgres::start(&options)?;
    let env =
        vec![("VAULT_TEST_POSTGRES", postgres.url()), ("VAULT_BENCH_POSTGRES_SOCKET", postgres.socket_url())];
    let postgres = Server::new(env, postgres);

    let options = redis::Options::default().with_logs(context.scratch()).with_dead_after(DEAD_AFTER);
    let options = options.with("appendfsync", "everysec");
    let redis = on_a_socket(context, &options)?;

    let cluster = RedisCluster::start(&options)?;
    let env = vec![("VAULT_TEST_REDIS_CLUSTER", cluster.urls().join(","))];
    Ok(vec![postgres, redis, Server::new(env, cluster)])
}
