use sqlx::PgPool;
use vault_core::store::{Condition, ConnectionRecord, ConnectionStore as _, Page, Put, StoreErrorKind};
use vault_sqlx::{PostgresOptions, PostgresStore};
use vault_tests::servers::{address, unique_name};

use super::support::{NOW, changed, connection, execute, fresh, insert, number, on, owed, pool, pool_with};

/// Locks the only connection in another transaction until it is dropped.
async fn lock(pool: &PgPool, schema: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = pool.begin().await.expect("begun");
    let sql = format!("SELECT 1 FROM {schema}.vault_connections FOR UPDATE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.expect("locked");
    tx
}

async fn assert_unchanged(store: &PostgresStore, record: &ConnectionRecord) {
    assert_eq!(store.get(&record.key).await.expect("readable").as_ref(), Some(record));
    let owed = store.list_owed(&record.key.tenant, None, &Page::first(10)).await;
    assert_eq!(owed.expect("readable").items, []);
}

#[tokio::test]
async fn a_statement_timeout_is_busy_and_nothing_is_written() {
    for limit in ["statement_timeout=200", "lock_timeout=200"] {
        let (store, host, schema) = fresh().await;
        let record = connection("alice", 1);
        insert(&store, &record).await.expect("works");
        let impatient = on(pool_with(limit), &schema);

        let locked = lock(&host, &schema).await;
        let condition = Condition::Version(record.version);
        let error = impatient.put(&changed(&record), condition, Some(&owed(&record, 1)), None).await;
        let error = error.expect_err("locked");
        assert_eq!(error.kind(), StoreErrorKind::Busy);
        assert!(error.is_retryable());
        assert_unchanged(&impatient, &record).await;

        locked.rollback().await.expect("unlocked");
        let put = impatient.put(&changed(&record), condition, None, None).await;
        assert_eq!(put.expect("the lock is gone"), Put::Written);
    }
}

#[tokio::test]
async fn s10_a_connection_killed_in_a_write_leaves_nothing_and_is_replaced() {
    let (store, host, schema) = fresh().await;
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");
    let locked = lock(&host, &schema).await;

    let writing = tokio::spawn({
        let (store, record) = (store.clone(), record.clone());
        async move {
            let condition = Condition::Version(record.version);
            store.put(&changed(&record), condition, Some(&owed(&record, 1)), None).await
        }
    });
    let waiting = format!(
        "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%vault_connections%'"
    );
    while number(&host, format!("SELECT count(*) {waiting}")).await == 0 {
        tokio::task::yield_now().await;
    }
    execute(&host, format!("SELECT pg_terminate_backend(pid) {waiting}")).await;
    let error = writing.await.expect("no panic").expect_err("killed");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.is_retryable());
    locked.rollback().await.expect("unlocked");

    assert_unchanged(&store, &record).await;
    let put = store.put(&changed(&record), Condition::Version(record.version), None, None).await;
    assert_eq!(put.expect("on a new connection"), Put::Written);
}

#[tokio::test]
async fn s10_a_server_that_turns_read_only_says_so_and_can_be_read() {
    let (store, _, schema) = fresh().await;
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");

    let read_only = on(pool_with("default_transaction_read_only=on"), &schema);
    let error = read_only.put(&changed(&record), Condition::Version(record.version), None, None).await;
    let error = error.expect_err("read-only");
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
    assert!(error.is_retryable());
    assert_unchanged(&read_only, &record).await;
}

#[tokio::test]
async fn a_standby_can_be_read_and_takes_no_writes() {
    let (store, _, schema) = fresh().await;
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");

    let url = address("VAULT_TEST_POSTGRES_STANDBY");
    let options = PostgresOptions::new().schema(&schema).expect("plain");
    let standby = options.on(PgPool::connect(&url).await.expect("the standby answers"));
    // It follows, a moment behind; before the tables have arrived they are missing.
    while standby.read(&record.key).await.ok().flatten().as_ref() != Some(&record.credential) {
        tokio::task::yield_now().await;
    }
    assert_eq!(standby.due(NOW, 10).await.expect("readable"), std::slice::from_ref(&record.key));
    let error = standby.delete(&record.key, record.version, None).await.expect_err("a standby");
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
    standby.migrate().await.expect("up to date");
    let unheard_of = PgPool::connect(&url).await.expect("the standby answers");
    let error = on(unheard_of, &unique_name()).migrate().await.expect_err("a standby");
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
}

#[tokio::test]
async fn of_several_servers_the_primary_is_found() {
    let (primary, standby) = (address("VAULT_TEST_POSTGRES"), address("VAULT_TEST_POSTGRES_STANDBY"));
    let host = |url: &str| {
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        format!("{}:{}", options.get_host(), options.get_port())
    };
    let url = format!("postgres://postgres@{},{}/postgres", host(&standby), host(&primary));
    let options = PostgresOptions::new().schema(&unique_name()).expect("plain");
    let store = options.connect(&url).await.expect("one of them takes writes");
    insert(&store, &connection("alice", 1)).await.expect("works");
}

#[tokio::test]
async fn s01_a_server_that_is_not_there_is_unavailable_not_empty() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", port.expect("a port").port());
    let options = sqlx::postgres::PgPoolOptions::new().acquire_timeout(std::time::Duration::from_millis(300));
    let store = PostgresStore::new(options.connect_lazy(&url).expect("a URL"));
    let error = store.get(&connection("alice", 1).key).await.expect_err("nobody listens");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);

    let closed = PostgresStore::new(pool());
    closed.close().await;
    let error = closed.get(&connection("alice", 1).key).await.expect_err("closed");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn s08_tables_that_were_dropped_are_misconfigured_and_emptied_ones_are_empty() {
    let (store, host, schema) = fresh().await;
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");
    execute(&host, format!("TRUNCATE {schema}.vault_connections")).await;
    assert_eq!(store.read(&record.key).await.expect("works"), None);
    execute(&host, format!("DROP SCHEMA {schema} CASCADE")).await;
    let error = store.read(&record.key).await.expect_err("no tables");
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    store.migrate().await.expect("from the start");
    assert_eq!(store.read(&record.key).await.expect("works"), None);
}

#[tokio::test]
async fn s04_a_row_that_is_not_ours_is_corrupt_and_harms_no_other() {
    for edit in [
        "status = 99",
        "status = -1",
        "generation = -1",
        "incarnation = '\\x00'",
        "owner_kind = 7",
        "slot = ''",
    ] {
        let (store, host, schema) = fresh().await;
        let (record, other) = (connection("alice", 1), connection("bob", 1));
        insert(&store, &record).await.expect("works");
        execute(&host, format!("UPDATE {schema}.vault_connections SET {edit}")).await;
        insert(&store, &other).await.expect("works");

        let error = store.get(&record.key).await.expect_err(edit);
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{edit}");
        assert_eq!(store.get(&other.key).await.expect("unharmed"), Some(other));
    }
}
