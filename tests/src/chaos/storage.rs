use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use vault_core::Stores;
use vault_core::store::{ConnectionWatch, StoreError};
use vault_redis::RedisStore;
use vault_sqlx::{PostgresOptions, SqliteStore};

use super::relay::Relay;
use crate::servers::{address, addresses, unique_name};

/// A backend that several processes can share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
    /// A server.
    Redis,
    /// Three masters with a replica each.
    RedisCluster,
}

/// A place for one test's data, as any process can open it. Holds URLs, which may hold passwords.
#[derive(Clone, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Storage {
    /// A database file.
    Sqlite {
        /// Where it is.
        path: PathBuf,
    },
    /// A schema.
    Postgres {
        /// The server.
        url: String,
        /// Its name.
        schema: String,
        /// How long a call waits for a connection.
        patience: Duration,
    },
    /// The keys of a prefix.
    Redis {
        /// The server, or the nodes of a cluster.
        nodes: Vec<String>,
        /// Whether it is a cluster.
        cluster: bool,
        /// The prefix.
        prefix: String,
    },
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite { .. } => "SQLite",
            Self::Postgres { .. } => "Postgres",
            Self::Redis { cluster: false, .. } => "Redis",
            Self::Redis { cluster: true, .. } => "Redis Cluster",
        })
    }
}

impl Storage {
    /// On the servers that all tests share; a file goes into `folder`.
    #[must_use]
    pub fn shared(kind: Kind, folder: &std::path::Path) -> Self {
        match kind {
            Kind::Sqlite => Self::Sqlite { path: folder.join("vault.db") },
            Kind::Postgres => {
                let (url, schema) = (address("VAULT_TEST_POSTGRES"), unique_name());
                // A thousand readers at once wait for each other.
                Self::Postgres { url, schema, patience: Duration::from_secs(30) }
            }
            Kind::Redis => Self::redis(address("VAULT_TEST_REDIS")),
            Kind::RedisCluster => Self::cluster(addresses("VAULT_TEST_REDIS_CLUSTER")),
        }
    }

    /// A new schema on that server. A call fails soon when it is away.
    #[must_use]
    pub fn postgres(url: String) -> Self {
        Self::Postgres { url, schema: unique_name(), patience: Duration::from_secs(2) }
    }

    /// A new prefix on that server.
    #[must_use]
    pub fn redis(url: String) -> Self {
        Self::Redis { nodes: vec![url], cluster: false, prefix: unique_name() }
    }

    /// A new prefix on the cluster of these nodes.
    #[must_use]
    pub fn cluster(nodes: Vec<String>) -> Self {
        Self::Redis { nodes, cluster: true, prefix: unique_name() }
    }

    /// The same data on the same server, through a [`Relay`] to it.
    ///
    /// # Panics
    /// When there is no one server.
    pub async fn relayed(&self) -> (Self, Relay) {
        let mut relayed = self.clone();
        let server = match &mut relayed {
            Self::Postgres { url, .. } => url,
            Self::Redis { nodes, cluster: false, .. } => &mut nodes[0],
            Self::Sqlite { .. } | Self::Redis { cluster: true, .. } => panic!("not one server: {self:?}"),
        };
        let relay = Relay::to(server).await;
        *server = relay.url();
        (relayed, relay)
    }

    /// Opens it: the stores, and who tells of their changes, where the backend can.
    ///
    /// # Errors
    /// As the backend's.
    pub async fn open(&self) -> Result<(Stores, Option<Arc<dyn ConnectionWatch>>), StoreError> {
        Ok(match self {
            Self::Sqlite { path } => (Stores::from_backend(SqliteStore::open(path).await?), None),
            Self::Postgres { url, schema, patience } => {
                // Dozens of processes share the server.
                let pool = PgPoolOptions::new().max_connections(3).acquire_timeout(*patience);
                let options = PostgresOptions::new().schema(schema)?.pool(pool);
                let store = options.connect(url).await?;
                (Stores::from_backend(store.clone()), Some(Arc::new(store)))
            }
            Self::Redis { nodes, cluster, prefix } => {
                let builder = RedisStore::builder().prefix(prefix);
                let store = match cluster {
                    true => builder.cluster(nodes.clone()).await?,
                    false => builder.connect(nodes[0].as_str()).await?,
                };
                (Stores::from_backend(store.clone()), Some(Arc::new(store)))
            }
        })
    }
}
