//! How many store round trips an operation takes. The counts are exact, so that one more is seen.

use std::time::Duration;

use vault_core::{Disconnected, OwnerHandle, VaultBuilder};
use vault_tests::{World, binding};

/// What every operation finds in memory: data keys, and the connector.
async fn warm() -> World {
    let world = World::start().await;
    world.connect("somebody").await.expect("connects");
    world
}

/// The calls of each store method that `work` makes.
async fn calls<T>(world: &World, work: impl Future<Output = T>, expected: &[(&str, u64)]) -> T {
    world.faults.reset();
    let answer = work.await;
    for (method, times) in expected {
        assert_eq!(world.faults.calls(method), *times, "{method}");
    }
    let total: u64 = expected.iter().map(|(_, times)| times).sum();
    assert_eq!(world.faults.total_calls(), total, "no other calls");
    answer
}

#[tokio::test]
async fn a_connect_takes_three_round_trips() {
    let world = warm().await;
    let start = async { world.connecting("alice").start(&binding()).await };
    calls(&world, start, &[("flows.insert", 1)]).await.expect("starts");

    let callback = world.callback("alice").await;
    let first = [("flows.take", 1), ("connections.put_and_finish", 1)];
    calls(&world, world.complete(callback), &first).await.expect("connects");
}

/// Whether the user's own data key is still there is looked at after the flow was stored under it.
#[tokio::test]
async fn a_connect_under_a_key_of_ones_own_takes_four() {
    let world = World::builder().vault(VaultBuilder::data_key_per_user).start().await;
    world.connect("alice").await.expect("connects");
    let start = async { world.connecting("alice").start(&binding()).await };
    calls(&world, start, &[("flows.insert", 1), ("keys.get", 1)]).await.expect("starts");
    let callback = world.callback("alice").await;
    let again = [("flows.take", 1), ("connections.put_and_finish", 2), ("connections.get", 1)];
    calls(&world, world.complete(callback), &again).await.expect("connects");
}

/// With flows elsewhere, the flow is asked whether the user was disconnected before the connection was to be seen.
#[tokio::test]
async fn a_connect_whose_flow_is_elsewhere_takes_four() {
    let world = World::builder().flows_apart().start().await;
    world.connect("somebody").await.expect("connects");
    let callback = world.callback("alice").await;
    let first = [("flows.take", 1), ("connections.put", 1), ("flows.finish", 1)];
    calls(&world, world.complete(callback), &first).await.expect("connects");
}

/// Every ten seconds the connector is read again, and with it whether its tenant's data key is still there.
#[tokio::test]
async fn a_connect_after_a_while_takes_two_more() {
    let world = warm().await;
    let callback = world.callback("alice").await;
    world.clock.advance(Duration::from_secs(10));
    let all = [("flows.take", 1), ("connectors.get", 1), ("keys.get", 1), ("connections.put_and_finish", 1)];
    calls(&world, world.complete(callback), &all).await.expect("connects");
}

#[tokio::test]
async fn a_reconnect_reads_what_stands_there_when_the_write_finds_it() {
    let world = warm().await;
    let callback = world.callback("somebody").await;
    let again = [("flows.take", 1), ("connections.put_and_finish", 2), ("connections.get", 1)];
    calls(&world, world.complete(callback), &again).await.expect("connects");
}

#[tokio::test]
async fn a_callback_that_is_refused_takes_two_round_trips() {
    let world = warm().await;
    let query = world.query("alice").await.replace("code=", "cod=");
    let refused = [("flows.take", 1), ("flows.finish", 1)];
    calls(&world, world.deliver(&query), &refused).await.expect_err("no code");
}

#[tokio::test]
async fn a_disconnect_takes_four_round_trips() {
    let world = warm().await;
    let alice: OwnerHandle = world.user("somebody");
    let all = [
        ("flows.cancel", 1),
        ("connections.get", 1),
        ("connections.delete", 1),
        ("connections.delete_owed", 1),
    ];
    let gone = calls(&world, alice.disconnect(world.connector.id()), &all).await;
    assert_eq!(gone.expect("disconnects"), Disconnected::Revoked);
}

#[tokio::test]
async fn an_uncontended_refresh_takes_three_round_trips_beside_the_read() {
    for world in [World::builder(), World::builder().in_memory()] {
        let world = world.start().await;
        world.connect("alice").await.expect("connects");
        let alice = world.user("alice");
        // The lease with the record, the marker, the new tokens with the lease's end.
        let all = [("connections.read", 1), ("connections.acquire_lease", 1), ("connections.put", 2)];
        let read = alice.token(world.connector.id()).fresh().into_future();
        let token = world.note(calls(&world, read, &all).await).expect("a token");
        assert_eq!(token.generation(), 2);
    }
}
