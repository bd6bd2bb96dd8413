//! Floor: the same field of the same hash, over a multiplexed connection of the same driver. In a cluster the floor need
//! not ask which node has a key.

mod many;

use std::hint::black_box;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, IntoConnectionInfo as _};
use vault_core::store::Stores;
use vault_redis::RedisStore;

pub use self::many::{DueRanges, Records};
use crate::operation::{Operation, pick};
use crate::setup::{Loader, Setup, Size};

/// How the keys of connections end, and those of the shards' indexes.
pub const CONNECTIONS: &str = "c:*";
const INDEXES: &str = "i";

/// A vault on keys of its own.
pub struct Redis {
    pub setup: Setup,
    prefix: String,
    /// Every node that may have keys.
    nodes: Vec<String>,
}

impl Redis {
    pub async fn seed(url: &str, size: Size) -> Self {
        Self::seed_in(vec![url.to_owned()], false, size).await
    }

    pub async fn seed_cluster(urls: &[String], size: Size) -> Self {
        Self::seed_in(urls.to_vec(), true, size).await
    }

    async fn seed_in(nodes: Vec<String>, is_cluster: bool, size: Size) -> Self {
        let prefix = super::namespace();
        let builder = RedisStore::builder().prefix(prefix.clone());
        let store = if is_cluster {
            builder.cluster(nodes.iter().map(String::as_str)).await
        } else {
            builder.connect(nodes[0].as_str()).await
        };
        let stores = Stores::from_backend(store.expect("the servers are up"));
        let loader = Arc::clone(&stores.connections);
        Self { setup: Setup::seed(stores, &loader as &dyn Loader, size).await, prefix, nodes }
    }

    /// The same connections by another way to the server.
    pub async fn through(&self, url: &str) -> Self {
        let store = RedisStore::builder().prefix(self.prefix.clone()).connect(url).await;
        let setup = self.setup.through(Stores::from_backend(store.expect("the server is up"))).await;
        Self { setup, prefix: self.prefix.clone(), nodes: vec![url.to_owned()] }
    }

    pub async fn get(&self) -> Get {
        let mut keys = Vec::new();
        for (node, names) in self.by_node(CONNECTIONS).await {
            keys.extend(names.into_iter().map(|name| (node.clone(), name)));
        }
        assert_eq!(keys.len(), self.setup.users.len());
        Get { keys }
    }

    /// The keys of all shards that end so, by the node that is their master.
    pub async fn by_node(&self, end: &str) -> Vec<(MultiplexedConnection, Vec<String>)> {
        let mut nodes = Vec::new();
        for mut node in masters(&self.nodes).await {
            let names = self.names(&mut node, end).await;
            nodes.push((node, names));
        }
        nodes.retain(|(_, names)| !names.is_empty());
        nodes
    }

    async fn names(&self, node: &mut MultiplexedConnection, end: &str) -> Vec<String> {
        let pattern = format!("{{{}:*}}:{end}", self.prefix);
        let (mut names, mut cursor) = (Vec::new(), 0u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(10_000);
            let (next, found): (u64, Vec<String>) = scan.query_async(node).await.expect("the server is up");
            names.extend(found);
            if next == 0 {
                // A scan may say a name twice.
                names.sort_unstable();
                names.dedup();
                return names;
            }
            cursor = next;
        }
    }
}

/// Connections to those of the nodes that are masters.
pub async fn masters(nodes: &[String]) -> Vec<MultiplexedConnection> {
    let mut masters = Vec::new();
    for node in nodes {
        let client = redis::Client::open(settings_of(node)).expect("a URL");
        let mut node = client.get_multiplexed_async_connection().await.expect("the server is up");
        let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut node).await.expect("a role");
        if role.first() == Some(&redis::Value::BulkString(b"master".to_vec())) {
            masters.push(node);
        }
    }
    masters
}

/// As the store sets its connections.
fn settings_of(node: &str) -> ConnectionInfo {
    let node = node.into_connection_info().expect("a URL");
    let tcp = node.tcp_settings().clone().set_nodelay(true);
    node.set_tcp_settings(tcp)
}

pub struct Get {
    keys: Vec<(MultiplexedConnection, String)>,
}

impl Get {
    /// Any of the keys.
    pub fn name(&self) -> &str {
        &self.keys[0].1
    }
}

impl Operation for Get {
    async fn run(&self, n: u64) {
        let (node, name) = &self.keys[pick(n, self.keys.len())];
        let mut get = redis::cmd("HGET");
        get.arg(name).arg("credential");
        let credential: Vec<u8> = get.query_async(&mut node.clone()).await.expect("it is there");
        black_box(credential);
    }
}
