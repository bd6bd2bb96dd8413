//! A grant that several connections have.

use std::time::Duration;

use vault_core::event::Event;
use vault_core::id::Slot;
use vault_core::{AccessToken, Disconnected, Error, ErrorKind, Provider};
use vault_testkit::simulator::{Endpoint, Fault, Revocation, Simulator, Switches};
use vault_tests::World;

use super::{disconnect, is_abandoned, is_revoked, live, pass};

/// A provider that revokes all that an account granted to the client.
fn by_grant(simulator: &Simulator) -> Provider {
    let toml = format!("{}\n[revoke]\nradius = \"grant\"\n", simulator.provider_toml());
    Provider::from_toml(&toml).expect("a provider that revokes grants")
}

/// A provider that gives the same grant at every consent.
fn by_account(simulator: &Simulator) -> Provider {
    let toml = format!("{}\n[grants]\nconcurrency = \"shared\"\n", simulator.provider_toml());
    Provider::from_toml(&toml).expect("a provider that shares grants")
}

pub(super) async fn sharing() -> World {
    sharing_at(by_grant).await
}

async fn sharing_at(provider: fn(&Simulator) -> Provider) -> World {
    let switches = |switches: &mut Switches| switches.revocation = Revocation::Grant;
    World::builder().provider(provider).switches(switches).start().await
}

fn slot(name: &str) -> Slot {
    Slot::new(name).expect("a good slot")
}

async fn connect_slot(world: &World, name: &str, account: &str) {
    let connect = world.connecting("alice").slot(slot(name));
    world.connect_as(connect, account).await.expect("connects");
}

async fn disconnect_slot(world: &World, name: &str) -> Disconnected {
    let gone = world.user("alice").disconnect_slot(world.connector.id(), slot(name)).await;
    world.note(gone).expect("a disconnect")
}

async fn token_of(world: &World, name: &str) -> Result<AccessToken, Error> {
    world.user("alice").token(world.connector.id()).slot(slot(name)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_grant_is_revoked_with_the_last_connection_that_has_it() {
    for provider in [by_grant, by_account] {
        let world = sharing_at(provider).await;
        connect_slot(&world, "home", "alice@example.com").await;
        connect_slot(&world, "work", "alice@example.com").await;
        connect_slot(&world, "other", "somebody else").await;

        assert_eq!(disconnect_slot(&world, "home").await, Disconnected::StillShared);
        assert_eq!(world.provider.count(Endpoint::Revoke), 0);
        assert_eq!((world.rows("vault_owed").await, world.count_events(is_abandoned)), (0, 0));
        world.expire_tokens();
        let sibling = world.note(token_of(&world, "work").await).expect("the sibling works on");
        assert!(world.provider.is_live(sibling.expose_secret()));

        assert_eq!(disconnect_slot(&world, "work").await, Disconnected::Revoked);
        assert_eq!(live(&world, "alice@example.com"), 0);
        world.note(token_of(&world, "other").await).expect("another account's grant");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_tokens_of_a_shared_grant_are_revoked_unless_another_connection_has_it() {
    for is_shared in [false, true] {
        let world = sharing_at(by_account).await;
        connect_slot(&world, "home", "alice").await;
        if is_shared {
            connect_slot(&world, "work", "alice").await;
        }
        world.expire_tokens();
        world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable"));
        let gate = world.provider.hold_next_reply(Endpoint::Token);
        let (read, gone) = tokio::join!(token_of(&world, "home"), async {
            gate.arrived().await;
            let gone = disconnect_slot(&world, "home").await;
            gate.release();
            gone
        });
        assert_eq!(*world.note(read).expect_err("disconnected").kind(), ErrorKind::NotConnected);
        assert_eq!(gone, if is_shared { Disconnected::StillShared } else { Disconnected::Pending });
        assert!(world.vault.shutdown(Duration::from_secs(10)).await, "what is under way ends");

        assert_eq!(world.count_events(|event| matches!(event, Event::OrphanedTokens { .. })), 1);
        assert_eq!(world.count_events(is_abandoned), 0);
        // The disconnect's own failed.
        let revocations = (world.provider.count(Endpoint::Revoke), world.count_events(is_revoked));
        assert_eq!(revocations, if is_shared { (0, 0) } else { (2, 1) });
        assert_eq!(live(&world, "alice") > 0, is_shared);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_accounts_that_are_not_known_may_share_their_grant() {
    fn nameless(simulator: &Simulator) -> Provider {
        let toml = simulator.provider_toml().replace("[identity]\nsource = \"userinfo\"\n", "");
        Provider::from_toml(&format!("{toml}\n[revoke]\nradius = \"grant\"\n")).expect("a provider file")
    }
    let world = sharing_at(nameless).await;
    connect_slot(&world, "home", "alice").await;
    connect_slot(&world, "work", "alice").await;
    assert_eq!(world.user("alice").connections().await.expect("a listing")[0].account_id(), None);

    assert_eq!(disconnect_slot(&world, "home").await, Disconnected::StillShared);
    assert_eq!(world.count_events(is_abandoned), 1, "it may have been another account's");
    let sibling = world.note(token_of(&world, "work").await).expect("the sibling works on");
    assert!(world.provider.is_live(sibling.expose_secret()));
    assert_eq!(disconnect_slot(&world, "work").await, Disconnected::Revoked);
    assert_eq!(live(&world, "alice"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_that_go_at_once_do_not_leave_the_grant_to_each_other() {
    let world = sharing().await;
    for _ in 0..5 {
        connect_slot(&world, "home", "alice").await;
        connect_slot(&world, "work", "alice").await;
        let gone = tokio::join!(disconnect_slot(&world, "home"), disconnect_slot(&world, "work"));
        assert!([gone.0, gone.1].contains(&Disconnected::Revoked), "{gone:?}");
        assert_eq!(live(&world, "alice"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owed_revocation_does_not_end_the_grant_of_a_later_connect() {
    let world = sharing().await;
    world.connect("alice").await.expect("alice connects");
    world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable"));
    assert_eq!(disconnect(&world, "alice").await, Disconnected::Pending);
    world.connect("alice").await.expect("alice connects again");

    world.clock.advance(Duration::from_secs(2 * 60));
    pass(&world).await;
    assert_eq!(world.provider.count(Endpoint::Revoke), 1, "the first, that failed");
    assert_eq!(world.rows("vault_owed").await, 0, "moot: the new connection's disconnect ends both");
    let token = world.token("alice").await.expect("a token");
    assert!(world.provider.is_live(token.expose_secret()));
    assert_eq!(disconnect(&world, "alice").await, Disconnected::Revoked);
    assert_eq!(live(&world, "alice"), 0);
}
