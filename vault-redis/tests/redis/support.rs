use std::env;

use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_core::store::Stores;
use vault_redis::{RedisStore, RedisStoreBuilder};

/// Where the servers of that kind are.
pub(crate) fn servers(variable: &str) -> Vec<String> {
    let servers =
        env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run this by cargo xtask test"));
    servers.split(',').map(str::to_owned).collect()
}

pub(crate) fn server() -> String {
    servers("VAULT_TEST_REDIS").remove(0)
}

/// A prefix that nobody else uses.
pub(crate) fn prefix() -> String {
    let mut bytes = [0; 8];
    SystemEntropy::default().fill(&mut bytes).expect("the system has random bytes");
    format!("test-{:016x}", u64::from_le_bytes(bytes))
}

pub(crate) fn builder() -> RedisStoreBuilder {
    RedisStore::builder().with_prefix(prefix())
}

pub(crate) async fn single() -> Stores {
    Stores::from_backend(builder().connect(server()).await.expect("the server is up"))
}

/// The servers of the cluster and of the sentinels keep nothing on disk.
pub(crate) async fn cluster() -> Stores {
    let nodes = servers("VAULT_TEST_REDIS_CLUSTER");
    let store = builder().danger_accept_no_persistence().cluster(nodes).await;
    Stores::from_backend(store.expect("the cluster is up"))
}

pub(crate) async fn sentinel() -> Stores {
    let sentinels = servers("VAULT_TEST_REDIS_SENTINEL");
    let store = builder().danger_accept_no_persistence().sentinel(sentinels, "mymaster").await;
    Stores::from_backend(store.expect("the master is up"))
}
