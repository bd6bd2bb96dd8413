use std::time::Duration;

use vault_core::Stores;
use vault_core::store::{Change, Condition, ConnectionStore as _, ConnectionWatch as _, Put};
use vault_redis::{RedisStore, RedisStoreBuilder};
use vault_servers::redis::Options;
use vault_servers::sentinel::{SERVICE, Sentinel};
use vault_tests::changes::{lost, next};
use vault_tests::load::{Load, Promise};

use super::support::{blocking, on};
use crate::postgres::support::connection;

/// Kills the master twice; the sentinels promote the other server each time.
async fn fail_over(builder: RedisStoreBuilder, promise: Promise) {
    let mut servers = blocking(|| Sentinel::start(&Options::default())).await;
    let store = builder.sentinel(servers.urls(), SERVICE).await.expect("the master works");
    let load = Load::start(&Stores::from_backend(store), 4, promise);
    for _ in 0..2 {
        load.progress(200).await;
        servers = on(servers, |servers| {
            let old = servers.failover()?;
            servers.restart(old)?;
            servers.wait_until_whole()
        })
        .await;
    }
    load.trouble_felt();
    load.progress(200).await;
    load.finish().await;
}

/// A master acknowledges before its replica has a write: those of its last moment may be gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_is_found_and_answers_nothing_that_was_never_written() {
    fail_over(RedisStore::builder(), Promise::MayBeLost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_that_was_waited_for_has_every_acknowledged_write() {
    let patient = RedisStore::builder().wait(1, Duration::from_secs(1));
    fail_over(patient, Promise::Kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_a_channel_of_changes_fails_with_the_master_and_opens_on_the_promoted_replica() {
    let mut servers = blocking(|| Sentinel::start(&Options::default())).await;
    let store = RedisStore::sentinel(servers.urls(), SERVICE).await.expect("the master works");
    let mut changes = store.watch().await.expect("works");
    servers = on(servers, |servers| servers.failover().map(drop)).await;
    lost(&mut changes).await;

    let mut changes = store.watch().await.expect("works");
    let record = connection("alice", 1);
    assert_eq!(store.put(&record, Condition::Absent, None, None).await.expect("works"), Put::Written);
    assert_eq!(store.delete(&record.key, record.version, None).await.expect("works"), Put::Written);
    assert_eq!(next(&mut changes).await, Change::Connection(record.key.digest()));
    drop(servers);
}
