//! The life of a connection, from connect to disconnect.

use std::time::Duration;

use vault_core::{Disconnected, ErrorKind};
use vault_testkit::simulator::{Endpoint, Rotation};
use vault_tests::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_made_read_refreshed_listed_and_revoked() {
    let world = World::start().await;
    world.provider.switch(|switches| switches.rotation = Rotation::Strict);

    let connected = world.connect("alice").await.expect("alice connects");
    assert_eq!(connected.account_email(), Some("alice@example.com"));
    assert_eq!(connected.return_to(), "/");

    let first = world.token("alice").await.expect("a token");
    assert!(world.provider.is_live(first.expose_secret()));
    assert_eq!(first.generation(), 1);
    let again = world.token("alice").await.expect("a token");
    assert_eq!(again.expose_secret(), first.expose_secret());
    assert_eq!(world.provider.refreshes().len(), 0);

    world.clock.advance(Duration::from_secs(2 * 60 * 60));
    let second = world.token("alice").await.expect("a token");
    assert_eq!(second.generation(), 2);
    assert!(world.provider.is_live(second.expose_secret()));
    assert_eq!(world.provider.refreshes().len(), 1);

    let listed = world.user("alice").connections().await.expect("a listing");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].account_id(), Some("alice"));
    assert_eq!(listed[0].generation(), 2);
    assert!(world.user("bob").connections().await.expect("a listing").is_empty());

    let gone = world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    assert_eq!(gone, Disconnected::Revoked);
    assert_eq!(world.provider.count(Endpoint::Revoke), 1);
    assert!(!world.provider.is_live(second.expose_secret()));
    let error = world.token("alice").await.expect_err("nothing to read");
    assert_eq!(*error.kind(), ErrorKind::NotConnected);
}
