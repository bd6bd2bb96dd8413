use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use redis::Client;
use redis::aio::MultiplexedConnection;
use vault_core::Stores;
use vault_core::store::ConnectionWatch;
use vault_redis::RedisStore;

use super::{Backend, Telling, searchable};
use crate::servers::{address, addresses, unique_name};

/// A prefix of its own.
#[derive(Debug)]
pub struct RedisKeys {
    place: Place,
    prefix: String,
}

#[derive(Debug)]
enum Place {
    /// By its nodes.
    Cluster(Vec<String>),
    /// Behind sentinels, which these are.
    Sentinel(Vec<String>),
    Server(String),
}

/// A key with what is in it.
struct Entry {
    key: String,
    values: Vec<Vec<u8>>,
}

impl RedisKeys {
    /// On the shared server.
    #[must_use]
    pub fn new() -> Self {
        Self::at(address("VAULT_TEST_REDIS"))
    }

    /// On the cluster.
    #[must_use]
    pub fn cluster() -> Self {
        Self::cluster_of(addresses("VAULT_TEST_REDIS_CLUSTER"))
    }

    /// On a cluster of the scenario's own.
    #[must_use]
    pub fn cluster_of(nodes: Vec<String>) -> Self {
        Self { place: Place::Cluster(nodes), prefix: unique_name() }
    }

    /// On the master that the sentinels name.
    #[must_use]
    pub fn sentinel() -> Self {
        Self::behind(addresses("VAULT_TEST_REDIS_SENTINEL"))
    }

    /// Behind sentinels of the scenario's own.
    #[must_use]
    pub fn behind(sentinels: Vec<String>) -> Self {
        Self { place: Place::Sentinel(sentinels), prefix: unique_name() }
    }

    /// On a server of the scenario's own.
    #[must_use]
    pub fn at(server: String) -> Self {
        Self { place: Place::Server(server), prefix: unique_name() }
    }

    async fn store(&self) -> RedisStore {
        let builder = RedisStore::builder().prefix(&self.prefix);
        let store = match &self.place {
            Place::Cluster(nodes) => builder.cluster(nodes.clone()).await,
            Place::Sentinel(sentinels) => builder.sentinel(sentinels.clone(), "mymaster").await,
            Place::Server(server) => builder.connect(server.as_str()).await,
        };
        store.expect("the server works")
    }

    /// Every server that keys are on, replicas apart.
    async fn masters(&self) -> Vec<MultiplexedConnection> {
        let servers = match &self.place {
            Place::Cluster(nodes) => nodes.clone(),
            Place::Sentinel(sentinels) => vec![master_of(&sentinels[0]).await],
            Place::Server(server) => vec![server.clone()],
        };
        let mut masters = Vec::new();
        for server in servers {
            let mut server = connection(&server).await;
            let role: redis::Value = redis::cmd("ROLE").query_async(&mut server).await.expect("it answers");
            let role = role.into_sequence().expect("a list").swap_remove(0);
            if redis::from_redis_value::<String>(role).expect("a name") == "master" {
                masters.push(server);
            }
        }
        masters
    }

    async fn keys(&self, server: &mut MultiplexedConnection) -> Vec<String> {
        let (mut cursor, mut keys) = (0u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("*{}*", self.prefix)).arg("COUNT").arg(10_000);
            let (next, found): (u64, Vec<String>) = scan.query_async(server).await.expect("it answers");
            keys.extend(found);
            if next == 0 {
                // A scan may name a key twice.
                keys.sort_unstable();
                keys.dedup();
                return keys;
            }
            cursor = next;
        }
    }

    async fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for mut server in self.masters().await {
            for key in self.keys(&mut server).await {
                let values = values(&mut server, &key).await;
                entries.push(Entry { key, values });
            }
        }
        entries
    }

    /// `c` for a connection, `f` for a flow and so on.
    fn kind(&self, key: &str) -> String {
        let in_shard = key.split_once("}:").map(|(_, rest)| rest);
        let rest = in_shard.or_else(|| key.strip_prefix(&self.prefix)?.strip_prefix(':'));
        let rest = rest.expect("a key of ours");
        rest.split(':').next().unwrap_or_default().to_owned()
    }
}

impl Default for RedisKeys {
    fn default() -> Self {
        Self::new()
    }
}

async fn connection(server: &str) -> MultiplexedConnection {
    let client = Client::open(server).expect("an address");
    client.get_multiplexed_async_connection().await.expect("the server works")
}

async fn master_of(sentinel: &str) -> String {
    let mut sentinel = connection(sentinel).await;
    let mut ask = redis::cmd("SENTINEL");
    ask.arg("GET-MASTER-ADDR-BY-NAME").arg("mymaster");
    let (host, port): (String, u16) = ask.query_async(&mut sentinel).await.expect("it answers");
    format!("redis://{host}:{port}")
}

/// None of a key that has just expired.
async fn values(server: &mut MultiplexedConnection, key: &str) -> Vec<Vec<u8>> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(server).await.expect("it answers");
    let mut read = match kind.as_str() {
        "hash" => redis::cmd("HGETALL"),
        "string" => redis::cmd("MGET"),
        "zset" => redis::cmd("ZRANGE"),
        "none" => return Vec::new(),
        other => panic!("what is a {other} for?"),
    };
    read.arg(key);
    if kind == "zset" {
        read.arg(0).arg(-1);
    }
    let values: Vec<Option<Vec<u8>>> = read.query_async(server).await.expect("it answers");
    values.into_iter().flatten().collect()
}

#[async_trait]
impl Backend for RedisKeys {
    async fn open(&self) -> Stores {
        Stores::from_backend(self.store().await)
    }

    async fn dump(&self) -> String {
        let entries = self.entries().await.into_iter();
        searchable(entries.flat_map(|entry| {
            let values = entry.values.into_iter().flat_map(|value| [value, b"\n".to_vec()].concat());
            entry.key.into_bytes().into_iter().chain(*b"\n").chain(values)
        }))
    }

    /// Of indexes and places it is the entries that count.
    async fn sizes(&self) -> BTreeMap<String, u64> {
        let mut sizes = BTreeMap::new();
        for entry in self.entries().await {
            let kind = self.kind(&entry.key);
            let count = if kind == "i" || kind == "p" { entry.values.len() } else { 1 };
            *sizes.entry(kind).or_default() += count as u64;
        }
        sizes
    }

    async fn bytes(&self) -> Option<u64> {
        let mut bytes = 0;
        for mut server in self.masters().await {
            let mut info = redis::cmd("INFO");
            info.arg("memory");
            let info: String = info.query_async(&mut server).await.expect("it answers");
            let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
            bytes += used.expect("it says so").parse::<u64>().expect("a number");
        }
        Some(bytes)
    }

    async fn empty(&self) {
        for mut server in self.masters().await {
            for key in self.keys(&mut server).await {
                let deleted = redis::cmd("DEL").arg(&key).query_async::<()>(&mut server).await;
                deleted.expect("it answers");
            }
        }
    }
}

#[async_trait]
impl Telling for RedisKeys {
    async fn watch(&self) -> Arc<dyn ConnectionWatch> {
        Arc::new(self.store().await)
    }

    /// All listeners of the servers.
    async fn cut(&self) {
        for mut server in self.masters().await {
            let mut kill = redis::cmd("CLIENT");
            kill.arg("KILL").arg("TYPE").arg("pubsub");
            kill.query_async::<()>(&mut server).await.expect("it answers");
        }
    }
}
