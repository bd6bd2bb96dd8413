use std::sync::Arc;
use std::time::Duration;

use vault_core::{Disconnected, ErrorKind};
use vault_testkit::simulator::{Endpoint, Fault, TokenState};
use vault_tests::backend::Backend;
use vault_tests::{World, assert_refused};

pub(super) async fn a_whole_life_leaves_nothing_but_what_is_owed(backend: Arc<dyn Backend>) {
    let world = World::builder().backend(backend).start().await;
    let (second, _faults) = world.second_vault().await;
    let id = world.connector.id();
    world.connect("bob").await.expect("bob connects");
    let before = world.backend.sizes().await;

    world.connect("alice").await.expect("alice connects");
    assert_eq!(world.token("alice").await.expect("a token").generation(), 1);
    world.expire_tokens();
    let refreshed = world.token("alice").await.expect("a token");
    assert_eq!(refreshed.generation(), 2);
    let elsewhere = world.note(second.user("alice").token(id).await).expect("a token");
    assert_eq!(elsewhere.expose_secret(), refreshed.expose_secret());
    let listed = second.user("alice").connections().await.expect("a listing");
    assert_eq!((listed[0].account_id(), listed[0].generation()), (Some("alice"), 2));
    assert_eq!(world.provider.refreshes().len(), 1);

    world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable"));
    let gone = world.note(second.user("alice").disconnect(id).await).expect("a disconnect");
    assert_eq!(gone, Disconnected::Pending);
    world.assert_not_connected("alice").await;
    assert_eq!(world.user("alice").owed_revocations().await.expect("a listing").len(), 1);
    assert_ne!(world.backend.sizes().await, before, "what is owed is stored");

    world.clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(world.note(world.vault.maintain(10).await).expect("a pass").revoked, 1);
    let tokens = world.provider.tokens_of("alice");
    assert!(tokens.iter().all(|token| token.state != TokenState::Live), "nothing of hers works");
    assert_eq!(world.backend.sizes().await, before);
    let bobs = world.token("bob").await.expect("bob is still connected");
    assert!(world.provider.is_live(bobs.expose_secret()));
}

pub(super) async fn v06_a_disconnect_holds_for_every_process_at_once(backend: Arc<dyn Backend>) {
    let world = World::builder().backend(backend).start().await;
    let (second, _faults) = world.second_vault().await;
    let id = world.connector.id();
    for _ in 0..3 {
        world.connect("alice").await.expect("alice connects");
        let first = world.token("alice").await.expect("a token");
        let elsewhere = world.note(second.user("alice").token(id).await).expect("a token");
        assert_eq!(elsewhere.expose_secret(), first.expose_secret(), "of the new connection");

        world.user("alice").disconnect(id).await.expect("a disconnect");
        assert_refused(world.note(second.user("alice").token(id).await), ErrorKind::NotConnected, "alice");
        let rejected = world.note(second.report_rejected(&elsewhere).await);
        assert_refused(rejected, ErrorKind::NotConnected, "alice");
        assert!(second.user("alice").connections().await.expect("a listing").is_empty());
    }
}
