use std::time::Duration;

use tokio::time::timeout;
use vault_core::Stores;
use vault_core::store::{Condition, ConnectionRecord, ConnectionStore as _, Page, Put, StoreErrorKind};
use vault_servers::pgbouncer::{self, PgBouncer};
use vault_servers::postgres::{Options, Postgres};
use vault_sqlx::sqlx::postgres::PgPoolOptions;
use vault_sqlx::{PostgresOptions, PostgresStore};
use vault_tests::load::{Load, Promise};

use super::support::{blocking, on};
use crate::postgres::support::{connection, owed};

const WRITERS: usize = 4;

/// `postgres://first,second/database`.
fn both(first: &Postgres, second: &Postgres) -> String {
    let url = first.url();
    url.replace(&format!(":{}", first.port()), &format!(":{},127.0.0.1:{}", first.port(), second.port()))
}

async fn open(url: &str) -> Stores {
    Stores::from_backend(PostgresStore::connect(url).await.expect("the server works"))
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_killed_and_started_again_has_lost_nothing() {
    let server = blocking(|| Postgres::start(&Options::durable())).await;
    let stores = open(&server.url()).await;
    let load = Load::start(&stores, WRITERS, Promise::Kept);
    let mut server = server;
    for _ in 0..2 {
        load.progress(100).await;
        server = on(server, Postgres::kill).await;
        load.trouble().await;
        server = on(server, Postgres::restart).await;
    }
    load.progress(100).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_connections_cut_in_the_middle_of_statements_are_replaced() {
    let server = blocking(|| Postgres::start(&Options::durable())).await;
    let stores = open(&server.url()).await;
    let load = Load::start(&stores, WRITERS, Promise::Kept);
    let mut server = server;
    for _ in 0..5 {
        load.progress(50).await;
        server = on(server, |server| server.drop_connections()).await;
    }
    load.progress(100).await;
    load.finish().await;
}

/// What it had passed on is done or not, and it told nobody.
#[tokio::test(flavor = "multi_thread")]
async fn s10_a_pgbouncer_killed_and_started_again_has_lost_nothing() {
    let server = blocking(|| Postgres::start(&Options::durable())).await;
    let port = server.port();
    let mut pooler = blocking(move || PgBouncer::start(port, &pgbouncer::Options::default())).await;
    let store = PostgresOptions::new().transaction_pooler().connect(&pooler.url()).await;
    let stores = Stores::from_backend(store.expect("a query gets through"));
    let load = Load::start(&stores, WRITERS, Promise::Kept);
    for _ in 0..3 {
        load.progress(100).await;
        pooler = on(pooler, PgBouncer::kill).await;
        load.trouble().await;
        pooler = on(pooler, PgBouncer::restart).await;
    }
    load.progress(100).await;
    load.finish().await;
}

/// With `synchronous_standby_names` set PostgreSQL promises that the standby has what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_is_found_and_has_every_acknowledged_write() {
    let primary = blocking(|| Postgres::start(&Options::durable())).await;
    let (primary, standby) = blocking(move || {
        let standby = primary.standby()?;
        primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        primary.query("SELECT pg_reload_conf()")?;
        Ok((primary, standby))
    })
    .await;
    let stores = open(&both(&primary, &standby)).await;
    let load = Load::start(&stores, WRITERS, Promise::Kept);
    load.progress(100).await;
    let _dead = on(primary, Postgres::kill).await;
    load.trouble().await;
    let _promoted = on(standby, |standby| {
        standby.promote()?;
        // It waits for no standby of its own.
        standby.query("ALTER SYSTEM SET synchronous_standby_names = ''")?;
        standby.query("SELECT pg_reload_conf()").map(drop)
    })
    .await;
    load.progress(100).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_full_disk_is_unavailable_and_leaves_no_partial_write() {
    const MIB: u64 = 1 << 20;
    let server = blocking(|| Postgres::start(&Options::durable())).await;
    let store = PostgresStore::connect(&server.url()).await.expect("the server works");
    let server = on(server, |server| server.limit_files(Some(17 * MIB))).await;

    let mut last = None;
    for n in 0..40 {
        let record = connection(&format!("user {n}"), 1);
        let record = ConnectionRecord { credential: vec![n; MIB as usize].into(), ..record };
        let owed = owed(&connection(&format!("former user {n}"), 1), n);
        match store.put(&record, Condition::Absent, Some(&owed), None).await {
            Ok(put) => assert_eq!(put, Put::Written),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                assert!(error.is_retryable());
                last = Some((record, owed));
                break;
            }
        }
    }
    let (record, owed) = last.expect("the disk must be full by now");
    assert_eq!(store.get(&record.key).await.expect("readable"), None);
    let count = async || {
        let listed = store.list_owed(&record.key.tenant, None, &Page::first(100)).await;
        listed.expect("readable").items.len()
    };
    let before = count().await;
    assert!(store.get(&connection("user 0", 1).key).await.expect("readable").is_some());

    let _server = on(server, |server| server.limit_files(None)).await;
    let put = store.put(&record, Condition::Absent, Some(&owed), None).await;
    assert_eq!(put.expect("there is room again"), Put::Written);
    assert_eq!(count().await, before + 1);
}

/// A server that hangs closes nothing: without a limit of our own a call would wait until TCP gives up, a quarter of an hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_unavailable_in_bounded_time() {
    let server = blocking(|| Postgres::start(&Options::fast())).await;
    // What a call finds that was on its way when the server stopped: a connection that nobody has tested.
    let pool = PgPoolOptions::new().test_before_acquire(false).max_connections(1);
    let options = PostgresOptions::new().pool(pool.acquire_timeout(Duration::from_secs(5)));
    let options = options.response_timeout(Duration::from_millis(500));
    let store = options.connect(&server.url()).await.expect("the server works");
    let record = connection("alice", 1);
    let put = store.put(&record, Condition::Absent, None, None).await;
    assert_eq!(put.expect("works"), Put::Written);

    let server = on(server, Postgres::pause).await;
    let answer = timeout(Duration::from_secs(15), store.get(&record.key)).await;
    let error = answer.expect("an answer in time").expect_err("it hangs");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.is_retryable());

    let _server = on(server, Postgres::resume).await;
    assert_eq!(store.get(&record.key).await.expect("on a new connection"), Some(record));
}
