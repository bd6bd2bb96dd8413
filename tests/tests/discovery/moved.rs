//! A token endpoint that moves while there are connections.

use std::time::Duration;

use vault_core::event::Event;
use vault_core::{Error, ErrorKind, Provider};
use vault_testkit::simulator::Simulator;
use vault_tests::World;

use super::{FAILED, FRESH, is, publish, stores_nothing};

/// The provider's other name, which is another origin.
fn other_host(sim: &Simulator) -> String {
    sim.issuer().replace("http://127.0.0.1", "localhost")
}

/// As discovered, with endpoints allowed on the other name too.
async fn with_two_hosts() -> World {
    let provider = |sim: &Simulator| {
        let text = format!(
            r#"
id = "simulator"
name = "Demo Calendar"
[endpoints]
issuer = "{}"
discovery.endpoint_hosts = ["{}"]
[authorize.scope]
defaults = ["openid", "calendar.read"]
[identity]
source = "id_token"
"#,
            sim.issuer(),
            other_host(sim)
        );
        Provider::from_toml(&text).expect("a valid provider file")
    };
    World::builder().provider(provider).start().await
}

fn move_token_endpoint(world: &World) {
    publish(world, "token_endpoint", &format!("http://{}/token", other_host(&world.provider)));
}

#[tokio::test(flavor = "multi_thread")]
async fn d07_a_token_endpoint_that_moved_gets_no_old_refresh_token() {
    let world = with_two_hosts().await;
    world.provider.switch(|switches| switches.access_ttl = FRESH + FRESH / 2);
    let alice = world.connect("alice").await.expect("alice connects");
    move_token_endpoint(&world);

    let refused = |error: &Error| {
        is(error, ErrorKind::EndpointRefused, &format!("moved from {} to http", world.provider.issuer()));
        assert!(error.to_string().contains(&other_host(&world.provider)), "{error}");
    };
    world.clock.advance(FRESH + FRESH / 2 - Duration::from_secs(10));
    assert_eq!(world.token("alice").await.expect("the token still lives").generation(), 1);
    world.clock.advance(FAILED);
    refused(&world.token("alice").await.expect_err("the endpoint moved"));
    assert_eq!(world.provider.refreshes().len(), 0, "nothing was sent anywhere");
    let failed = Event::RefreshFailed { key: alice.connection().clone(), kind: ErrorKind::EndpointRefused };
    assert_eq!(world.events().pop(), Some(failed));

    // The user's own new consent is the approval.
    world.connect("alice").await.expect("alice connects again");
    world.clock.advance(FRESH * 2);
    assert_eq!(world.token("alice").await.expect("refreshed at the new place").generation(), 2);
    let hosts: Vec<_> =
        world.provider.refreshes().iter().map(|call| call.header("host").map(str::to_owned)).collect();
    assert_eq!(hosts, [Some(other_host(&world.provider))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn d07_a_token_endpoint_that_moved_back_gets_it() {
    let world = with_two_hosts().await;
    let issuer = world.provider.issuer().to_owned();
    world.connect("alice").await.expect("alice connects");
    move_token_endpoint(&world);
    world.clock.advance(FRESH);
    world.token("alice").await.expect_err("the endpoint moved");
    publish(&world, "token_endpoint", &format!("{issuer}/token"));
    world.clock.advance(FRESH);
    assert_eq!(world.token("alice").await.expect("the refresh token was kept").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn d07_a_code_does_not_follow_a_token_endpoint_that_moved_meanwhile() {
    let world = with_two_hosts().await;
    world.connect("bob").await.expect("bob connects, and the metadata is known");
    world.clock.advance(FRESH - Duration::from_secs(60));
    let callback = world.callback("alice").await;
    move_token_endpoint(&world);
    world.clock.advance(Duration::from_secs(60));
    let error = world.complete(callback).await.expect_err("the endpoint moved");
    assert_eq!(*error.kind(), ErrorKind::FlowCancelled);
    assert_eq!(world.provider.exchanges().len(), 1, "bob's");
    stores_nothing(&world).await;
}
