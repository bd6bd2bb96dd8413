//! Where a world keeps its data, and how to look at it behind the vault's back.

mod memory;
mod postgres;
mod redis;
mod sqlite;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use vault_core::Stores;
use vault_core::store::ConnectionWatch;

pub use self::memory::Memory;
pub use self::postgres::PostgresSchema;
pub use self::redis::RedisKeys;
pub use self::sqlite::SqliteFile;

/// The SQL backends' ledger of migrations.
const LEDGER: &str = "vault_schema";

/// Storage that belongs to one scenario.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// A handle on the data. Each is another process's.
    async fn open(&self) -> Stores;

    /// All that is stored, as whoever runs the storage can read it, with a stand-in for what is not ASCII.
    async fn dump(&self) -> String;

    /// How many there are of everything, by table or kind of key. What there is none of is left out.
    async fn sizes(&self) -> BTreeMap<String, u64>;

    /// What it takes, as the storage itself counts it once it has cleared away what is dead; of Redis the whole server.
    /// Nobody counts what is in memory.
    async fn bytes(&self) -> Option<u64>;

    /// Removes everything but the tables.
    async fn empty(&self);
}

/// Storage that tells changes.
#[async_trait]
pub trait Telling: Backend {
    /// A handle to listen with, apart from all others.
    async fn watch(&self) -> Arc<dyn ConnectionWatch>;

    /// Cuts off all who listen, as the server's operator can.
    async fn cut(&self);
}

/// Flows in Redis, everything else in PostgreSQL.
#[derive(Debug)]
pub struct Mixed {
    tables: PostgresSchema,
    flows: RedisKeys,
}

impl Mixed {
    /// On the shared servers.
    #[must_use]
    pub fn new() -> Self {
        Self { tables: PostgresSchema::new(), flows: RedisKeys::new() }
    }
}

impl Default for Mixed {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Backend for Mixed {
    async fn open(&self) -> Stores {
        Stores { flows: self.flows.open().await.flows, ..self.tables.open().await }
    }

    async fn dump(&self) -> String {
        self.tables.dump().await + &self.flows.dump().await
    }

    async fn sizes(&self) -> BTreeMap<String, u64> {
        self.tables.sizes().await.into_iter().chain(self.flows.sizes().await).collect()
    }

    async fn bytes(&self) -> Option<u64> {
        Some(self.tables.bytes().await? + self.flows.bytes().await?)
    }

    async fn empty(&self) {
        self.tables.empty().await;
        self.flows.empty().await;
    }
}

/// Secrets are ASCII, and text is searched many times faster than bytes.
fn searchable(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { '\x7f' }).collect()
}
