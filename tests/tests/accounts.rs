//! Which account is connected: several by slot, another one on reconnect, more scopes, who the `id_token` says it is.

use std::time::Duration;

use vault_core::connector::{AccountPolicy, Connector, ConnectorUpdate};
use vault_core::event::Event;
use vault_core::id::Slot;
use vault_core::{AccessToken, Disconnected, Error, ErrorKind, Provider};
use vault_testkit::simulator::{Endpoint, Fault, IdTokenFlaw, Revocation};
use vault_tests::{World, assert_refused, binding};

fn slot(name: &str) -> Slot {
    Slot::new(name).expect("a slot")
}

async fn token_in(world: &World, user: &str, slot: Slot) -> Result<AccessToken, Error> {
    world.note(world.user(user).token(world.connector.id()).slot(slot).await)
}

/// The accounts of a user's connections, by slot.
async fn accounts(world: &World, user: &str) -> Vec<(String, String)> {
    let listed = world.user(user).connections().await.expect("a listing");
    let account = |id: Option<&str>| id.expect("the provider tells").to_owned();
    listed.iter().map(|info| (info.key().slot.as_str().to_owned(), account(info.account_id()))).collect()
}

async fn with_policy(policy: AccountPolicy) -> World {
    let world = World::start().await;
    let update = ConnectorUpdate::new().account_policy(policy);
    let connector = world.vault.connectors().update(world.connector.id(), update).await.expect("updates");
    assert_eq!(connector.account_policy(), policy);
    world
}

#[tokio::test]
async fn each_slot_holds_an_account_of_its_own() {
    let world = World::start().await;
    for (name, account) in [("home", "alice"), ("work", "alice-at-work"), ("again", "alice")] {
        let connect = world.connecting("alice").slot(slot(name));
        let connected = world.connect_as(connect, account).await.expect("connects");
        assert_eq!((connected.connection().slot.as_str(), connected.account_id()), (name, Some(account)));
    }
    let listed = [("again", "alice"), ("home", "alice"), ("work", "alice-at-work")];
    assert_eq!(accounts(&world, "alice").await, listed.map(|(slot, id)| (slot.to_owned(), id.to_owned())));
    for (name, account) in listed {
        let token = token_in(&world, "alice", slot(name)).await.expect("a token");
        assert_eq!(world.provider.describe(token.expose_secret()).expect("known").account, account);
    }
    assert_refused(world.token("alice").await, ErrorKind::NotConnected, "slot default");

    let id = world.connector.id();
    let gone = world.user("alice").disconnect_slot(id, slot("work")).await.expect("disconnects");
    assert_eq!(gone, Disconnected::Revoked);
    assert_refused(token_in(&world, "alice", slot("work")).await, ErrorKind::NotConnected, "slot work");
    let other = token_in(&world, "alice", slot("home")).await.expect("a token");
    assert!(world.provider.is_live(other.expose_secret()));
}

#[tokio::test]
async fn a_reconnect_with_another_account_is_rejected_and_the_old_connection_kept() {
    let world = with_policy(AccountPolicy::Reject).await;
    world.connect("alice").await.expect("connects");
    let before = world.token("alice").await.expect("a token");
    let reconnect = world.connect_as(world.connecting("alice"), "mallory").await;
    assert_refused(reconnect, ErrorKind::AccountMismatch, "user alice");
    world.assert_unchanged("alice", &before).await;
    assert_eq!(accounts(&world, "alice").await, [("default".to_owned(), "alice".to_owned())]);
}

#[tokio::test]
async fn a_reconnect_with_another_account_replaces_the_old_and_revokes_its_grant() {
    let world = with_policy(AccountPolicy::Replace).await;
    world.connect("alice").await.expect("connects");
    let before = world.token("alice").await.expect("a token");
    world.connect_as(world.connecting("alice"), "alice-the-second").await.expect("connects");
    assert_eq!(accounts(&world, "alice").await, [("default".to_owned(), "alice-the-second".to_owned())]);
    let after = world.token("alice").await.expect("a token");

    assert!(world.vault.shutdown(Duration::from_secs(1)).await, "the revocation ends");
    assert!(!world.provider.is_live(before.expose_secret()));
    assert!(world.provider.is_live(after.expose_secret()));
    assert!(world.events().contains(&Event::Revoked { key: after.connection().clone() }));
    assert!(world.user("alice").owed_revocations().await.expect("a listing").is_empty());
}

