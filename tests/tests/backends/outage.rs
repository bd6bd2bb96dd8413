//! Servers of the scenario's own, which die under the vault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vault_core::ErrorKind;
use vault_servers::cluster::RedisCluster;
use vault_servers::pgbouncer::{self, PgBouncer};
use vault_servers::postgres::{self, Postgres};
use vault_servers::redis::{self, Redis};
use vault_servers::sentinel::Sentinel;
use vault_tests::backend::{Backend, PostgresSchema, RedisKeys};
use vault_tests::{World, binding};

use crate::outages::support::{blocking, on};

const PATIENCE: Duration = Duration::from_secs(20);

/// Whatever is asked: the store is unavailable, and nothing reaches the provider.
async fn assert_unavailable(world: &World) {
    let calls = world.provider.calls().len();
    let alice = world.user("alice");
    let id = world.connector.id();
    let (token, listing, disconnect, owed, start, pass) = tokio::join!(
        async { world.token("alice").await.map(drop) },
        async { world.note(alice.connections().await).map(drop) },
        async { world.note(alice.disconnect(id).await).map(drop) },
        async { world.note(alice.owed_revocations().await).map(drop) },
        async { world.note(world.connecting("alice").start(&binding()).await).map(drop) },
        async { world.note(world.vault.maintain(10).await).map(drop) },
    );
    for answer in [token, listing, disconnect, owed, start, pass] {
        let error = answer.expect_err("no store");
        assert_eq!(*error.kind(), ErrorKind::StoreUnavailable, "{error}");
        assert!(error.is_retryable() && !error.needs_user_action());
    }
    assert_eq!(world.provider.calls().len(), calls, "nothing reached the provider");
}

/// `server` dies and comes back by the two functions.
async fn s01<S: Send + 'static>(
    backend: impl Backend,
    server: S,
    kill: fn(&mut S) -> vault_servers::Result<()>,
    restart: fn(&mut S) -> vault_servers::Result<()>,
) {
    let world = World::builder().backend(Arc::new(backend)).start().await;
    world.connect("alice").await.expect("alice connects");
    let before = world.token("alice").await.expect("a token");
    let server = on(server, kill).await;
    assert_unavailable(&world).await;
    // The world's last look at its storage needs it.
    let _server = on(server, restart).await;
    let deadline = Instant::now() + PATIENCE;
    while world.token("alice").await.is_err_and(|error| *error.kind() == ErrorKind::StoreUnavailable) {
        assert!(Instant::now() < deadline, "the storage does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.assert_unchanged("alice", &before).await;
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_postgres_that_died_is_unavailable_and_never_not_connected() {
    let server = blocking(|| Postgres::start(&postgres::Options::durable())).await;
    s01(PostgresSchema::at(server.url(), None), server, Postgres::kill, Postgres::restart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_pgbouncer_that_died_is_unavailable_and_never_not_connected() {
    let server = blocking(|| Postgres::start(&postgres::Options::fast())).await;
    let port = server.port();
    let pooler = blocking(move || PgBouncer::start(port, &pgbouncer::Options::default())).await;
    let backend = PostgresSchema::at(server.url(), Some(pooler.url()));
    s01(backend, pooler, PgBouncer::kill, PgBouncer::restart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_redis_that_died_is_unavailable_and_never_not_connected() {
    let server = blocking(|| Redis::start(&redis::Options::default())).await;
    s01(RedisKeys::at(server.url()), server, Redis::kill, Redis::restart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_redis_cluster_that_died_is_unavailable_and_never_not_connected() {
    let cluster = blocking(|| RedisCluster::start(&redis::Options::default())).await;
    let kill = |cluster: &mut RedisCluster| (0..6).try_for_each(|node| cluster.kill(node));
    let restart = |cluster: &mut RedisCluster| {
        (0..6).try_for_each(|node| cluster.restart(node))?;
        cluster.wait_until_whole()
    };
    s01(RedisKeys::cluster_of(cluster.urls()), cluster, kill, restart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_redis_without_a_master_is_unavailable_and_never_not_connected() {
    let servers = blocking(|| Sentinel::start(&redis::Options::default())).await;
    // The replica first, or the sentinels would promote it.
    let kill = |servers: &mut Sentinel| [1, 0].into_iter().try_for_each(|n| servers.kill(n));
    let restart = |servers: &mut Sentinel| {
        [0, 1].into_iter().try_for_each(|n| servers.restart(n))?;
        servers.wait_until_whole()
    };
    s01(RedisKeys::behind(servers.urls()), servers, kill, restart).await;
}
