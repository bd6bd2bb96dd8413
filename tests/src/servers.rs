//! Stores on the servers that `cargo xtask test` starts.

use sqlx::postgres::PgPoolOptions;
use url::Url;
use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_redis::{RedisStore, RedisStoreBuilder};
use vault_sqlx::{PostgresOptions, PostgresStore};

/// What `cargo xtask test` tells its tests.
///
/// # Panics
/// When it is not `cargo xtask test` that runs this.
#[must_use]
pub fn address(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run this by `cargo xtask test`"))
}

/// Several of them, with commas between.
#[must_use]
pub fn addresses(variable: &str) -> Vec<String> {
    address(variable).split(',').map(str::to_owned).collect()
}

/// A name that nobody else uses.
#[must_use]
pub fn unique_name() -> String {
    let mut bytes = [0; 8];
    SystemEntropy::default().fill(&mut bytes).expect("the system has random bytes");
    format!("test_{:016x}", u64::from_le_bytes(bytes))
}

/// On the PostgreSQL server, in tables that all tests share.
pub async fn postgres() -> PostgresStore {
    postgres_at(&address("VAULT_TEST_POSTGRES")).await
}

/// The same, with settings of the session as on the server's command line.
pub async fn postgres_with(settings: &str) -> PostgresStore {
    let mut url = Url::parse(&address("VAULT_TEST_POSTGRES")).expect("a URL");
    url.query_pairs_mut().append_pair("options", settings);
    postgres_at(url.as_str()).await
}

/// On the same server, through PgBouncer in transaction mode.
pub async fn pgbouncer() -> PostgresStore {
    let options = PostgresOptions::new().transaction_pooler().pool(small_pool());
    options.connect(&address("VAULT_TEST_PGBOUNCER")).await.expect("PgBouncer works")
}

async fn postgres_at(url: &str) -> PostgresStore {
    PostgresOptions::new().pool(small_pool()).connect(url).await.expect("PostgreSQL works")
}

/// Every test has its own, and they run beside each other.
fn small_pool() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(8)
}

/// On the Redis server, under that prefix.
pub async fn redis(prefix: &str) -> RedisStore {
    redis_at("VAULT_TEST_REDIS", prefix).await
}

/// On Valkey, when `cargo xtask test` has been given one.
pub async fn valkey(prefix: &str) -> RedisStore {
    redis_at("VAULT_TEST_VALKEY", prefix).await
}

async fn redis_at(variable: &str, prefix: &str) -> RedisStore {
    builder(prefix).connect(address(variable)).await.expect("the server works")
}

/// On the Redis Cluster, under that prefix.
pub async fn redis_cluster(prefix: &str) -> RedisStore {
    builder(prefix).cluster(addresses("VAULT_TEST_REDIS_CLUSTER")).await.expect("the cluster works")
}

/// On the master that the sentinels name, under that prefix.
pub async fn redis_sentinel(prefix: &str) -> RedisStore {
    let sentinels = addresses("VAULT_TEST_REDIS_SENTINEL");
    builder(prefix).sentinel(sentinels, "mymaster").await.expect("the master works")
}

fn builder(prefix: &str) -> RedisStoreBuilder {
    RedisStore::builder().prefix(prefix)
}
