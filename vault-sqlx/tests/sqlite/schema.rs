use std::path::Path;

use tempfile::TempDir;
use vault_core::store::{ConnectionStore as _, StoreErrorKind};
use vault_sqlx::{SqliteStore, sqlx};

use crate::support::{connection, fresh, insert, one_connection, options};

async fn ledger(path: &Path) -> Vec<i64> {
    sqlx::query_scalar("SELECT version FROM vault_schema ORDER BY version")
        .fetch_all(&one_connection(options(path)))
        .await
        .expect("a ledger")
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_four_that_start_at_once_make_one_schema() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("vault.db");
        let starting: Vec<_> = (0..4).map(|_| tokio::spawn(SqliteStore::open(path.clone()))).collect();
        for (n, started) in starting.into_iter().enumerate() {
            let store = started.await.expect("no panic").expect("started");
            let user = format!("u{n}");
            insert(&store, &connection(&user, 1)).await.expect("works");
        }
        assert_eq!(ledger(&path).await, [1, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_four_hosts_that_migrate_at_once_make_one_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("host.db");
    let shared = options(&path).create_if_missing(true).busy_timeout(std::time::Duration::from_secs(5));
    let migrating: Vec<_> = (0..4)
        .map(|_| SqliteStore::new(one_connection(shared.clone())))
        .map(|store| tokio::spawn(async move { store.migrate().await }))
        .collect();
    for migrated in migrating {
        migrated.await.expect("no panic").expect("migrated");
    }
    assert_eq!(ledger(&path).await, [1, 2]);
}

#[tokio::test]
async fn s13_migrating_again_changes_nothing() {
    let (store, folder) = fresh().await;
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");
    store.migrate().await.expect("up to date");
    let again = SqliteStore::open(folder.path().join("vault.db")).await;
    let again = again.expect("up to date");
    assert_eq!(again.get(&record.key).await.expect("works"), Some(record));
    assert_eq!(ledger(&folder.path().join("vault.db")).await, [1, 2]);
}

#[tokio::test]
async fn s13_a_newer_schema_is_refused_and_left_alone() {
    let (store, folder) = fresh().await;
    store.close().await;
    let path = folder.path().join("vault.db");
    let host = one_connection(options(&path));
    sqlx::raw_sql("INSERT INTO vault_schema VALUES (3, 0); DROP TABLE vault_keys;")
        .execute(&host)
        .await
        .expect("as a newer version might");

    let error = SqliteStore::open(&path).await.expect_err("too new");
    assert_eq!(error.kind(), StoreErrorKind::SchemaTooNew);
    assert!(!error.is_retryable());
    assert_eq!(ledger(&path).await, [1, 2, 3]);
    let keys = "SELECT count(*) FROM sqlite_master WHERE name = 'vault_keys'";
    let keys: i64 = sqlx::query_scalar(keys).fetch_one(&host).await.expect("readable");
    assert_eq!(keys, 0, "nothing was created");
}

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_with_what_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("host.db");
    let host = one_connection(options(&path).create_if_missing(true));
    sqlx::raw_sql(include_str!("../../schema/sqlite/0001_init.sql")).execute(&host).await.expect("the first");
    let store = SqliteStore::new(host);
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");

    store.migrate().await.expect("one step up");
    assert_eq!(ledger(&path).await, [1, 2]);
    assert_eq!(store.get(&record.key).await.expect("works"), Some(record));
}

#[tokio::test]
async fn the_schema_leaves_the_hosts_tables_alone() {
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("host.db");
    let host = one_connection(options(&path).create_if_missing(true));
    sqlx::raw_sql("CREATE TABLE _sqlx_migrations (x); CREATE TABLE connections (x); INSERT INTO connections VALUES (1);")
        .execute(&host)
        .await
        .expect("the host's own");
    let store = SqliteStore::new(host.clone());
    store.migrate().await.expect("beside them");
    insert(&store, &connection("alice", 1)).await.expect("works");
    let theirs: i64 =
        sqlx::query_scalar("SELECT count(*) FROM connections").fetch_one(&host).await.expect("readable");
    assert_eq!(theirs, 1);
    let ours: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE name LIKE 'vault%' AND type = 'table' ORDER BY name",
    )
    .fetch_all(&host)
    .await
    .expect("readable");
    let expected =
        ["vault_connections", "vault_connectors", "vault_flows", "vault_keys", "vault_owed", "vault_schema"];
    assert_eq!(ours, expected);
}
