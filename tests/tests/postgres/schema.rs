use sqlx::PgPool;
use vault_core::store::{
    Change, ConnectionRecord, ConnectionStore as _, ConnectionWatch as _, Put, StoreErrorKind,
};
use vault_sqlx::PostgresOptions;
use vault_tests::changes::next;
use vault_tests::servers::{address, unique_name};

use super::support::{NOW, connection, execute, fresh, insert, number, on, pool, pool_with};

/// How many files the schema has.
const STEPS: i64 = 4;

async fn steps(pool: &PgPool, ledger: &str) -> i64 {
    number(pool, format!("SELECT count(*) FROM {ledger}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_four_that_start_at_once_make_one_schema() {
    for isolation in ["", "default_transaction_isolation=serializable"] {
        let name = unique_name();
        let starting: Vec<_> = (0..4)
            .map(|_| on(pool_with(isolation), &name))
            .map(|store| tokio::spawn(async move { store.migrate().await.map(|()| store) }))
            .collect();
        for (n, started) in starting.into_iter().enumerate() {
            let store = started.await.expect("no panic").expect("started");
            insert(&store, &connection(&format!("u{n}"), 1)).await.expect("works");
        }
        assert_eq!(steps(&pool(), &format!("{name}.vault_schema")).await, STEPS);
    }
}

#[tokio::test]
async fn s13_migrating_again_changes_nothing() {
    let (store, pool, schema) = fresh().await;
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");
    store.migrate().await.expect("up to date");
    assert_eq!(store.get(&record.key).await.expect("works"), Some(record));
    assert_eq!(steps(&pool, &format!("{schema}.vault_schema")).await, STEPS);
}

#[tokio::test]
async fn s13_a_newer_schema_is_refused_and_left_alone() {
    let (store, pool, schema) = fresh().await;
    execute(
        &pool,
        format!("INSERT INTO {schema}.vault_schema VALUES (5, 0); DROP TABLE {schema}.vault_keys;"),
    )
    .await;

    let error = store.migrate().await.expect_err("too new");
    assert_eq!(error.kind(), StoreErrorKind::SchemaTooNew);
    assert!(!error.is_retryable());
    let keys = format!("SELECT count(to_regclass('{schema}.vault_keys'))");
    assert_eq!(number(&pool, keys).await, 0, "nothing was created");
}

#[tokio::test]
async fn the_schema_keeps_to_its_names() {
    let (schema, host) = (unique_name(), pool());
    execute(
        &host,
        format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}._sqlx_migrations (x int);
             CREATE TABLE {schema}.connections (x int); INSERT INTO {schema}.connections VALUES (1);"
        ),
    )
    .await;
    let named = |prefix| PostgresOptions::new().schema(&schema).and_then(|options| options.prefix(prefix));
    let first = named("first_").expect("plain").on(pool());
    let second = named("second_").expect("plain").on(pool());
    first.migrate().await.expect("beside the host's");
    second.migrate().await.expect("beside the first's");

    let record = connection("alice", 1);
    insert(&first, &record).await.expect("works");
    assert_eq!(second.get(&record.key).await.expect("works"), None);
    assert_eq!(number(&host, format!("SELECT count(*) FROM {schema}.first_connections")).await, 1);
    assert_eq!(number(&host, format!("SELECT count(*) FROM {schema}.connections")).await, 1);
    let strangers = format!(
        "SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace
         AND relname NOT LIKE 'first_%' AND relname NOT LIKE 'second_%'"
    );
    assert_eq!(number(&host, strangers).await, 2, "the host's two tables");
}

const FILES: [&str; STEPS as usize] = [
    include_str!("../../../vault-sqlx/schema/postgres/0001_init.sql"),
    include_str!("../../../vault-sqlx/schema/postgres/0002_changes.sql"),
    include_str!("../../../vault-sqlx/schema/postgres/0003_inline.sql"),
    include_str!("../../../vault-sqlx/schema/postgres/0004_partitions.sql"),
];