#[tokio::test]
async fn a_replaced_account_whose_provider_is_down_is_revoked_later() {
    let world = with_policy(AccountPolicy::Replace).await;
    world.connect("alice").await.expect("connects");
    let before = world.token("alice").await.expect("a token");
    world.provider.inject(Endpoint::Revoke, Fault::unavailable("120"));
    let gate = world.provider.hold_next(Endpoint::Revoke);
    world.connect_as(world.connecting("alice"), "alice-the-second").await.expect("connects");
    gate.arrived().await;
    assert_eq!(world.user("alice").owed_revocations().await.expect("a listing").len(), 1);
    gate.release();
    assert!(world.vault.shutdown(Duration::from_secs(1)).await, "the attempt ends");
    assert!(world.events().iter().any(|event| matches!(event, Event::RevocationPending { .. })));
    assert!(world.provider.is_live(before.expose_secret()));

    world.clock.advance(Duration::from_secs(10 * 60));
    let (second, _) = world.second_vault().await;
    assert_eq!(second.maintain(10).await.expect("a pass").revoked, 1);
    assert!(!world.provider.is_live(before.expose_secret()));
    assert!(world.user("alice").owed_revocations().await.expect("a listing").is_empty());
}

/// Where a provider revokes whole grants, revoking the replaced one would end the other slot's connection too.
#[tokio::test]
async fn a_replaced_account_that_is_connected_in_another_slot_too_is_not_revoked() {
    let world = World::builder()
        .provider(|sim| {
            let file = sim.provider_toml() + "\n[revoke]\nradius = \"grant\"\n";
            Provider::from_toml(&file).expect("a provider")
        })
        .switches(|switches| switches.revocation = Revocation::Grant)
        .connector(|connector| connector.account_policy(AccountPolicy::Replace))
        .start()
        .await;
    world.connect("alice").await.expect("connects");
    let sibling = world.connecting("alice").slot(slot("sibling"));
    world.connect_as(sibling, "alice").await.expect("connects");
    world.connect_as(world.connecting("alice"), "alice-the-second").await.expect("connects");
    assert!(world.vault.shutdown(Duration::from_secs(1)).await);
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
    let sibling = token_in(&world, "alice", slot("sibling")).await.expect("a token");
    assert!(world.provider.is_live(sibling.expose_secret()));
}

#[tokio::test]
async fn a_reconnect_with_another_account_goes_into_a_slot_named_after_it() {
    let world = with_policy(AccountPolicy::NewSlot).await;
    world.connect("alice").await.expect("connects");
    let before = world.token("alice").await.expect("a token");
    for _ in 0..2 {
        let connected = world.connect_as(world.connecting("alice"), "second").await.expect("connects");
        assert_eq!(connected.connection().slot.as_str(), "second");
    }
    let both = [("default", "alice"), ("second", "second")];
    assert_eq!(accounts(&world, "alice").await, both.map(|(slot, id)| (slot.to_owned(), id.to_owned())));
    assert_eq!(world.token("alice").await.expect("a token").expose_secret(), before.expose_secret());
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
}

#[tokio::test]
async fn a_slot_named_after_an_account_that_holds_another_is_not_overwritten() {
    let world = with_policy(AccountPolicy::NewSlot).await;
    world.connect("alice").await.expect("connects");
    let taken = world.connecting("alice").slot(slot("second"));
    world.connect_as(taken, "third").await.expect("connects");
    let connected = world.connect_as(world.connecting("alice"), "second").await;
    assert_refused(connected, ErrorKind::AccountMismatch, "slot second");
    let both = [("default", "alice"), ("second", "third")];
    assert_eq!(accounts(&world, "alice").await, both.map(|(slot, id)| (slot.to_owned(), id.to_owned())));
}

