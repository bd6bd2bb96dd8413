use std::time::Duration;

use vault_core::Stores;
use vault_core::store::{Change, Condition, ConnectionStore as _, ConnectionWatch as _, Put, StoreErrorKind};
use vault_redis::RedisStore;
use vault_servers::redis::{Options, Redis};
use vault_tests::changes::{lost, next};
use vault_tests::load::{Load, Promise};

use super::support::{blocking, on};
use crate::postgres::support::connection;

const WRITERS: usize = 4;

async fn open(server: &Redis) -> Stores {
    Stores::from_backend(RedisStore::connect(server.url()).await.expect("the server works"))
}

/// With `appendfsync always` Redis promises that what it acknowledged is on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_and_started_again_has_lost_nothing() {
    let mut server = blocking(|| Redis::start(&Options::default())).await;
    let stores = open(&server).await;
    let load = Load::start(&stores, WRITERS, Promise::Kept);
    for _ in 0..2 {
        load.progress(200).await;
        server = on(server, Redis::kill).await;
        load.trouble().await;
        server = on(server, Redis::restart).await;
    }
    load.progress(200).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_is_waited_for_and_then_unavailable() {
    let server = blocking(|| Redis::start(&Options::default())).await;
    let builder = RedisStore::builder().response_timeout(Duration::from_millis(200));
    let store = builder.connect(server.url()).await.expect("the server works");
    let load = Load::start(&Stores::from_backend(store), WRITERS, Promise::Kept);
    load.progress(100).await;
    let server = on(server, Redis::pause).await;
    load.trouble().await;
    let _server = on(server, Redis::resume).await;
    load.progress(100).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_connections_that_redis_cuts_are_replaced() {
    let mut server = blocking(|| Redis::start(&Options::default())).await;
    let stores = open(&server).await;
    let load = Load::start(&stores, WRITERS, Promise::Kept);
    for _ in 0..5 {
        load.progress(50).await;
        server = on(server, |server| server.command(&["CLIENT", "KILL", "TYPE", "normal"]).map(drop)).await;
    }
    load.trouble_felt();
    load.progress(100).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_full_redis_takes_no_writes_and_can_be_read() {
    let server = blocking(|| Redis::start(&Options::default())).await;
    let store = RedisStore::connect(server.url()).await.expect("the server works");
    let record = connection("alice", 1);
    let put = store.put(&record, Condition::Absent, None, None).await;
    assert_eq!(put.expect("there is room"), Put::Written);

    let server = on(server, |server| server.command(&["CONFIG", "SET", "maxmemory", "1"]).map(drop)).await;
    let other = connection("bob", 1);
    let error = store.put(&other, Condition::Absent, None, None).await.expect_err("full");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.is_retryable());
    assert_eq!(store.get(&other.key).await.expect("readable"), None);
    assert_eq!(store.get(&record.key).await.expect("readable"), Some(record));

    let _server = on(server, |server| server.command(&["CONFIG", "SET", "maxmemory", "0"]).map(drop)).await;
    let put = store.put(&other, Condition::Absent, None, None).await;
    assert_eq!(put.expect("there is room again"), Put::Written);
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_flushed_redis_is_empty_and_goes_on() {
    let server = blocking(|| Redis::start(&Options::default())).await;
    let store = RedisStore::connect(server.url()).await.expect("the server works");
    let record = connection("alice", 1);
    let put = store.put(&record, Condition::Absent, None, None).await;
    assert_eq!(put.expect("works"), Put::Written);
    let _server = on(server, |server| {
        server.command(&["FLUSHALL"])?;
        server.command(&["SCRIPT", "FLUSH"]).map(drop)
    })
    .await;
    assert_eq!(store.read(&record.key).await.expect("works"), None);
    let put = store.put(&record, Condition::Version(record.version), None, None).await;
    assert_eq!(put.expect("works"), Put::Conflict(None));
    let put = store.put(&record, Condition::Absent, None, None).await;
    assert_eq!(put.expect("works"), Put::Written);
}

/// However the channel of changes breaks, who listens learns of it, and can listen again.
#[tokio::test(flavor = "multi_thread")]
async fn v06_a_channel_of_changes_that_breaks_fails_and_can_be_opened_again() {
    let mut server = blocking(|| Redis::start(&Options::default())).await;
    let store = RedisStore::connect(server.url()).await.expect("the server works");
    let record = connection("alice", 1);
    let troubles: [fn(&mut Redis) -> vault_servers::Result<()>; 4] = [
        |server| server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).map(drop),
        Redis::kill,
        Redis::pause,
        // Then others write elsewhere.
        |server| server.command(&["REPLICAOF", "127.0.0.1", "1"]).map(drop),
    ];
    for trouble in troubles {
        let mut changes = store.watch().await.expect("works");
        server = on(server, trouble).await;
        lost(&mut changes).await;
        server = on(server, |server| {
            if !server.is_running() {
                server.restart()?;
            }
            server.resume()?;
            server.command(&["REPLICAOF", "NO", "ONE"]).map(drop)
        })
        .await;
    }
    let mut changes = store.watch().await.expect("works");
    assert_eq!(store.put(&record, Condition::Absent, None, None).await.expect("works"), Put::Written);
    assert_eq!(store.delete(&record.key, record.version, None).await.expect("works"), Put::Written);
    assert_eq!(next(&mut changes).await, Change::Connection(record.key.digest()));
}
