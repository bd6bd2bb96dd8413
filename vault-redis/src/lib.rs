//! The vault's storage in Redis.

mod builder;
mod check;
mod connections;
mod connectors;
mod error;
mod flows;
mod join;
mod keys;
mod layout;
mod leases;
mod link;
mod names;
mod record;
mod script;
mod store;

use std::fmt;
use std::sync::Arc;

pub use redis;
use redis::IntoConnectionInfo;
use vault_core::store::StoreError;

pub use self::builder::RedisStoreBuilder;
use self::link::Link;
use self::names::Names;

/// All four stores in Redis. Clones share one connection.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    names: Names,
}

impl RedisStore {
    /// For anything that is not as usual: prefix, number of shards, timeouts, `WAIT`.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::new()
    }

    /// One server, as [`RedisStoreBuilder::connect`] with nothing set.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Cancel safety
    /// See there.
    pub async fn connect(server: impl IntoConnectionInfo) -> Result<Self, StoreError> {
        Self::builder().connect(server).await
    }

    /// A cluster, by some of its nodes, as [`RedisStoreBuilder::cluster`] with nothing set.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Cancel safety
    /// See there.
    pub async fn cluster<N: IntoConnectionInfo>(
        nodes: impl IntoIterator<Item = N>,
    ) -> Result<Self, StoreError> {
        Self::builder().cluster(nodes).await
    }

    /// The master that the sentinels name for `service`, as [`RedisStoreBuilder::sentinel`] with nothing set.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Cancel safety
    /// See there.
    pub async fn sentinel<N: IntoConnectionInfo>(
        sentinels: impl IntoIterator<Item = N>,
        service: &str,
    ) -> Result<Self, StoreError> {
        Self::builder().sentinel(sentinels, service).await
    }
}

/// Shows neither address nor password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("names", &self.shared.names).finish_non_exhaustive()
    }
}
