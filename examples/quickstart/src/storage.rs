//! Where the vault keeps its data: what `--store` says.

use std::fmt;
use std::fs;
use std::str::FromStr;

use vault_core::store::{ConnectionFilter, Page, StoreError, Stores};
use vault_memory::MemoryStore;
use vault_redis::RedisStore;
use vault_sqlx::{PostgresOptions, PostgresStore, SqliteStore};

use crate::Result;
use crate::folder::Folder;

/// Of names in a shared database: this app's own tables and keys.
const PREFIX: &str = "quickstart";

/// One of the backends, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Storage {
    Memory,
    Sqlite,
    Postgres(String),
    Redis(String),
    RedisCluster(Vec<String>),
}

/// The backend at work.
pub(crate) struct Opened {
    pub(crate) stores: Stores,
    backend: Backend,
}

enum Backend {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
    /// Nothing to close.
    Other,
}

impl FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None if text == "sqlite" => Ok(Self::Sqlite),
            None if text == "memory" => Ok(Self::Memory),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            Some(("redis" | "rediss", _)) => Ok(Self::Redis(text.to_owned())),
            Some(("redis-cluster", nodes)) => {
                Ok(Self::RedisCluster(nodes.split(',').map(|node| format!("redis://{node}")).collect()))
            }
            _ => {
                Err("--store is one of sqlite, memory, postgres://…, redis://…, redis-cluster://…".to_owned())
            }
        }
    }
}

impl Storage {
    pub(crate) async fn open(&self, folder: &Folder) -> Result<Opened> {
        let (stores, backend) = match self {
            Self::Memory => (Stores::from_backend(MemoryStore::new()), Backend::Other),
            Self::Sqlite => {
                let store = SqliteStore::open(folder.database()).await?;
                (Stores::from_backend(store.clone()), Backend::Sqlite(store))
            }
            Self::Postgres(url) => {
                let store = PostgresOptions::new().prefix(&format!("{PREFIX}_"))?.connect(url).await?;
                (Stores::from_backend(store.clone()), Backend::Postgres(store))
            }
            // A Redis as it comes from the package saves to disk now and then: enough for a demonstration.
            Self::Redis(url) => {
                let builder = RedisStore::builder().prefix(PREFIX).danger_accept_no_persistence();
                (Stores::from_backend(builder.connect(url.as_str()).await?), Backend::Other)
            }
            Self::RedisCluster(nodes) => {
                let builder = RedisStore::builder().prefix(PREFIX).danger_accept_no_persistence();
                let nodes = nodes.iter().map(String::as_str);
                (Stores::from_backend(builder.cluster(nodes).await?), Backend::Other)
            }
        };
        Ok(Opened { stores, backend })
    }
}

/// Without user and password.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |url: &str| {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            rest.split('?').next().unwrap_or_default().to_owned()
        };
        match self {
            Self::Memory => f.write_str("memory of this process"),
            Self::Sqlite => f.write_str("vault.db"),
            Self::Postgres(url) => write!(f, "PostgreSQL at {}", place(url)),
            Self::Redis(url) => write!(f, "Redis at {}", place(url)),
            Self::RedisCluster(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(|node| place(node)).collect();
                write!(f, "Redis Cluster at {}", nodes.join(", "))
            }
        }
    }
}

impl Opened {
    pub(crate) async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(store) => store.close().await,
            Backend::Postgres(store) => store.close().await,
            Backend::Other => {}
        }
    }

    /// What somebody finds who gets hold of the storage: SQLite's files, or else all that the store gives back.
    pub(crate) async fn contents(&self, folder: &Folder) -> Result<Vec<u8>> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(files(folder)),
            _ => Ok(self.records().await?),
        }
    }

    async fn records(&self) -> Result<Vec<u8>, StoreError> {
        let (everything, tenant) = (Page::first(1000), Default::default());
        let filter = ConnectionFilter { tenant, owner: None, connector: None };
        let mut bytes = Vec::new();
        for connector in self.stores.connectors.list(&filter.tenant, &everything).await?.items {
            bytes.extend([connector.name.into_bytes(), connector.sealed].concat());
        }
        for listed in self.stores.connections.list(&filter, &everything).await?.items {
            if let Some(record) = self.stores.connections.get(&listed.key).await? {
                bytes.extend([&record.summary[..], &record.credential, &record.refresh].concat());
            }
        }
        for owed in self.stores.connections.list_owed(&filter.tenant, None, &everything).await?.items {
            bytes.extend(owed.sealed);
        }
        for key in self.stores.keys.list(&everything).await?.items {
            bytes.extend(key.wrapped);
        }
        Ok(bytes)
    }
}

fn files(folder: &Folder) -> Vec<u8> {
    let mut bytes = Vec::new();
    for suffix in ["", "-wal", "-shm"] {
        let mut file = folder.database().into_os_string();
        file.push(suffix);
        bytes.extend(fs::read(file).unwrap_or_default());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_without_its_password() {
        for (text, shown) in [
            ("sqlite", "vault.db"),
            ("memory", "memory of this process"),
            ("postgres://me:hunter2@a:1,b:2/db?password=hunter2", "PostgreSQL at a:1,b:2/db"),
            ("redis://:hunter2@a:6379", "Redis at a:6379"),
            ("redis-cluster://a:1,me:hunter2@b:2", "Redis Cluster at a:1, b:2"),
        ] {
            assert_eq!(text.parse::<Storage>().expect("valid").to_string(), shown);
        }
        for text in ["", "mysql://a", "postgres", "redis"] {
            assert!(text.parse::<Storage>().expect_err(text).contains("--store"));
        }
    }
}