#[tokio::test]
async fn more_scopes_are_a_new_consent_and_a_new_token() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let alice = world.user("alice");
    let read = alice.token(world.connector.id()).require_scopes(["calendar.write"]);
    let missing = vec!["calendar.write".to_owned()];
    assert_refused(world.note(read.await), ErrorKind::MissingScopes { missing }, "calendar.write");

    let scopes = ["openid", "calendar.read", "calendar.write"];
    let wider = world.connecting("alice").scopes(scopes);
    let connected = world.connect_as(wider, "alice").await.expect("connects");
    assert_eq!(connected.scopes().collect::<Vec<_>>(), scopes);
    let read = alice.token(world.connector.id()).require_scopes(["calendar.write"]);
    let token = world.note(read.await).expect("a token");
    let known = world.provider.describe(token.expose_secret()).expect("known");
    assert!(known.scopes.contains(&"calendar.write".to_owned()));
    assert_eq!(accounts(&world, "alice").await.len(), 1);
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_the_connection_as_it_was() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let before = world.token("alice").await.expect("a token");
    let wider = || world.connecting("alice").scopes(["openid", "calendar.read", "calendar.write"]);

    let started = wider().start(&binding()).await.expect("starts");
    let back = world.provider.browse(started.url().clone()).as_account("alice").deny().await.expect("back");
    let denied = world.deliver(back.query().expect("a query")).await;
    assert_refused(denied, ErrorKind::Denied, "access_denied");
    world.assert_unchanged("alice", &before).await;

    for (fault, kind, names) in [
        (Fault::unavailable("5"), ErrorKind::ProviderUnavailable, "503"),
        (Fault::dropped(), ErrorKind::ProviderUnavailable, "token request"),
        (Fault::html(200), ErrorKind::ProviderReplyInvalid, "token response"),
        (Fault::genuine().remove("access_token"), ErrorKind::ProviderReplyInvalid, "access_token"),
        (Fault::error(401, "invalid_client"), ErrorKind::ProviderMisconfigured, "invalid_client"),
    ] {
        world.provider.inject(Endpoint::Token, fault);
        assert_refused(world.connect_as(wider(), "alice").await, kind, names);
        world.assert_unchanged("alice", &before).await;
    }
    world.provider.switch(|switches| switches.granted_scopes = Some(vec!["openid".to_owned()]));
    let missing = vec!["calendar.read".to_owned(), "calendar.write".to_owned()];
    let narrowed = world.connect_as(wider(), "alice").await;
    assert_refused(narrowed, ErrorKind::MissingScopes { missing }, "calendar.write");
    world.assert_unchanged("alice", &before).await;
}

#[tokio::test]
async fn what_is_not_required_may_be_refused_by_the_user() {
    let world = World::start().await;
    world.provider.switch(|switches| {
        switches.granted_scopes = Some(vec!["openid".to_owned(), "calendar.read".to_owned()]);
    });
    let connect = world.connecting("alice").scopes(["openid", "calendar.read", "calendar.write"]);
    let connected = world.connect_as(connect.require_scopes(["calendar.read"]), "alice").await;
    assert_eq!(connected.expect("connects").scopes().collect::<Vec<_>>(), ["openid", "calendar.read"]);
    let listed = world.user("alice").connections().await.expect("a listing");
    assert_eq!(listed[0].missing_scopes().collect::<Vec<_>>(), ["calendar.write"]);
}

async fn discovered() -> World {
    World::builder().provider(|sim| sim.discovered_provider()).start().await
}

#[tokio::test]
async fn an_id_token_says_whose_account_it_is() {
    let world = discovered().await;
    let connected = world.connect("alice").await.expect("connects");
    assert_eq!(connected.account_id(), Some("alice"));
    assert_eq!(connected.account_email(), Some("alice@example.com"));
    assert_eq!(world.provider.count(Endpoint::Userinfo), 0, "nobody had to ask");
    assert_eq!(world.provider.count(Endpoint::Discovery), 1, "metadata is remembered");
    world.clock.advance(Duration::from_secs(2 * 60 * 60));
    assert_eq!(world.token("alice").await.expect("refreshes").generation(), 2);
}

#[tokio::test]
async fn a_bad_id_token_stores_nothing_and_names_the_claim() {
    for (flaw, names) in [
        (IdTokenFlaw::WrongNonce, "nonce"),
        (IdTokenFlaw::MissingClaim("nonce".to_owned()), "nonce"),
        (IdTokenFlaw::WrongAudience, "aud"),
        (IdTokenFlaw::WrongIssuer, "iss"),
        (IdTokenFlaw::Expired, "exp"),
        (IdTokenFlaw::MissingClaim("sub".to_owned()), "sub"),
        (IdTokenFlaw::AlgNone, "alg"),
        (IdTokenFlaw::BadSignature, "signature"),
    ] {
        let world = discovered().await;
        world.provider.switch(|switches| switches.id_token_flaw = Some(flaw));
        assert_refused(world.connect("alice").await, ErrorKind::IdTokenInvalid, names);
        world.assert_not_connected("alice").await;
    }
}

