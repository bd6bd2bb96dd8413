//! A vault with as many connections as wanted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use vault_core::clock::Timestamp;
use vault_core::entropy::SystemEntropy;
use vault_core::id::{ConnectionKey, ConnectorId, Owner, UserId};
use vault_core::seal::{Context, Purpose, Sealer};
use vault_core::store::{Condition, ConnectionRecord, ConnectionStore, Put, Stores, Version};
use vault_core::{KeyRing, SessionBinding, TokenCache, Vault, VaultBuilder};

use crate::provider::{REDIRECT_URI, Scripted, agree, connector};

const KEYS: &str = "bench:c2Nhbi1mb3ItdGhpcy1rZXktMDEyMzQ1Njc4OWFiY2Q=";
/// In front of the sealed credential: status, incarnation, generation.
pub const CLEAR_BYTES: usize = 1 + 16 + 8;
/// So many connections are due for a refresh, however many there are.
pub const DUE: usize = 100;
const AT_ONCE: usize = 5_000;
/// In milliseconds.
const HOUR: u64 = 3_600_000;

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Connections.
    pub rows: usize,
    /// Of each access token.
    pub token_bytes: usize,
}

/// Puts valid records into a store, faster than connecting would.
#[async_trait]
pub trait Loader: Send + Sync {
    async fn load(&self, records: Vec<ConnectionRecord>);
}

/// One by one through the storage trait.
#[async_trait]
impl Loader for Arc<dyn ConnectionStore> {
    async fn load(&self, records: Vec<ConnectionRecord>) {
        let puts = records.into_iter().map(|record| async move {
            let put = self.put(&record, Condition::Absent, None, None).await;
            assert_eq!(put.expect("the store is up"), Put::Written);
        });
        stream::iter(puts).buffer_unordered(64).collect::<()>().await;
    }
}

/// A vault, and what it holds.
#[derive(Debug, Clone)]
pub struct Setup {
    pub stores: Stores,
    pub vault: Vault,
    pub provider: Scripted,
    pub connector: ConnectorId,
    /// One connection each.
    pub users: Arc<[UserId]>,
    /// The first user's.
    pub record: ConnectionRecord,
    pub size: Size,
}

impl Setup {
    /// Connects the first user; the others' connections are copies, sealed for their own keys.
    pub async fn seed(stores: Stores, loader: &dyn Loader, size: Size) -> Self {
        let provider = Scripted::new(size.token_bytes);
        let vault = vault(stores.clone(), provider.clone()).build().await.expect("the vault starts");
        let connector =
            vault.connectors().register(connector("demo")).await.expect("the connector registers");
        let connector = connector.id().clone();
        let users = (0..size.rows).map(|n| UserId::new(format!("user-{n:07}")).expect("a plain id"));
        let users: Arc<[UserId]> = users.collect();
        connect(&vault, &users[0], &connector).await;

        let key = key_of(&users[0], &connector);
        let record = stores.connections.get(&key).await.expect("the store is up").expect("connected");
        let setup = Self { stores, vault, provider, connector, users, record, size };
        let copies = Copies::of(&setup).await;
        for users in setup.users[1..].chunks(AT_ONCE) {
            let mut records = Vec::with_capacity(users.len());
            for user in users {
                records.push(copies.for_user(user).await);
            }
            loader.load(records).await;
        }
        setup
    }

    /// The same connections through other stores on the same data.
    pub async fn through(&self, stores: Stores) -> Self {
        let vault = vault(stores.clone(), self.provider.clone()).build().await.expect("the vault starts");
        Self { stores, vault, ..self.clone() }
    }

    /// The same with the in-process cache of opened tokens on.
    pub async fn cached(&self) -> Self {
        let vault = with_cache(vault(self.stores.clone(), self.provider.clone()));
        let vault = vault.build().await.expect("the vault starts");
        Self { vault, ..self.clone() }
    }

    pub fn key(&self, n: usize) -> ConnectionKey {
        key_of(&self.users[n], &self.connector)
    }

