use std::time::Duration;

use vault_core::Stores;
use vault_core::store::{
    Change, Condition, ConnectionStore as _, ConnectionWatch as _, Finish, FlowInsert, Put,
};
use vault_redis::{RedisStore, RedisStoreBuilder};
use vault_servers::cluster::RedisCluster;
use vault_servers::redis::Options;
use vault_tests::changes::{lost, next};
use vault_tests::load::{Load, Promise};

use super::support::{blocking, on};
use crate::postgres::support::{NOW, connection, flow};

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

/// What a script empties in a slot that moves, it cannot fill again.
#[tokio::test(flavor = "multi_thread")]
async fn s09_a_flow_begins_and_ends_while_the_slot_of_its_owner_moves() {
    let (mut cluster, stores) = start(RedisStore::builder().shards(1)).await;
    let slot = cluster.node(0).command(&["CLUSTER", "KEYSLOT", "{vault:0}"]).expect("works").text();
    let slot: u16 = slot.parse().expect("a slot");
    let to = (cluster.master_of(slot).expect("it has one") + 1) % 3;
    let (record, flows, hour) = (connection("ann", 1), &stores.flows, Duration::from_secs(3600));
    let stale = flow(&record, 1, NOW.saturating_sub(hour));
    let inserted = flows.insert(&stale, 9, NOW.saturating_sub(2 * hour)).await;
    assert_eq!(inserted.expect("works"), FlowInsert::Inserted);

    cluster = on(cluster, move |cluster| cluster.begin_move(slot, to)).await;
    let flow = flow(&record, 2, NOW.saturating_add(hour));
    assert_eq!(flows.insert(&flow, 9, NOW).await.expect("the stale one goes"), FlowInsert::Inserted);
    let taken = flows.take(&flow.state_hash, flow.expires_at, NOW).await.expect("it is the only one");
    assert_eq!(taken.as_ref(), Some(&flow));

    let _cluster = on(cluster, move |cluster| cluster.finish_move(slot, to)).await;
    let stored = stores.connections.put_and_finish(&record, Condition::Absent, None, &flow).await;
    assert_eq!(stored.expect("works"), Some(Finish::Written));
    assert_eq!(flows.cancel(&record.key.tenant, &record.key.owner, None).await.expect("works"), 0);
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
