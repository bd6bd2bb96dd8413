//! What a store accepts to start on, and what it says when it does not.

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use vault_core::store::{Condition, ConnectionStore, Put, StoreError, StoreErrorKind};
use vault_redis::redis;
use vault_redis::{RedisStore, RedisStoreBuilder};

use crate::support::{WORKS, builder, connection, key, keys_with, prefix, raw, server, servers};

/// All that an error says, sources included.
fn chain(error: &StoreError) -> String {
    let links = successors(Some(error as &dyn Error), |error| (*error).source());
    links.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn refused(builder: RedisStoreBuilder, server: String) -> StoreError {
    builder.connect(server).await.expect_err("it must be refused")
}

#[tokio::test]
async fn s07_a_server_that_may_lose_records_is_refused_unless_that_is_accepted() {
    let evicting = servers("VAULT_TEST_REDIS_EVICTING").remove(0);
    let error = refused(builder(), evicting.clone()).await;
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    assert!(error.to_string().contains("danger_accept_eviction"), "{error}");

    let error = refused(builder().danger_accept_eviction(), evicting.clone()).await;
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    assert!(error.to_string().contains("danger_accept_no_persistence"), "{error}");

    let accepted = builder().danger_accept_eviction().danger_accept_no_persistence();
    let store = accepted.connect(evicting).await.expect("everything is accepted");
    let record = connection(&key("alice"));
    assert_eq!(
        ConnectionStore::put(&store, &record, Condition::Absent, None, None).await.expect(WORKS),
        Put::Written
    );
}

#[tokio::test]
async fn another_number_of_shards_is_refused_naming_both() {
    let prefix = prefix();
    let with = |shards| RedisStore::builder().prefix(prefix.clone()).shards(shards);
    with(8).connect(server()).await.expect("a new store");
    with(8).connect(server()).await.expect("the same store");
    let error = refused(with(16), server()).await;
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    assert!(chain(&error).contains("8 in the store, 16 here"), "{}", chain(&error));
}

#[tokio::test]
async fn a_newer_layout_is_refused_and_left_as_it_is() {
    let prefix = prefix();
    let store = || RedisStore::builder().prefix(prefix.clone());
    store().connect(server()).await.expect("a new store");
    let (mut raw, meta) = (raw().await, format!("{prefix}:meta"));
    let mut set = redis::cmd("HSET");
    set.arg(&meta).arg("layout").arg(2);
    set.query_async::<()>(&mut raw).await.expect(WORKS);

    let error = refused(store(), server()).await;
    assert_eq!(error.kind(), StoreErrorKind::SchemaTooNew, "{error}");
    let mut get = redis::cmd("HGET");
    get.arg(&meta).arg("layout");
    assert_eq!(get.query_async::<u32>(&mut raw).await.expect(WORKS), 2);
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused() {
    let long = "x".repeat(65);
    for prefix in ["", "a{b", "a}b", "a\nb", &long] {
        let error = refused(RedisStore::builder().prefix(prefix), server()).await;
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{prefix:?}");
    }
    for shards in [0, 1025] {
        let error = refused(builder().shards(shards), server()).await;
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{shards}");
    }
}

#[tokio::test]
async fn times_without_end_may_be_allowed() {
    let lax = || builder().connect_timeout(Duration::MAX).response_timeout(Duration::MAX);
    lax().connect(server()).await.expect(WORKS);
    let cluster = servers("VAULT_TEST_REDIS_CLUSTER");
    lax().danger_accept_no_persistence().cluster(cluster).await.expect(WORKS);
}

/// Another node has the keys, at the start or later, and no retry would change that.
#[tokio::test]
async fn a_node_of_a_cluster_is_not_taken_for_a_server_of_its_own() {
    let node = servers("VAULT_TEST_REDIS_CLUSTER").remove(0);
    let mut refused = 0;
    for _ in 0..20 {
        let started = builder().danger_accept_no_persistence().connect(node.as_str()).await;
        if let Err(error) = started {
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error:?}");
            assert!(chain(&error).contains("node of a cluster"), "{}", chain(&error));
            refused += 1;
        }
    }
    assert!(refused > 0, "it has all slots");
}

#[tokio::test]
async fn stores_with_different_prefixes_do_not_meet() {
    let (one, other) = (prefix(), prefix());
    let store = async |prefix: &str| {
        let builder = RedisStore::builder().prefix(prefix);
        builder.connect(server()).await.expect("the server is up")
    };
    let record = connection(&key("alice"));
    let written = ConnectionStore::put(&store(&one).await, &record, Condition::Absent, None, None).await;
    assert_eq!(written.expect(WORKS), Put::Written);
    assert_eq!(ConnectionStore::get(&store(&other).await, &record.key).await.expect(WORKS), None);
    assert_eq!(keys_with(&other).await, [format!("{other}:meta").into_bytes()]);
}

#[tokio::test]
async fn any_number_of_shards_lists_alike() {
    for shards in [1, 17, 1024] {
        let store = builder().shards(shards).connect(server()).await.expect("the server is up");
        vault_testkit::conformance::listing::every_page_size_lists_everything_once(&store).await;
        vault_testkit::conformance::keys::keys_are_listed_page_by_page(&store).await;
        vault_testkit::conformance::schedule::the_longest_due_come_first(&store).await;
    }
}

#[tokio::test]
async fn a_password_is_in_no_error_and_in_no_debug_text() {
    let url = server().replace("redis://", "redis://hunter1:hunter2@");
    let error = refused(builder(), url).await;
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{}", chain(&error));
    assert!(!format!("{error:?} {}", chain(&error)).contains("hunter"), "{error:?}");

    let login = redis::RedisConnectionInfo::default().set_username("hunter1").set_password("hunter2");
    let builder = builder().master_login(login);
    assert!(!format!("{builder:?}").contains("hunter"));
    let store = builder.connect(server()).await.expect("the login is for a master behind sentinels");
    assert!(!format!("{store:?}").contains("hunter"));
}

#[tokio::test]
async fn s01_a_server_that_is_not_there_is_unavailable() {
    // Nothing listens on port 1.
    let error = refused(builder(), "redis://127.0.0.1:1".to_owned()).await;
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let nodes = ["redis://127.0.0.1:1"];
    let error = builder().cluster(nodes).await.expect_err("nothing is there");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", chain(&error));
    let error = builder().sentinel(nodes, "mymaster").await.expect_err("nothing is there");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", chain(&error));
}

#[tokio::test]
async fn a_write_that_too_few_replicas_have_is_not_acknowledged() {
    let store = builder().wait(1, Duration::from_millis(10)).connect(server()).await;
    let error = store.expect_err("the server has no replica, and a new store is written to");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("unknown"), "{error}");
}

#[tokio::test]
async fn a_write_that_a_replica_has_is_acknowledged() {
    let wait = || builder().danger_accept_no_persistence().wait(1, Duration::from_secs(2));
    let cluster = wait().cluster(servers("VAULT_TEST_REDIS_CLUSTER")).await;
    let sentinel = wait().sentinel(servers("VAULT_TEST_REDIS_SENTINEL"), "mymaster").await;
    for store in [cluster, sentinel] {
        let store = store.expect("there is a replica");
        vault_testkit::conformance::connections::a_connection_put_is_compare_and_swap(&store).await;
        vault_testkit::conformance::flows::a_flow_is_taken_once(&store).await;
    }
}
