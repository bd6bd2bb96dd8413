//! Changes that are told to whoever listens.

use std::time::Duration;

use vault_core::id::AttemptId;
use vault_core::store::{
    Change, Changes, Condition, ConnectionRecord, ConnectionStore, ConnectionWatch as _, LeaseAcquire,
    LeaseHolder, Put, StoreErrorKind,
};
use vault_redis::RedisStore;
use vault_redis::redis::{self, IntoConnectionInfo as _};

use crate::support::{WORKS, builder, connection, key, prefix, raw, server, servers, version};

async fn put(store: &RedisStore, record: &ConnectionRecord, condition: Condition) {
    let put = ConnectionStore::put(store, record, condition, None, None).await;
    assert_eq!(put.expect(WORKS), Put::Written);
}

async fn delete(store: &RedisStore, record: &ConnectionRecord) {
    let deleted = ConnectionStore::delete(store, &record.key, record.version, None).await;
    assert_eq!(deleted.expect(WORKS), Put::Written);
}

async fn next(changes: &mut Box<dyn Changes>) -> Change {
    let next = tokio::time::timeout(Duration::from_secs(30), changes.next()).await;
    next.expect("in time").expect("the channel works")
}

/// On one server, in a cluster and behind sentinels.
async fn stores() -> [RedisStore; 3] {
    let lax = || builder().danger_accept_no_persistence();
    let cluster = lax().cluster(servers("VAULT_TEST_REDIS_CLUSTER")).await;
    let sentinel = lax().sentinel(servers("VAULT_TEST_REDIS_SENTINEL"), "mymaster").await;
    [builder().connect(server()).await, cluster, sentinel].map(|store| store.expect("it is up"))
}

#[tokio::test]
async fn v06_what_is_changed_or_removed_is_told_and_nothing_else() {
    for store in stores().await {
        let mut changes = store.watch().await.expect(WORKS);
        // So many that they are in shards of every node.
        for user in 0..20 {
            let first = connection(&key(&format!("user {user}")));
            put(&store, &first, Condition::Absent).await;
            let holder = AttemptId::from_bytes([1; 16]);
            let lease = store.acquire_lease(&first.key, holder, Duration::from_secs(1)).await;
            assert!(matches!(lease, Ok(LeaseAcquire::Acquired(..))), "{lease:?}");
            store.release_lease(&first.key, holder, 1).await.expect(WORKS);
            let marked = ConnectionRecord { version: version(), refresh: vec![9], ..first.clone() };
            put(&store, &marked, Condition::Version(first.version)).await;

            let told = Change::Connection(first.key.digest());
            let refreshed =
                ConnectionRecord { version: version(), credential: vec![9].into(), ..marked.clone() };
            put(&store, &refreshed, Condition::Version(marked.version)).await;
            assert_eq!(next(&mut changes).await, told);
            assert_eq!(store.read(&first.key).await.expect(WORKS), Some(refreshed.credential.clone()));
            delete(&store, &refreshed).await;
            assert_eq!(next(&mut changes).await, told);
            assert_eq!(store.read(&first.key).await.expect(WORKS), None);
        }
    }
}

#[tokio::test]
async fn every_listener_hears_every_change_and_a_dropped_wait_loses_none() {
    let [store, ..] = stores().await;
    let mut listeners = [store.watch().await.expect(WORKS), store.watch().await.expect(WORKS)];
    for changes in &mut listeners {
        assert!(tokio::time::timeout(Duration::from_millis(1), changes.next()).await.is_err());
    }
    let record = connection(&key("alice"));
    put(&store, &record, Condition::Absent).await;
    delete(&store, &record).await;
    for changes in &mut listeners {
        assert_eq!(next(changes).await, Change::Connection(record.key.digest()));
    }
}

/// The rights that the crate's documentation lists are enough; without the one to publish nothing is written.
#[tokio::test]
async fn a_user_of_limited_rights_may_write_and_listen_or_do_neither() {
    let (mut raw, prefix) = (raw().await, prefix());
    let keys = [format!("~{prefix}:*"), format!("~{{{prefix}:*")];
    let rights = ["+@read", "+@write", "+@scripting", "+publish", "+subscribe", "+hello", "+info", "+time"];
    let mut store = async |user: &str, channels: &str| {
        let mut acl = redis::cmd("ACL");
        acl.arg("SETUSER").arg(user).arg("on").arg(">pass").arg("resetchannels").arg(channels);
        acl.arg(&keys).arg(&rights).query_async::<()>(&mut raw).await.expect(WORKS);
        let server = server().into_connection_info().expect("an address");
        let login = server.redis_settings().clone().set_username(user).set_password("pass");
        let builder = RedisStore::builder().prefix(prefix.as_str());
        builder.connect(server.set_redis_settings(login)).await.expect("it may")
    };
    let (able, mute) = (format!("{prefix}-able"), format!("{prefix}-mute"));
    let mute = store(&mute, "&nothing").await;
    let able = store(&able, &format!("&{{{prefix}:*")).await;

    let record = connection(&key("alice"));
    let mut changes = able.watch().await.expect(WORKS);
    put(&able, &record, Condition::Absent).await;
    let error = mute.watch().await.expect_err("nothing would be told");
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let deleted = ConnectionStore::delete(&mute, &record.key, record.version, None).await;
    assert!(deleted.is_err(), "nobody would be told");
    let holder = AttemptId::from_bytes([1; 16]);
    let lease = able.acquire_lease(&record.key, holder, Duration::from_secs(600)).await;
    assert!(matches!(lease, Ok(LeaseAcquire::Acquired(..))), "{lease:?}");
    let refreshed = ConnectionRecord { version: version(), credential: vec![9].into(), ..record.clone() };
    let condition = Condition::Version(record.version);
    let put =
        ConnectionStore::put(&mute, &refreshed, condition, None, Some(LeaseHolder { holder, fence: 1 }))
            .await;
    assert!(put.is_err(), "nobody would be told");
    assert!(able.lease(&record.key).await.expect(WORKS).is_some(), "nor is the lease freed");
    assert_eq!(ConnectionStore::get(&able, &record.key).await.expect(WORKS).as_ref(), Some(&record));
    delete(&able, &record).await;
    assert_eq!(next(&mut changes).await, Change::Connection(record.key.digest()));
}