    /// Opens what a vault of this setup sealed.
    pub async fn sealer(&self) -> Sealer {
        let keys = Arc::clone(&self.stores.keys);
        let sealer = Sealer::start(ring(), keys, Arc::new(SystemEntropy::default())).await;
        sealer.expect("the vault's own keys")
    }
}

/// For so long that no entry ends during a run.
fn with_cache(builder: VaultBuilder) -> VaultBuilder {
    builder.token_cache(TokenCache::new().max_age(Duration::from_millis(HOUR)))
}

pub fn ring() -> KeyRing {
    KeyRing::from_text(KEYS).expect("a key")
}

fn vault(stores: Stores, provider: Scripted) -> VaultBuilder {
    Vault::builder().stores(stores).keys(ring()).http(provider).redirect_uri(REDIRECT_URI)
}

pub fn key_of(user: &UserId, connector: &ConnectorId) -> ConnectionKey {
    ConnectionKey {
        tenant: Default::default(),
        owner: Owner::User(user.clone()),
        connector: connector.clone(),
        slot: Default::default(),
    }
}

pub async fn connect(vault: &Vault, user: &UserId, connector: &ConnectorId) {
    let binding = SessionBinding::insecure_unbound();
    let started = vault.user(user.clone()).connect(connector).start(&binding).await.expect("the flow starts");
    vault.complete(agree(started.url()), &binding).await.expect("the user connects");
}

pub fn credential_context<'a>(key: &'a ConnectionKey, record: &ConnectionRecord) -> Context<'a> {
    Context {
        incarnation: Some(record.incarnation),
        generation: Some(record.generation),
        ..Context::of_connection(Purpose::Credential, key)
    }
}

pub fn summary_context<'a>(key: &'a ConnectionKey, record: &ConnectionRecord) -> Context<'a> {
    Context { incarnation: Some(record.incarnation), ..Context::of_connection(Purpose::Summary, key) }
}

/// The first connection, opened, to be sealed for others.
struct Copies {
    sealer: Sealer,
    record: ConnectionRecord,
    connector: ConnectorId,
    credential: Vec<u8>,
    summary: Vec<u8>,
    due_at: [Timestamp; 2],
    due: Vec<UserId>,
}

impl Copies {
    async fn of(setup: &Setup) -> Self {
        let (sealer, record) = (setup.sealer().await, setup.record.clone());
        let context = credential_context(&record.key, &record);
        let credential = sealer.open(&context, &record.credential[CLEAR_BYTES..]).await.expect("it opens");
        let summary = sealer.open(&summary_context(&record.key, &record), &record.summary).await;
        let day = Duration::from_millis(24 * HOUR);
        Self {
            due_at: [record.created_at.saturating_sub(day), record.created_at.saturating_add(day)],
            // Apart from each other, as they would be.
            due: setup.users[1..].iter().step_by((setup.size.rows / DUE).max(1)).take(DUE).cloned().collect(),
            connector: setup.connector.clone(),
            credential: credential.into_exposed(),
            summary: summary.expect("it opens").into_exposed(),
            sealer,
            record,
        }
    }

    async fn for_user(&self, user: &UserId) -> ConnectionRecord {
        let key = key_of(user, &self.connector);
        let sealed = self.sealer.seal(&credential_context(&key, &self.record), &self.credential).await;
        let credential = [&self.record.credential[..CLEAR_BYTES], &sealed.expect("it seals")].concat();
        let summary = self.sealer.seal(&summary_context(&key, &self.record), &self.summary).await;
        let is_due = self.due.binary_search(user).is_ok();
        // Hardly ever two at the same time, or an index would be smaller than it is.
        let apart =
            Duration::from_millis(u64::from_le_bytes(*key.digest().first_chunk().expect("32 bytes")) % HOUR);
        ConnectionRecord {
            version: Version::random(&SystemEntropy::default()).expect("random bytes"),
            due_at: Some(self.due_at[usize::from(!is_due)].saturating_add(apart)),
            summary: summary.expect("it seals"),
            credential: credential.into(),
            refresh: self.record.refresh.clone(),
            key,
            ..self.record.clone()
        }
    }
}
