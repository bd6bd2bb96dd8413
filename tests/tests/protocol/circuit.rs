//! A provider that is down, or refuses the client: one of its users finds out for all.

use vault_core::ClientSecret;
use vault_testkit::simulator::ClientAuth;

use super::*;

async fn crowd(users: usize) -> World {
    let world = World::builder().in_memory().start().await;
    for n in 0..users {
        world.connect(&format!("user {n}")).await.expect("the user connects");
    }
    world.expire_tokens();
    world
}

async fn of(world: &World, n: usize) -> Result<AccessToken, Error> {
    world.user(&format!("user {n}")).token(world.connector.id()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn t17_the_circuit_opens_for_a_client_that_is_refused_and_closes_when_its_secret_is_changed() {
    let world = crowd(3).await;
    let id = world.provider.client_id().to_owned();
    world.provider.add_client(&id, "another secret", ClientAuth::Any);
    for n in 0..3 {
        let error = world.note(of(&world, n).await).expect_err("the client is refused");
        assert_eq!(*error.kind(), ErrorKind::ProviderMisconfigured);
        assert_eq!(error.retry_after().is_some(), n > 0, "{error}");
    }
    assert_eq!(world.provider.refreshes().len(), 1, "one found out for all");
    assert_eq!(world.count_events(is_marked), 0);

    let connectors = world.vault.connectors();
    let next = ClientSecret::new("another secret");
    world.remember(Some("another secret".to_owned()));
    connectors.rotate_secret(world.connector.id(), next).await.expect("a next secret");
    connectors.promote_secret(world.connector.id()).await.expect("the next is the secret");
    for n in 0..3 {
        assert_eq!(world.note(of(&world, n).await).expect("a token").generation(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r18_a_provider_that_is_down_for_six_hours_costs_a_few_requests_and_no_grant() {
    const USERS: usize = 10;
    let world = crowd(USERS).await;
    world.provider.inject(Endpoint::Token, Fault::error(503, "server_error").forever());
    let mut asked = 0;
    for _ in 0..6 * 60 {
        for n in 0..USERS {
            let error = world.note(of(&world, n).await).expect_err("it is down");
            assert!(error.is_retryable() && !error.needs_user_action(), "{error}");
        }
        world.vault.maintain(100).await.expect("a pass");
        world.clock.advance(Duration::from_secs(60));
        asked = world.provider.refreshes().len();
    }
    // Each user once or twice, and then one probe a quarter of an hour at the most.
    assert!(asked < 3 * USERS + 6 * 60 / 15 * 2 + 20, "{asked} requests");
    assert_eq!(world.count_events(is_marked), 0);

    world.provider.clear_faults();
    for _ in 0..40 {
        world.clock.advance(Duration::from_secs(60));
        world.vault.maintain(100).await.expect("a pass");
    }
    for n in 0..USERS {
        assert!(world.note(of(&world, n).await).expect("a token").generation() >= 2);
    }
    assert_eq!(world.count_events(is_marked), 0);
}
