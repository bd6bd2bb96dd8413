//! The cache of one process, told by real servers of what another does: each has a store and connections of its own.

use std::sync::Arc;

use vault_core::id::{ConnectionKey, Owner, Slot, TenantId, UserId};
use vault_core::store::Change;
use vault_core::{ErrorKind, TokenCache};
use vault_tests::backend::{Backend, PostgresSchema, RedisKeys, Telling};
use vault_tests::{World, assert_refused};

use super::{ALMOST, Cached, Line, SECOND};

#[tokio::test(flavor = "multi_thread")]
async fn v06_postgres_tells_other_processes_and_a_cut_channel_serves_nothing_stale() {
    a_disconnect_ends_the_token_elsewhere(Arc::new(PostgresSchema::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_redis_tells_other_processes_and_a_cut_channel_serves_nothing_stale() {
    a_disconnect_ends_the_token_elsewhere(Arc::new(RedisKeys::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v06_redis_cluster_tells_other_processes_and_a_cut_channel_serves_nothing_stale() {
    a_disconnect_ends_the_token_elsewhere(Arc::new(RedisKeys::cluster())).await;
}

async fn a_disconnect_ends_the_token_elsewhere(backend: Arc<impl Telling>) {
    let world = World::builder().backend(Arc::clone(&backend) as Arc<dyn Backend>).start().await;
    let line = Line::over(backend.watch().await);
    let cached = Cached::start(&world, TokenCache::new().watch(line.clone())).await;
    line.until_asked(1).await;
    while_told(&world, &cached, &line).await;
    while_cut(&world, &cached, &line, &*backend).await;
    // Once more, over the channel that came back.
    while_told(&world, &cached, &line).await;
    while_deaf(&world, &cached, &line).await;
}

async fn while_told(world: &World, cached: &Cached<'_>, line: &Line) {
    world.connect("alice").await.expect("alice connects");
    cached.read("alice").await.expect("a token");
    assert_eq!(cached.generation("alice").await, (1, 0));

    line.told.send_modify(Vec::clear);
    world.user("alice").disconnect(world.connector.id()).await.expect("disconnects");
    line.until_told(alices(world), 1).await;
    assert_refused(cached.read("alice").await, ErrorKind::NotConnected, "alice");
}

async fn while_cut(world: &World, cached: &Cached<'_>, line: &Line, backend: &impl Telling) {
    world.connect("alice").await.expect("alice connects");
    cached.read("alice").await.expect("a token");
    assert_eq!(cached.generation("alice").await, (1, 0));

    let (asked, sleepers) = (line.asked(), world.clock.sleepers());
    backend.cut().await;
    // The pause before it listens again.
    world.clock.wait_for_sleepers(sleepers + 1).await;
    for _ in 0..2 {
        assert_eq!(cached.generation("alice").await, (1, 1));
    }
    world.user("alice").disconnect(world.connector.id()).await.expect("disconnects");
    assert_refused(cached.read("alice").await, ErrorKind::NotConnected, "alice");

    world.clock.advance(SECOND);
    line.until_asked(asked + 1).await;
}

/// Nothing is told, and nothing fails.
async fn while_deaf(world: &World, cached: &Cached<'_>, line: &Line) {
    world.connect("alice").await.expect("alice connects");
    cached.read("alice").await.expect("a token");
    line.deaf.send_replace(true);
    world.user("alice").disconnect(world.connector.id()).await.expect("disconnects");
    world.clock.advance(ALMOST);
    cached.read("alice").await.expect("within the bound");
    world.clock.advance(SECOND);
    assert_refused(cached.read("alice").await, ErrorKind::NotConnected, "alice");
}

pub(super) fn alices(world: &World) -> Change {
    let key = ConnectionKey {
        tenant: TenantId::default(),
        owner: Owner::User(UserId::new("alice").expect("valid")),
        connector: world.connector.id().clone(),
        slot: Slot::default(),
    };
    Change::Connection(key.digest())
}
