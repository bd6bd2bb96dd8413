//! What support and operators are told.

use std::time::Duration;

use vault_core::connector::ConnectorUpdate;
use vault_core::event::Event;
use vault_core::explain::{ConnectionState, Explanation};
use vault_core::{ErrorKind, ReauthReason};
use vault_testkit::simulator::{Endpoint, Fault};
use vault_tests::World;

async fn explained(world: &World) -> Explanation {
    let explanation = world.user("alice").explain(world.connector.id()).await;
    let explanation = world.note(explanation).expect("an explanation");
    world.canary.shown(&explanation);
    world.canary.shown(&explanation.to_string());
    explanation
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_and_what_is_not_there_is_said_to() {
    let world = World::start().await;
    let before = explained(&world).await;
    assert_eq!(before.state, ConnectionState::NotConnected);
    assert_eq!(before.next.user, Some("connect the account"));
    assert!(before.details.is_none() && before.lease.is_none() && before.owed.is_empty());

    world.connect("alice").await.expect("alice connects");
    for _ in 0..10 {
        world.expire_tokens();
        world.token("alice").await.expect("a token");
    }
    let now = explained(&world).await;
    assert_eq!((&now.state, now.next.clone()), (&ConnectionState::Active, Default::default()));
    let details = now.details.expect("it is stored");
    assert_eq!((details.generation, details.failures, details.alternates), (11, 0, 0));
    let numbers: Vec<_> = details.history.iter().map(|past| past.number).collect();
    assert_eq!(numbers, (4..=11).collect::<Vec<_>>(), "the last eight");
    assert!(details.history.is_sorted_by(|a, b| a.fence < b.fence && a.at < b.at));
    assert!(details.has_refresh_token && details.due_at < details.expires_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_under_way_its_failure_and_its_loss_are_told() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.expire_tokens();
    world.provider.inject(Endpoint::Token, Fault::unavailable("0").after_acting());
    let gate = world.provider.hold_next(Endpoint::Token);
    let reading = tokio::spawn(world.reads(&world.vault, "alice", |read| read));
    gate.arrived().await;
    let during = explained(&world).await;
    assert_eq!(during.lease.expect("held").fence, 1);
    assert_eq!(during.details.expect("stored").unknown_outcome.expect("sent").sends, 1);

    gate.release();
    world.note(reading.await.expect("no panic")).expect_err("the provider fails");
    world.clock.wait_for_sleepers(2).await;
    let failing = explained(&world).await;
    assert_eq!(failing.state, ConnectionState::Failing);
    let details = failing.details.as_ref().expect("stored");
    let failure = details.last_failure.as_ref().expect("told");
    assert_eq!(failure.message, "the provider is unavailable (status 503)");
    assert!(failing.to_string().contains("last failure: the provider is unavailable (status 503)"));
    assert!(failing.next.operator.is_some() && failing.next.user.is_none());

    world.clock.advance(Duration::from_secs(30));
    world.until_event(|event| matches!(event, Event::NeedsReauthorization { .. })).await;
    let lost = explained(&world).await;
    assert_eq!(lost.state, ConnectionState::NeedsReauthorization(ReauthReason::LostRotation));
    assert_eq!(lost.next.user, Some("connect the account again"));
    assert_eq!(lost.details.expect("stored").unknown_outcome.expect("told").sends, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_out_of_use_a_revocation_owed_and_a_damaged_record_are_told() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.provider.inject(Endpoint::Revoke, Fault::unavailable("60"));
    world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    world.connect("alice").await.expect("alice connects again");
    let off = ConnectorUpdate::new().enabled(false);
    world.vault.connectors().update(world.connector.id(), off).await.expect("an update");

    let owing = explained(&world).await;
    assert_eq!((owing.owed.len(), owing.owed[0].attempts), (1, 1));
    assert_eq!(owing.connector_problem, Some(ErrorKind::ConnectorDisabled));
    assert!(owing.next.admin.is_some() && owing.next.operator.is_some());

    world.set_blob("alice", "credential", b"noise").await;
    let damaged = explained(&world).await;
    assert_eq!(damaged.state, ConnectionState::Unreadable(ErrorKind::CorruptRecord));
    assert!(damaged.details.is_none() && damaged.next.operator.is_some());
}
