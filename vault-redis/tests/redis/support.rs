use std::env;

use vault_core::clock::Timestamp;
use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_core::id::{ConnectionKey, ConnectorId, Incarnation, Owner, Slot, TenantId, UserId};
use vault_core::store::{ConnectionRecord, ConnectionStatus, Version};
use vault_redis::redis::aio::MultiplexedConnection;
use vault_redis::redis::{self, Client};
use vault_redis::{RedisStore, RedisStoreBuilder};

pub(crate) const WORKS: &str = "the store works";
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Where the servers of that kind are.
pub(crate) fn servers(variable: &str) -> Vec<String> {
    let servers = env::var(variable);
    let servers = servers.unwrap_or_else(|_| panic!("{variable} is not set: run this by cargo xtask test"));
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
    RedisStore::builder().prefix(prefix())
}

/// The server itself, to look behind the store.
pub(crate) async fn raw() -> MultiplexedConnection {
    let client = Client::open(server()).expect("an address");
    client.get_multiplexed_async_connection().await.expect("the server is up")
}

/// Every key whose name has `part` in it.
pub(crate) async fn keys_with(part: &str) -> Vec<Vec<u8>> {
    let mut raw = raw().await;
    let (mut cursor, mut keys) = (0u64, Vec::new());
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("*{part}*")).arg("COUNT").arg(10_000);
        let (next, mut found): (u64, Vec<Vec<u8>>) = scan.query_async(&mut raw).await.expect(WORKS);
        keys.append(&mut found);
        if next == 0 {
            return keys;
        }
        cursor = next;
    }
}

pub(crate) fn version() -> Version {
    Version::random(&SystemEntropy::default()).expect("the system has random bytes")
}

pub(crate) fn key(user: &str) -> ConnectionKey {
    ConnectionKey {
        tenant: TenantId::default(),
        owner: Owner::User(UserId::new(user).expect("valid")),
        connector: ConnectorId::new("mail").expect("valid"),
        slot: Slot::default(),
    }
}

pub(crate) fn connection(key: &ConnectionKey) -> ConnectionRecord {
    ConnectionRecord {
        key: key.clone(),
        version: version(),
        incarnation: Incarnation::from_bytes([7; 16]),
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: Some(NOW),
        expires_at: None,
        created_at: NOW,
        updated_at: NOW,
        summary: vec![1],
        credential: vec![2].into(),
        refresh: vec![3],
    }
}
