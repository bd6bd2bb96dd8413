//! What was stored before its flow ended, and is not to be: the user disconnected meanwhile.

use std::pin::pin;
use std::time::Duration;

use vault_core::event::Event;
use vault_core::store::StoreErrorKind;
use vault_core::{Disconnected, ErrorKind};
use vault_testkit::faults::Fault;
use vault_testkit::simulator::{Endpoint, Fault as ProviderFault};

use super::{APART, apart, asleep_in, deliver_while, live, unclaimed};

fn is_abandoned(event: &Event) -> bool {
    matches!(event, Event::RevocationAbandoned { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_disconnect_wins_though_the_store_fails_to_take_the_connection_back() {
    let world = apart().await;
    let query = world.query("alice").await;
    let disconnected = async {
        let gone = world.user("alice").disconnect(world.connector.id()).await;
        assert_eq!(world.note(gone).expect("nothing is there yet"), Disconnected::NotConnected);
        world.faults.on_method("connections.delete", 1, Fault::Fail(StoreErrorKind::Unavailable));
    };
    assert_eq!(deliver_while(&world, &query, (APART, 1), disconnected).await, ErrorKind::FlowCancelled);
    assert_eq!(world.rows("vault_connections").await, 1, "not yet");
    while world.faults.calls("connections.delete") < 2 {
        world.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert!(world.vault.shutdown(Duration::from_secs(10)).await, "what is under way ends");
    assert_eq!((world.rows("vault_connections").await, live(&world, "alice")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_a_store_that_stays_down_is_tried_for_ten_minutes_and_the_host_told() {
    let world = apart().await;
    let query = world.query("alice").await;
    let disconnected = async {
        world.note(world.user("alice").disconnect(world.connector.id()).await).expect("nothing is there yet");
        world.faults.always_on_method("connections.delete", Fault::Fail(StoreErrorKind::Unavailable));
    };
    assert_eq!(deliver_while(&world, &query, (APART, 1), disconnected).await, ErrorKind::FlowCancelled);

    let (mut ended, mut pauses) = (pin!(world.vault.shutdown(Duration::from_secs(11 * 60))), 0);
    let is_ended = loop {
        tokio::select! {
            is_ended = &mut ended => break is_ended,
            // The task sleeps, and who waits for it.
            () = world.clock.wait_for_sleepers(2) => {
                pauses += 1;
                world.clock.advance(Duration::from_secs(5));
            }
        }
    };
    assert!(is_ended, "the task ends");
    assert_eq!((pauses, world.faults.calls("connections.delete")), (120, 121));
    assert_eq!((world.rows("vault_connections").await, world.count_events(is_abandoned)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_what_was_refreshed_before_it_could_be_taken_back_is_owed_its_revocation() {
    let world = apart().await;
    let query = world.query("alice").await;
    let span = Duration::from_secs(5);
    let disconnected = async {
        world.note(world.user("alice").disconnect(world.connector.id()).await).expect("nothing is there yet");
        world.faults.on_method("flows.finish", 1, Fault::Delay(span));
    };
    world.provider.inject(Endpoint::Revoke, ProviderFault::unavailable("5"));
    let (refused, refreshed) = tokio::join!(deliver_while(&world, &query, (APART, 1), disconnected), async {
        asleep_in(&world, "flows.finish", 1).await;
        let stored = world.token("alice").await.expect("it is stored for now");
        let refreshed = world.vault.report_rejected(&stored).await;
        world.clock.advance(span);
        world.note(refreshed).expect("refreshed")
    });
    assert_eq!((refused, refreshed.generation()), (ErrorKind::FlowCancelled, 2));
    world.assert_not_connected("alice").await;
    assert!(world.vault.shutdown(Duration::from_secs(10)).await, "what is under way ends");
    let owed = world.user("alice").owed_revocations().await.expect("a listing");
    assert_eq!((owed.len(), owed.first().map(|owed| owed.attempts)), (1, Some(1)));
    assert!(world.provider.is_live(refreshed.expose_secret()), "not yet");

    world.clock.advance(Duration::from_secs(2 * 60));
    let (later, _faults) = world.second_vault().await;
    assert_eq!(world.note(later.maintain(10).await).expect("a pass").revoked, 1);
    assert_eq!((live(&world, "alice"), world.provider.count(Endpoint::Revoke)), (0, 2));
    assert_eq!((world.rows("vault_connections").await, world.rows("vault_owed").await), (0, 0));
    assert_eq!((world.count_events(is_abandoned), unclaimed(&world)), (0, 0));
}