async fn migrate_by_hand(host: &PgPool, schema: &str, script: &str) {
    let script =
        format!("CREATE SCHEMA {schema}; BEGIN; SET LOCAL search_path TO {schema}; {script} COMMIT;");
    execute(host, script).await;
}

#[tokio::test]
async fn a_host_may_migrate_by_itself() {
    let (schema, host) = (unique_name(), pool());
    migrate_by_hand(&host, &schema, &FILES.concat()).await;
    let store = on(pool(), &schema);
    insert(&store, &connection("alice", 1)).await.expect("works");
    store.migrate().await.expect("up to date");
    assert_eq!(steps(&host, &format!("{schema}.vault_schema")).await, STEPS);
}

/// A connection whose credential has so many bytes.
fn sized(user: &str, bytes: usize) -> ConnectionRecord {
    ConnectionRecord { credential: vec![7; bytes].into(), ..connection(user, 1) }
}

/// How much of the table is not in its rows.
async fn out_of_line(pool: &PgPool, table: &str) -> i64 {
    let toast = format!("SELECT reltoastrelid FROM pg_class WHERE oid = '{table}'::regclass");
    number(pool, format!("SELECT pg_relation_size(({toast}))")).await
}

#[tokio::test]
async fn a_credential_is_in_its_row_up_to_half_a_page() {
    let (store, pool, schema) = fresh().await;
    let table = format!("{schema}.vault_connections");
    insert(&store, &sized("alice", 3_500)).await.expect("works");
    assert_eq!(out_of_line(&pool, &table).await, 0);
    insert(&store, &sized("bob", 4_100)).await.expect("works");
    assert_ne!(out_of_line(&pool, &table).await, 0);
}

#[tokio::test]
async fn a_host_may_partition_the_connections() {
    const PARTS: u32 = 4;
    let (schema, host) = (unique_name(), pool());
    let (whole, partitioned) =
        ("credential bytea NOT NULL\n);", "credential bytea NOT NULL\n) PARTITION BY HASH (id);");
    let partition: String = (0..PARTS)
        .map(|n| {
            let values = format!("FOR VALUES WITH (MODULUS {PARTS}, REMAINDER {n})");
            format!("CREATE TABLE part_{n} PARTITION OF vault_connections {values};")
        })
        .collect();
    let script = FILES[0].replacen(whole, &format!("{partitioned}{partition}"), 1) + FILES[1];
    migrate_by_hand(&host, &schema, &script).await;
    let store = on(pool(), &schema);
    store.migrate().await.expect("the steps that are left");
    for user in 0..40 {
        insert(&store, &sized(&format!("user {user}"), 3_500)).await.expect("works");
    }
    for part in (0..PARTS).map(|n| format!("{schema}.part_{n}")) {
        assert_ne!(number(&host, format!("SELECT count(*) FROM {part}")).await, 0, "{part}");
        assert_eq!(out_of_line(&host, &part).await, 0, "{part}");
    }
    assert_eq!(store.due(NOW, 100).await.expect("works").len(), 40);

    let alice = connection("alice", 1);
    insert(&store, &alice).await.expect("works");
    let mut changes = store.watch().await.expect("works");
    let deleted = on(pool(), &schema).delete(&alice.key, alice.version, None).await;
    assert_eq!(deleted.expect("works"), Put::Written);
    assert_eq!(next(&mut changes).await, Change::Connection(alice.key.digest()));
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let (database, host) = (unique_name(), pool());
    let create = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    execute(&host, format!("CREATE DATABASE {database} {create}")).await;
    let mut url = url::Url::parse(&address("VAULT_TEST_POSTGRES")).expect("a URL");
    url.set_path(&database);
    let error = PostgresOptions::new().connect(url.as_str()).await.expect_err("LATIN1");
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    assert!(error.to_string().contains("UTF8"), "{error}");
}
