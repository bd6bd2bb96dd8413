//! Changes that are told to whoever listens.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};
use vault_core::id::AttemptId;
use vault_core::store::{
    Change, Condition, ConnectionRecord, ConnectionStore as _, ConnectionWatch as _, LeaseAcquire, Put,
    StoreErrorKind,
};
use vault_servers::postgres::{Options, Postgres};
use vault_sqlx::{PostgresOptions, PostgresStore};
use vault_tests::changes::{lost, next};
use vault_tests::servers::{address, unique_name};

use super::support::{changed, connection, execute, fresh, insert, on, pool, pool_with};
use crate::outages::support::{blocking, on as on_server};

/// With another credential.
fn refreshed(record: &ConnectionRecord) -> ConnectionRecord {
    ConnectionRecord { credential: b"another sealed credential".to_vec().into(), ..changed(record) }
}

async fn write(store: &PostgresStore, record: &ConnectionRecord, next: &ConnectionRecord) {
    let put = store.put(next, Condition::Version(record.version), None, None).await;
    assert_eq!(put.expect("works"), Put::Written);
}

#[tokio::test]
async fn what_another_process_changes_or_removes_is_told() {
    let (store, host, schema) = fresh().await;
    let other = on(pool(), &schema);
    let (alice, bob) = (connection("alice", 1), connection("bob", 1));
    insert(&store, &alice).await.expect("works");
    insert(&store, &bob).await.expect("works");

    let mut changes = store.watch().await.expect("works");
    // A lease, and what leaves the credential as it is, are no changes.
    let holder = AttemptId::from_bytes([1; 16]);
    let lease = other.acquire_lease(&bob.key, holder, Duration::from_secs(1)).await;
    assert!(matches!(lease, Ok(LeaseAcquire::Acquired(_, _))), "{lease:?}");
    write(&other, &bob, &changed(&bob)).await;

    write(&other, &alice, &refreshed(&alice)).await;
    assert_eq!(next(&mut changes).await, Change::Connection(alice.key.digest()));
    // Two listeners hear of everything.
    let mut more = on(pool(), &schema).watch().await.expect("works");
    let deleted = other.delete(&bob.key, changed(&bob).version, None).await;
    assert_eq!(deleted.expect("works"), Put::Written);
    assert_eq!(next(&mut changes).await, Change::Connection(bob.key.digest()));
    assert_eq!(next(&mut more).await, Change::Connection(bob.key.digest()));
    execute(&host, format!("TRUNCATE {schema}.vault_connections")).await;
    assert_eq!(next(&mut changes).await, Change::Any);
}

#[tokio::test]
async fn a_dropped_wait_loses_no_change() {
    let (store, _, _) = fresh().await;
    let alice = connection("alice", 1);
    insert(&store, &alice).await.expect("works");
    let mut changes = store.watch().await.expect("works");
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_millis(1), changes.next()).await.is_err());
    }
    write(&store, &alice, &refreshed(&alice)).await;
    assert_eq!(next(&mut changes).await, Change::Connection(alice.key.digest()));
}

#[tokio::test]
async fn a_channel_whose_connection_was_cut_fails_and_can_be_opened_again() {
    let (_, host, schema) = fresh().await;
    let name = unique_name();
    let store = on(pool_with(&format!("application_name={name}")), &schema);
    let mut changes = store.watch().await.expect("works");
    let named = format!("FROM pg_stat_activity WHERE application_name = '{name}'");
    execute(&host, format!("SELECT pg_terminate_backend(pid) {named}")).await;
    assert_eq!(lost(&mut changes).await, StoreErrorKind::Unavailable);

    let mut changes = store.watch().await.expect("works");
    let alice = connection("alice", 1);
    insert(&store, &alice).await.expect("works");
    write(&store, &alice, &refreshed(&alice)).await;
    assert_eq!(next(&mut changes).await, Change::Connection(alice.key.digest()));
    store.close().await;
    assert_eq!(lost(&mut changes).await, StoreErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_to_a_server_that_hangs_fails_by_itself() {
    let server = blocking(|| Postgres::start(&Options::fast())).await;
    let store = PostgresStore::connect(&server.url()).await.expect("the server works");
    let mut changes = store.watch().await.expect("works");
    let server = on_server(server, Postgres::pause).await;
    assert_eq!(lost(&mut changes).await, StoreErrorKind::Unavailable);
    let _server = on_server(server, Postgres::resume).await;
    store.watch().await.expect("works");
}

#[tokio::test]
async fn behind_a_pooler_changes_come_past_it_or_not_at_all() {
    let (_, _, schema) = fresh().await;
    let options = || PostgresOptions::new().schema(&schema).expect("plain").transaction_pooler();
    let through = || PgPool::connect_lazy(&address("VAULT_TEST_PGBOUNCER")).expect("a URL");
    let error = options().on(through()).watch().await.expect_err("it would hear nothing");
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);

    let store = options().direct_url(&address("VAULT_TEST_POSTGRES")).expect("a URL").on(through());
    let mut changes = store.watch().await.expect("works");
    let alice = connection("alice", 1);
    insert(&store, &alice).await.expect("works");
    write(&store, &alice, &refreshed(&alice)).await;
    assert_eq!(next(&mut changes).await, Change::Connection(alice.key.digest()));
}

#[tokio::test]
async fn turning_the_triggers_off_ends_channels_and_opening_one_turns_them_on() {
    let (store, host, schema) = fresh().await;
    let mut changes = store.watch().await.expect("works");
    execute(&host, format!("ALTER TABLE {schema}.vault_connections DISABLE TRIGGER USER")).await;
    assert_eq!(lost(&mut changes).await, StoreErrorKind::Unavailable);

    let mut changes = store.watch().await.expect("works");
    let alice = connection("alice", 1);
    insert(&store, &alice).await.expect("works");
    write(&store, &alice, &refreshed(&alice)).await;
    assert_eq!(next(&mut changes).await, Change::Connection(alice.key.digest()));
}

#[tokio::test]
async fn turning_the_triggers_on_waits_for_no_long_transaction() {
    let (store, host, schema) = fresh().await;
    let mut writing = host.begin().await.expect("begun");
    let lock = format!("LOCK TABLE {schema}.vault_connections IN ROW EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *writing).await.expect("locked");
    let error = store.enable_notifications().await.expect_err("somebody writes");
    assert_eq!(error.kind(), StoreErrorKind::Busy);
    writing.rollback().await.expect("unlocked");
    store.enable_notifications().await.expect("nobody writes");
}

#[tokio::test]
async fn who_does_not_own_the_tables_listens_once_the_owner_lets_the_server_tell() {
    let (owners, host, schema) = fresh().await;
    let role = unique_name();
    execute(
        &host,
        format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};"
        ),
    )
    .await;
    let store = on(pool_with(&format!("role={role}")), &schema);
    let error = store.watch().await.expect_err("nothing would be told");
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);

    owners.enable_notifications().await.expect("it may");
    let mut changes = store.watch().await.expect("works");
    let alice = connection("alice", 1);
    insert(&store, &alice).await.expect("works");
    write(&store, &alice, &refreshed(&alice)).await;
    assert_eq!(next(&mut changes).await, Change::Connection(alice.key.digest()));
}
