use std::path::PathBuf;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tempfile::TempDir;
use vault_core::id::{AttemptId, ConnectorId, Owner, RevocationId, Slot, TenantId};
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStore as _, FlowInsert, FlowRecord, FlowStore as _, Put,
    StoreErrorKind, Version,
};
use vault_sqlx::{SqliteStore, sqlx};

use crate::support::{NOW, connection, fresh, insert, one_connection, options, owed, owed_count};

/// A closed database with one connection in it, of alice.
async fn prepared() -> (PathBuf, TempDir, ConnectionRecord) {
    let (store, folder) = fresh().await;
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");
    store.close().await;
    (folder.path().join("vault.db"), folder, record)
}

fn changed(record: &ConnectionRecord) -> ConnectionRecord {
    ConnectionRecord { version: Version::from_i64(record.version.as_i64() + 1), ..record.clone() }
}

#[tokio::test]
async fn s11_a_lock_held_for_long_is_busy_and_nothing_is_written() {
    let (path, _folder, old) = prepared().await;
    let store = SqliteStore::new(one_connection(options(&path)));
    let mut other = SqliteConnection::connect_with(&options(&path)).await.expect("connected");
    let lock = other.begin_with("BEGIN EXCLUSIVE").await.expect("the lock");

    let (new, condition) = (changed(&old), Condition::Version(old.version));
    let owed = owed(&old, 1, vec![1]);
    let put = store.put(&new, condition, Some(&owed), None).await;
    let deleted = store.delete(&old.key, old.version, Some(&owed)).await;
    let holder = AttemptId::from_bytes([1; 16]);
    let leased = store.acquire_lease(&old.key, holder, Duration::from_secs(1)).await;
    for error in [
        put.expect_err("locked"),
        deleted.expect_err("locked"),
        leased.expect_err("locked"),
        store.migrate().await.expect_err("locked"),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Busy);
        assert!(error.is_retryable());
    }
    let read = store.get(&old.key).await.expect("readers do not wait");
    assert_eq!(read.as_ref(), Some(&old));

    lock.rollback().await.expect("unlocked");
    assert_eq!(owed_count(&store).await, 0);
    let put = store.put(&new, condition, Some(&owed), None).await;
    assert_eq!(put.expect("the lock is gone"), Put::Written);
    assert_eq!(owed_count(&store).await, 1);
}

#[tokio::test]
async fn s11_a_full_disk_is_unavailable_and_leaves_no_partial_write() {
    let (path, _folder, first) = prepared().await;
    let full_soon = options(&path).pragma("max_page_count", "64");
    let store = SqliteStore::new(one_connection(full_soon));

    // The connection fits in a page that is there; what is owed with it soon does not.
    let mut current = first;
    for round in 0..u8::MAX {
        let new = changed(&current);
        let owed = owed(&current, round, vec![round; 20_000]);
        let condition = Condition::Version(current.version);
        match store.put(&new, condition, Some(&owed), None).await {
            Ok(put) => assert_eq!(put, Put::Written),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable);
                assert!(error.is_retryable());
                let stored = store.get(&current.key).await.expect("readable");
                assert_eq!(stored.as_ref(), Some(&current), "the old record, whole");
                assert_eq!(owed_count(&store).await, usize::from(round));

                let id = RevocationId::from_bytes([0; 16]);
                store.delete_owed(&current.key, id).await.expect("makes room");
                let put = store.put(&new, condition, Some(&owed), None).await;
                assert_eq!(put.expect("there is room again"), Put::Written);
                return;
            }
        }
        current = new;
    }
    panic!("the disk must be full by now");
}

#[tokio::test]
async fn a_take_that_cannot_commit_hands_out_nothing() {
    let (path, _folder, _) = prepared().await;
    let host = one_connection(options(&path).foreign_keys(true));
    let store = SqliteStore::new(host.clone());
    let flow = FlowRecord {
        state_hash: [7; 32],
        tenant: TenantId::default(),
        owner: Owner::Shared,
        connector: ConnectorId::new("mail").expect("valid"),
        slot: Slot::default(),
        created_at: NOW,
        expires_at: NOW,
        sealed: Vec::new(),
    };
    let inserted = store.insert(&flow, 1, NOW).await;
    assert_eq!(inserted.expect("works"), FlowInsert::Inserted);
    sqlx::raw_sql(
        "CREATE TABLE pin (flow BLOB REFERENCES vault_flows (state_hash) DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO pin SELECT state_hash FROM vault_flows;",
    )
    .execute(&host)
    .await
    .expect("something that fails at commit");

    store.take(&flow.state_hash, flow.expires_at, NOW).await.expect_err("pinned");
    sqlx::raw_sql("DROP TABLE pin").execute(&host).await.expect("unpinned");
    assert_eq!(store.take(&flow.state_hash, flow.expires_at, NOW).await.expect("works"), Some(flow));
}

#[tokio::test]
async fn a_read_only_database_says_so() {
    let (path, _folder, old) = prepared().await;
    let store = SqliteStore::new(one_connection(options(&path).read_only(true)));
    let read = store.get(&old.key).await.expect("readable");
    assert_eq!(read.as_ref(), Some(&old));
    let error = store.put(&changed(&old), Condition::Version(old.version), None, None).await;
    assert_eq!(error.expect_err("read-only").kind(), StoreErrorKind::ReadOnly);
}

#[tokio::test]
async fn s01_a_closed_store_is_unavailable_not_empty() {
    let (store, _folder) = fresh().await;
    store.close().await;
    let error = store.get(&connection("alice", 1).key).await;
    assert_eq!(error.expect_err("closed").kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_database_without_our_tables_is_misconfigured() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("host.db");
    let store = SqliteStore::new(one_connection(options(&path).create_if_missing(true)));
    let error = store.get(&connection("alice", 1).key).await;
    assert_eq!(error.expect_err("no tables").kind(), StoreErrorKind::Misconfigured);
}

#[tokio::test]
async fn s04_a_row_that_is_not_ours_is_corrupt_and_harms_no_other() {
    for edit in [
        "UPDATE vault_connections SET status = 99",
        "UPDATE vault_connections SET status = -1",
        "UPDATE vault_connections SET generation = -1",
        "UPDATE vault_connections SET incarnation = x'00'",
        "UPDATE vault_connections SET owner_kind = 7",
        "UPDATE vault_connections SET slot = ''",
        "UPDATE vault_connections SET tenant = CAST(x'ff' AS TEXT)",
    ] {
        let (path, _folder, record) = prepared().await;
        let host = one_connection(options(&path));
        sqlx::raw_sql(edit).execute(&host).await.expect("edited");
        let store = SqliteStore::new(host);
        let other = connection("bob", 1);
        insert(&store, &other).await.expect("works");

        let error = store.get(&record.key).await.expect_err(edit);
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{edit}");
        assert_eq!(store.get(&other.key).await.expect("unharmed"), Some(other));
    }
}

#[tokio::test]
async fn s04_a_file_that_is_no_database_is_corrupt() {
    let (path, _folder, _) = prepared().await;
    std::fs::write(&path, b"not a database, but long enough to have a header".repeat(100)).expect("ours");
    let error = SqliteStore::open(&path).await.expect_err("garbage");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}