#[tokio::test]
async fn an_id_token_that_was_asked_for_must_come() {
    let world = discovered().await;
    world.provider.inject(Endpoint::Token, Fault::genuine().remove("id_token"));
    assert_refused(world.connect("alice").await, ErrorKind::IdTokenInvalid, "missing");
    world.assert_not_connected("alice").await;
}

#[tokio::test]
async fn the_nonce_of_one_flow_is_no_good_in_another() {
    let world = discovered().await;
    let url = |started: vault_core::connect::Started| started.url().clone();
    let first = url(world.connecting("alice").start(&binding()).await.expect("starts"));
    let second = url(world.connecting("alice").start(&binding()).await.expect("starts"));
    let nonce = |url: &url::Url| {
        let nonce = url.query_pairs().find(|(name, _)| name == "nonce").expect("a nonce");
        nonce.1.into_owned()
    };
    // The state of the first with the nonce of the second: somebody injects a code.
    let mixed = first.as_str().replace(&nonce(&first), &nonce(&second)).parse().expect("a URL");
    let back = world.visit(mixed, "alice").await;
    let result = world.deliver(back.query().expect("a query")).await;
    assert_refused(result, ErrorKind::IdTokenInvalid, "nonce");
    world.assert_not_connected("alice").await;
}

/// The connector `demo` of another tenant.
async fn register_in(world: &World, tenant: &str) -> Connector {
    let connectors = world.vault.tenant(tenant).connectors().expect("a tenant id");
    connectors.register(world.new_connector("demo")).await.expect("registers")
}

#[tokio::test]
async fn the_same_user_id_in_two_tenants_is_two_users() {
    let world = World::start().await;
    let theirs = register_in(&world, "other").await;
    let other = world.vault.tenant("other").user("alice");
    world.connect("alice").await.expect("connects");
    assert!(other.connections().await.expect("a listing").is_empty());
    assert_refused(world.note(other.token(theirs.id()).await), ErrorKind::NotConnected, "tenant other");

    let connected = world.connect_as(other.connect(theirs.id()), "their-alice").await.expect("connects");
    assert_eq!(connected.connection().tenant.as_str(), "other");
    let token = world.note(other.token(theirs.id()).await).expect("a token");
    assert_eq!(world.provider.describe(token.expose_secret()).expect("known").account, "their-alice");

    // Neither tenant reaches the other's connection through its own handle.
    for read in [other.token(world.connector.id()), world.user("alice").token(theirs.id())] {
        assert_refused(world.note(read.await), ErrorKind::NotConnected, "alice");
    }
    assert_eq!(other.disconnect(theirs.id()).await.expect("disconnects"), Disconnected::Revoked);
    assert!(world.token("alice").await.is_ok());
    assert_eq!(accounts(&world, "alice").await, [("default".to_owned(), "alice".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_grants_none_is_stored_unless_all_are_good() {
    let world = World::builder()
        .provider(|provider| {
            let roots = "\n[response]\nroot = \"/user\"\nroots_by_kind = { bot = \"/bot\" }\n";
            Provider::from_toml(&(provider.provider_toml() + roots)).expect("a valid provider file")
        })
        .start()
        .await;
    let reply = |bot: bool| {
        Fault::genuine().map_json(move |fields| {
            let genuine = serde_json::Value::Object(std::mem::take(fields));
            fields.insert("user".into(), genuine);
            if bot {
                let unknown =
                    serde_json::json!({ "access_token": "nobody-issued-this", "token_type": "Bearer" });
                fields.insert("bot".into(), unknown);
            }
        })
    };

    // The user's grant is as good as ever, but nobody answers for the bot's.
    world.provider.inject(Endpoint::Token, reply(true));
    world.connect("alice").await.expect_err("one of the grants is bad");
    assert!(world.user("alice").connections().await.expect("a listing").is_empty());

    world.provider.inject(Endpoint::Token, reply(false));
    world.connect("alice").await.expect("the one grant is good");
    assert_eq!(world.user("alice").connections().await.expect("a listing").len(), 1);
}
