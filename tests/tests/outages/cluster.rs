use std::time::Duration;

use vault_core::Stores;
use vault_core::store::{Change, Condition, ConnectionStore as _, ConnectionWatch as _, Put};
use vault_redis::{RedisStore, RedisStoreBuilder};
use vault_servers::cluster::RedisCluster;
use vault_servers::redis::Options;
use vault_tests::changes::{lost, next};
use vault_tests::load::{Load, Promise};

use super::support::{blocking, on};
use crate::postgres::support::connection;

/// So many that each master has some.
const WRITERS: usize = 12;

async fn start(builder: RedisStoreBuilder) -> (RedisCluster, Stores) {
    let cluster = blocking(|| RedisCluster::start(&Options::default())).await;
    let store = builder.cluster(cluster.urls()).await.expect("the cluster works");
    (cluster, Stores::from_backend(store))
}

/// Kills the masters one after another; a replica takes each one's place.
async fn fail_over(builder: RedisStoreBuilder, promise: Promise) {
    let (mut cluster, stores) = start(builder).await;
    let load = Load::start(&stores, WRITERS, promise);
    for master in 0..2 {
        load.progress(200).await;
        cluster = on(cluster, move |cluster| cluster.kill(master)).await;
        cluster = on(cluster, |cluster| cluster.wait_until_whole()).await;
        // Those whose master has no replica now get nowhere where replicas are waited for; the others do.
        load.progress(50).await;
        cluster = on(cluster, move |cluster| {
            cluster.restart(master)?;
            cluster.wait_until_whole()
        })
        .await;
    }
    load.trouble_felt();
    load.progress(200).await;
    load.finish().await;
}

/// A master acknowledges before its replicas have a write: those of its last moment may be gone.
#[tokio::test(flavor = "multi_thread")]
async fn s09_a_cluster_fails_over_and_answers_nothing_that_was_never_written() {
    fail_over(RedisStore::builder(), Promise::MayBeLost).await;
}

/// Where each master has one replica, the one that confirmed a write is the one that takes over.
#[tokio::test(flavor = "multi_thread")]
async fn s09_a_cluster_that_waits_for_its_replica_fails_over_without_loss() {
    let patient = RedisStore::builder().wait(1, Duration::from_millis(300));
    fail_over(patient, Promise::Kept).await;
}

/// The slots of a store's records go to other nodes while writers are at it, with MOVED and ASK on the way.
#[tokio::test(flavor = "multi_thread")]
async fn s09_a_cluster_moves_slots_and_nobody_loses_anything() {
    const SHARDS: u16 = 4;
    let (mut cluster, stores) = start(RedisStore::builder().shards(SHARDS)).await;
    let load = Load::start(&stores, WRITERS, Promise::Kept);
    for _ in 0..2 {
        for shard in 0..SHARDS {
            load.progress(20).await;
            cluster = on(cluster, move |cluster| {
                let tag = format!("{{vault:{shard}}}");
                let slot = cluster.node(0).command(&["CLUSTER", "KEYSLOT", &tag])?.text().parse()?;
                let to = (cluster.master_of(slot)? + 1) % 3;
                cluster.begin_move(slot, to)?;
                cluster.finish_move(slot, to)
            })
            .await;
        }
    }
    load.progress(200).await;
    load.finish().await;
}

/// Removes connections on every node, each of which is told.
async fn tells_all(store: &RedisStore) {
    let mut changes = store.watch().await.expect("works");
    for user in ["ann", "ben", "cora", "dan", "eve", "finn", "gus", "hans"] {
        let record = connection(user, 1);
        assert_eq!(store.put(&record, Condition::Absent, None, None).await.expect("works"), Put::Written);
        assert_eq!(store.delete(&record.key, record.version, None).await.expect("works"), Put::Written);
        assert_eq!(next(&mut changes).await, Change::Connection(record.key.digest()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_a_channel_of_changes_fails_when_a_node_is_lost_or_a_slot_moves() {
    let mut cluster = blocking(|| RedisCluster::start(&Options::default())).await;
    let builder = RedisStore::builder().shards(8);
    let store = builder.cluster(cluster.urls()).await.expect("the cluster works");
    tells_all(&store).await;

    let mut changes = store.watch().await.expect("works");
    cluster = on(cluster, |cluster| {
        let slot = cluster.node(0).command(&["CLUSTER", "KEYSLOT", "{vault:0}"])?.text().parse()?;
        let to = (cluster.master_of(slot)? + 1) % 3;
        cluster.move_slot(slot, to)
    })
    .await;
    lost(&mut changes).await;
    tells_all(&store).await;

    let mut changes = store.watch().await.expect("works");
    cluster = on(cluster, |cluster| cluster.kill(0)).await;
    lost(&mut changes).await;
    let _cluster = on(cluster, |cluster| cluster.wait_until_whole()).await;
    tells_all(&store).await;
}
