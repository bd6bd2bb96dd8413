use sqlx::PgPool;
use vault_core::store::{Condition, ConnectionStore as _, Put, StoreErrorKind};
use vault_sqlx::PostgresOptions;
use vault_tests::servers::unique_name;

use super::support::{changed, connection, execute, fresh, insert, on, pool, pool_with};

#[tokio::test]
async fn bytes_are_read_whatever_form_the_server_writes_them_in() {
    let (store, _, schema) = fresh().await;
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");
    let options = || PostgresOptions::new().schema(&schema).expect("plain");
    for options in [options(), options().transaction_pooler()] {
        let store = options.on(pool_with("bytea_output=escape"));
        assert_eq!(store.get(&record.key).await.expect("readable").as_ref(), Some(&record));
    }
}

/// A pool whose user may read and write the tables of that schema, and no more.
async fn unprivileged(host: &PgPool, schema: &str) -> PgPool {
    let role = unique_name();
    execute(
        host,
        format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};"
        ),
    )
    .await;
    pool_with(&format!("role={role}"))
}

#[tokio::test]
async fn a_user_without_the_right_to_create_tables_can_start_and_work() {
    let (_, host, schema) = fresh().await;
    let store = on(unprivileged(&host, &schema).await, &schema);
    store.migrate().await.expect("up to date");
    let record = connection("alice", 1);
    insert(&store, &record).await.expect("works");
    let put = store.put(&changed(&record), Condition::Version(record.version), None, None).await;
    assert_eq!(put.expect("works"), Put::Written);

    let error = on(unprivileged(&host, &schema).await, &unique_name()).migrate().await;
    assert_eq!(error.expect_err("it may not").kind(), StoreErrorKind::Misconfigured);
}

#[tokio::test]
async fn a_schema_may_be_named_as_a_word_of_sql_is() {
    // Not `user` or `order` alone: other tests run on the same server.
    let store = on(pool(), "analyze");
    store.migrate().await.expect("a name like any other");
    execute(&pool(), "DROP SCHEMA \"analyze\" CASCADE".to_owned()).await;
}
