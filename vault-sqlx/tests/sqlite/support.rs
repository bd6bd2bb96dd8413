use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tempfile::TempDir;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, ConnectorId, Incarnation, Owner, RevocationId, Slot, TenantId, UserId};
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStatus, ConnectionStore as _, Page, Put, RevocationRecord,
    StoreError, Version,
};
use vault_sqlx::{SqliteStore, sqlx};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) async fn fresh() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(folder.path().join("vault.db")).await.expect("a new database");
    (store, folder)
}

/// A host's way to open the file.
pub(crate) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_millis(20))
}

pub(crate) fn one_connection(options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options)
}

pub(crate) fn connection(user: &str, version: i64) -> ConnectionRecord {
    ConnectionRecord {
        key: ConnectionKey {
            tenant: TenantId::default(),
            owner: Owner::User(UserId::new(user).expect("valid")),
            connector: ConnectorId::new("mail").expect("valid"),
            slot: Slot::default(),
        },
        version: Version::from_i64(version),
        incarnation: Incarnation::from_bytes([7; 16]),
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: Some(NOW),
        expires_at: None,
        created_at: NOW,
        updated_at: NOW,
        summary: b"sealed summary".to_vec(),
        credential: b"sealed credential".to_vec().into(),
        refresh: Vec::new(),
    }
}

pub(crate) fn owed(record: &ConnectionRecord, id: u8, sealed: Vec<u8>) -> RevocationRecord {
    RevocationRecord {
        id: RevocationId::from_bytes([id; 16]),
        key: record.key.clone(),
        incarnation: record.incarnation,
        version: Version::from_i64(1),
        due_at: NOW,
        attempts: 0,
        created_at: NOW,
        sealed,
    }
}

pub(crate) async fn insert(store: &SqliteStore, record: &ConnectionRecord) -> Result<(), StoreError> {
    let put = store.put(record, Condition::Absent, None, None).await?;
    assert_eq!(put, Put::Written);
    Ok(())
}

pub(crate) async fn owed_count(store: &SqliteStore) -> usize {
    let all = store.list_owed(&TenantId::default(), None, &Page::first(1000)).await;
    all.expect("readable").items.len()
}
