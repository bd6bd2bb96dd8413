//! The registry of connectors.

use std::time::Duration;

use vault_core::connector::{AllowedOwners, ConnectorUpdate, Connectors};
use vault_core::id::ConnectorId;
use vault_core::{ClientSecret, Disconnected, Error, ErrorKind, NewConnector};
use vault_testkit::simulator::{ClientAuth, Endpoint};
use vault_tests::{World, assert_refused, binding};

const NEXT_SECRET: &str = "the-next-client-secret-0123456789";

async fn names(connectors: &Connectors) -> Vec<String> {
    let listed = connectors.list().await.expect("a listing");
    listed.iter().map(|connector| connector.name().to_owned()).collect()
}

#[tokio::test]
async fn a_connector_is_registered_found_and_listed_without_its_secret() {
    let world = World::start().await;
    let connectors = world.vault.connectors();
    let new = world.new_connector("another").scopes(["calendar.read", "calendar.read"]);
    world.canary.shown(&new);
    let registered = world.note(connectors.register(new).await).expect("registers");
    let by_id = world.note(connectors.get(registered.id()).await).expect("is there");
    let by_name = world.note(connectors.find("another").await).expect("a look-up").expect("is there");
    for connector in [&registered, &by_id, &by_name] {
        assert_eq!(connector.id(), registered.id());
        assert_eq!((connector.name(), connector.client_id()), ("another", world.provider.client_id()));
        assert_eq!(connector.scopes().collect::<Vec<_>>(), ["calendar.read"]);
        assert_eq!(connector.provider().id(), "simulator");
        assert_eq!(connector.redirect_uri(), "https://app.example.com/connect/callback");
        assert!(connector.is_enabled() && !connector.is_rotating_secret());
    }
    assert_eq!(names(&connectors).await, ["another", "demo"]);
    assert!(world.note(connectors.find("nobody").await).expect("a look-up").is_none());
    let missing = ConnectorId::new("nobody").expect("an id");
    assert_refused(world.note(connectors.get(&missing).await), ErrorKind::UnknownConnector, "nobody");
}

#[tokio::test]
async fn a_name_is_taken_once_in_a_tenant_and_free_in_another() {
    let world = World::start().await;
    let connectors = world.vault.connectors();
    let twice = world.note(connectors.register(world.new_connector("demo")).await);
    assert_refused(twice, ErrorKind::NameTaken, "`demo`");
    let second = connectors.register(world.new_connector("second")).await.expect("registers");
    let renamed = connectors.update(second.id(), ConnectorUpdate::new().name("demo")).await;
    assert_refused(world.note(renamed), ErrorKind::NameTaken, "`demo`");
    assert_eq!(names(&connectors).await, ["demo", "second"]);

    let others = world.vault.tenant("other").connectors().expect("a tenant id");
    assert!(others.register(world.new_connector("demo")).await.is_ok());
    let renamed = connectors.update(second.id(), ConnectorUpdate::new().name("third")).await;
    assert_eq!(renamed.expect("renames").name(), "third");
    assert!(connectors.register(world.new_connector("second")).await.is_ok(), "the old name is free");
}

#[tokio::test]
async fn a_bad_registration_names_what_is_wrong_and_registers_nothing() {
    let world = World::start().await;
    let connectors = world.vault.connectors();
    let provider = || world.provider.provider();
    for (bad, names) in [
        (world.new_connector(""), "name"),
        (world.new_connector("a\nb"), "name"),
        (world.new_connector(&"x".repeat(256)), "name"),
        (NewConnector::new("another", provider()).client("", ClientSecret::new("secret")), "client id"),
        (
            world.new_connector("another").client_auth(vault_core::connector::ClientAuth::None),
            "with a secret",
        ),
        (world.new_connector("another").field("", "x"), "field"),
        (world.new_connector("another").field("site", "("), "`site`"),
        (world.new_connector("another").var("nobody", "x"), "nobody"),
    ] {
        assert_refused(world.note(connectors.register(bad).await), ErrorKind::InvalidInput, names);
    }
    assert_eq!(names(&connectors).await, ["demo"]);
}

#[tokio::test]
async fn another_tenant_sees_and_changes_nothing() {
    let world = World::start().await;
    let others = world.vault.tenant("other").connectors().expect("a tenant id");
    let id = world.connector.id();
    assert!(others.list().await.expect("a listing").is_empty());
    assert!(others.find("demo").await.expect("a look-up").is_none());
    for result in [
        others.get(id).await,
        others.update(id, ConnectorUpdate::new().enabled(false)).await,
        others.rotate_secret(id, ClientSecret::new(NEXT_SECRET)).await,
        others.promote_secret(id).await,
        others.delete(id).await.map(|()| world.connector.clone()),
    ] {
        assert_refused(world.note(result), ErrorKind::UnknownConnector, id.as_str());
    }
    let mine = world.vault.connectors().get(id).await.expect("untouched");
    assert!(mine.is_enabled() && !mine.is_rotating_secret());
    assert_eq!(mine.updated_at(), world.connector.updated_at());
}

#[tokio::test]
async fn changed_scopes_are_asked_of_new_connections_only() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let update = ConnectorUpdate::new().scopes(["openid", "calendar.write"]);
    let updated = world.vault.connectors().update(world.connector.id(), update).await.expect("updates");
    assert_eq!(updated.scopes().collect::<Vec<_>>(), ["openid", "calendar.write"]);

    world.clock.advance(Duration::from_secs(2 * 60 * 60));
    let kept = world.token("alice").await.expect("refreshes");
    assert_eq!(kept.generation(), 2);
    assert_eq!(kept.scopes().collect::<Vec<_>>(), ["openid", "email", "calendar.read"]);
    world.connect("bob").await.expect("connects");
    let asked = world.token("bob").await.expect("a token");
    assert_eq!(asked.scopes().collect::<Vec<_>>(), ["openid", "calendar.write"]);
}

#[tokio::test]
async fn both_secrets_are_good_while_the_provider_changes_them() {
    let world = World::start().await;
    world.remember(Some(NEXT_SECRET.to_owned()));
    let (connectors, id) = (world.vault.connectors(), world.connector.id());
    let rotating = connectors.rotate_secret(id, ClientSecret::new(NEXT_SECRET)).await;
    assert!(world.note(rotating).expect("rotates").is_rotating_secret());

    world.connect("alice").await.expect("with the current secret");
    assert_eq!(world.provider.count(Endpoint::Token), 1);
    change_secret_at_provider(&world);
    world.connect("bob").await.expect("with the next secret");
    assert_eq!(world.provider.count(Endpoint::Token), 3, "the current one is tried first");
    assert!(world.note(world.user("alice").token(id).fresh().await).is_ok(), "refreshes too");
    assert_eq!(world.provider.count(Endpoint::Token), 5);

    let promoted = world.note(connectors.promote_secret(id).await).expect("promotes");
    assert!(!promoted.is_rotating_secret());
    // No connection is refreshed twice within this time.
    world.clock.advance(Duration::from_secs(30));
    assert!(world.note(world.user("alice").token(id).fresh().await).is_ok());
    assert_eq!(world.provider.count(Endpoint::Token), 6, "the old one is forgotten");
    let gone = world.user("alice").disconnect(id).await.expect("disconnects");
    assert_eq!(gone, Disconnected::Revoked);
}

#[tokio::test]
async fn a_revocation_uses_the_next_secret_too() {
    let world = World::start().await;
    world.remember(Some(NEXT_SECRET.to_owned()));
    world.connect("alice").await.expect("connects");
    let id = world.connector.id();
    world.vault.connectors().rotate_secret(id, ClientSecret::new(NEXT_SECRET)).await.expect("rotates");
    change_secret_at_provider(&world);
    let gone = world.user("alice").disconnect(id).await.expect("disconnects");
    assert_eq!(gone, Disconnected::Revoked);
}

fn change_secret_at_provider(world: &World) {
    world.provider.add_client(world.provider.client_id(), NEXT_SECRET, ClientAuth::Any);
}

#[tokio::test]
async fn a_secret_that_changed_without_notice_blames_the_client_and_no_connection() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let before = world.token("alice").await.expect("a token");
    change_secret_at_provider(&world);
    let query = world.query("bob").await;
    assert_refused(world.deliver(&query).await, ErrorKind::ProviderMisconfigured, "invalid_client");
    world.assert_not_connected("bob").await;
    world.assert_unchanged("alice", &before).await;
}

#[tokio::test]
async fn there_is_nothing_to_promote_or_rotate_without_a_secret() {
    let world = World::start().await;
    let connectors = world.vault.connectors();
    let promoted = world.note(connectors.promote_secret(world.connector.id()).await);
    assert_refused(promoted, ErrorKind::InvalidInput, "next secret");
    let public = NewConnector::new("public", world.provider.provider()).public_client("public-client");
    let public = connectors.register(public).await.expect("registers");
    let rotated = connectors.rotate_secret(public.id(), ClientSecret::new(NEXT_SECRET)).await;
    assert_refused(world.note(rotated), ErrorKind::InvalidInput, "public client");

    world.provider.add_client("public-client", "", ClientAuth::None);
    world.connect_as(world.user("alice").connect(public.id()), "alice").await.expect("connects");
}

#[tokio::test]
async fn a_connector_that_is_off_connects_and_refreshes_nobody() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let (connectors, id) = (world.vault.connectors(), world.connector.id());
    let off = connectors.update(id, ConnectorUpdate::new().enabled(false)).await.expect("updates");
    assert!(!off.is_enabled());
    let started = world.note(world.connecting("bob").start(&binding()).await);
    assert_refused(started, ErrorKind::ConnectorDisabled, "switched off");
    assert!(world.token("alice").await.is_ok(), "what lives is handed out");
    world.clock.advance(Duration::from_secs(2 * 60 * 60));
    assert_refused(world.token("alice").await, ErrorKind::ConnectorDisabled, "switched off");
    assert_eq!(world.provider.refreshes().len(), 0);

    connectors.update(id, ConnectorUpdate::new().enabled(true)).await.expect("updates");
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);
    let off = ConnectorUpdate::new().enabled(false);
    connectors.update(id, off).await.expect("updates");
    assert_eq!(world.user("alice").disconnect(id).await.expect("disconnects"), Disconnected::Revoked);
}

#[tokio::test]
async fn a_connector_with_connections_is_not_deleted() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let (connectors, id) = (world.vault.connectors(), world.connector.id());
    let refused = world.note(connectors.delete(id).await);
    assert_refused(refused, ErrorKind::InvalidInput, id.as_str());
    assert!(world.token("alice").await.is_ok());

    world.user("alice").disconnect(id).await.expect("disconnects");
    world.note(connectors.delete(id).await).expect("deletes");
    assert_refused(world.note(connectors.delete(id).await), ErrorKind::UnknownConnector, id.as_str());
    assert!(connectors.list().await.expect("a listing").is_empty());
    let started = world.note(world.connecting("alice").start(&binding()).await);
    assert_refused(started, ErrorKind::UnknownConnector, id.as_str());
}

#[tokio::test]
async fn a_connector_is_for_the_owners_it_names() {
    for (owners, user, shared) in [
        (AllowedOwners::Any, true, true),
        (AllowedOwners::Shared, false, true),
        (AllowedOwners::Users, true, false),
    ] {
        let world = World::start().await;
        let id = world.connector.id();
        let update = ConnectorUpdate::new().owners(owners);
        world.vault.connectors().update(id, update).await.expect("updates");
        for (handle, allowed, names) in
            [(world.user("alice"), user, "shared account only"), (world.vault.shared(), shared, "users only")]
        {
            if allowed {
                world.connect_as(handle.connect(id), "alice").await.expect("connects");
                assert!(world.note(handle.token(id).await).is_ok());
            } else {
                let started = world.note(handle.connect(id).start(&binding()).await);
                assert_refused(started, ErrorKind::ConnectorDisabled, names);
            }
        }
    }
}

#[tokio::test]
async fn extra_fields_are_checked_whole_and_come_with_the_connection() {
    let world = World::builder()
        .connector(|connector| connector.field("site", "[a-z]{3,8}").field("region", "eu|us"))
        .start()
        .await;
    let connecting =
        |site: &str, region: &str| world.connecting("alice").config("site", site).config("region", region);
    for (connect, names) in [
        (world.connecting("alice").config("site", "acme"), "missing field `region`"),
        (connecting("acme", "eu").config("nobody", "x"), "unknown field `nobody`"),
        (connecting("ac", "eu"), "`site`"),
        (connecting("acme.evil", "eu"), "`site`"),
        (connecting("acme\n", "eu"), "`site`"),
        (connecting("acme", "eus"), "`region`"),
        (connecting("acme", ""), "`region`"),
    ] {
        let started = world.note(connect.start(&binding()).await);
        assert_refused(started, ErrorKind::InvalidInput, names);
    }
    assert_eq!(world.faults.calls("flows.insert"), 0);

    world.connect_as(connecting("acme", "eu"), "alice").await.expect("connects");
    let token = world.token("alice").await.expect("a token");
    assert_eq!(token.connection_config("site"), Some("acme"));
    let listed = world.user("alice").connections().await.expect("a listing");
    assert_eq!(listed[0].config().collect::<Vec<_>>(), [("region", "eu"), ("site", "acme")]);
}

#[tokio::test]
async fn a_connector_may_have_a_redirect_uri_of_its_own_from_the_list() {
    let own = "https://app.example.com/own";
    let world =
        World::builder().vault(|vault| vault.redirect_uri("https://app.example.com/own")).start().await;
    let connector = world.new_connector("own").redirect_uri(own);
    let connector = world.vault.connectors().register(connector).await.expect("registers");
    assert_eq!(connector.redirect_uri(), own);
    let query = world.query_of(world.user("alice").connect(connector.id()), "alice").await;
    world.deliver(&query).await.expect("connects");
    let sent = world.provider.exchanges();
    assert_eq!(sent[0].param("redirect_uri"), Some(own));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_two_processes_at_once_both_count() {
    let world = World::start().await;
    let (second, _) = world.second_vault().await;
    let id = world.connector.id();
    let change = |vault: &vault_core::Vault, update| {
        let connectors = vault.connectors();
        async move { connectors.update(id, update).await }
    };
    for _ in 0..10 {
        let (scopes, owners): (Result<_, Error>, Result<_, Error>) = tokio::join!(
            change(&world.vault, ConnectorUpdate::new().scopes(["calendar.read"])),
            change(&second, ConnectorUpdate::new().owners(AllowedOwners::Users)),
        );
        assert!(scopes.is_ok() && owners.is_ok());
        let connector = world.vault.connectors().get(id).await.expect("is there");
        assert_eq!(connector.owners(), AllowedOwners::Users);
        assert_eq!(connector.scopes().collect::<Vec<_>>(), ["calendar.read"]);
        let back = ConnectorUpdate::new().owners(AllowedOwners::Any).scopes(["openid"]);
        second.connectors().update(id, back).await.expect("updates");
    }
}

const FOLLOWED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn another_process_follows_a_change_within_ten_seconds() {
    let world = World::start().await;
    let (second, _) = world.second_vault().await;
    let id = world.connector.id();
    let starts = async || world.note(world.connecting("alice").start(&binding()).await).map(drop);
    let switch = async |on| second.connectors().update(id, ConnectorUpdate::new().enabled(on)).await;
    starts().await.expect("starts");
    switch(false).await.expect("switched off");
    starts().await.expect("it is known as it was");
    world.clock.advance(FOLLOWED);
    assert_refused(starts().await, ErrorKind::ConnectorDisabled, "switched off");
    switch(true).await.expect("switched on");
    world.clock.advance(FOLLOWED);
    starts().await.expect("on again");
    world.faults.reset();
    for _ in 0..10 {
        starts().await.expect("starts");
    }
    assert_eq!(world.faults.calls("connectors.get"), 0, "it is in memory");
    second.connectors().delete(id).await.expect("deletes");
    world.clock.advance(FOLLOWED);
    assert_refused(starts().await, ErrorKind::UnknownConnector, id.as_str());
}

#[tokio::test]
async fn what_is_shown_is_what_is_stored() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let (second, _) = world.second_vault().await;
    let id = world.connector.id();
    second.connectors().update(id, ConnectorUpdate::new().enabled(false)).await.expect("updates");
    assert!(!world.vault.connectors().get(id).await.expect("is there").is_enabled());
    let problem = world.user("alice").explain(id).await.expect("explained").connector_problem;
    assert_eq!(problem, Some(ErrorKind::ConnectorDisabled));
}

#[tokio::test]
async fn t17_a_client_that_is_refused_is_looked_up_again() {
    let world = World::start().await;
    world.remember(Some(NEXT_SECRET.to_owned()));
    world.connect("alice").await.expect("connects");
    let query = world.query("bob").await;
    let (second, _) = world.second_vault().await;
    let id = world.connector.id();
    second.connectors().rotate_secret(id, ClientSecret::new(NEXT_SECRET)).await.expect("rotates");
    second.connectors().promote_secret(id).await.expect("promotes");
    change_secret_at_provider(&world);

    world.deliver(&query).await.expect("with the secret that the other process set");
    world.token("bob").await.expect("a token");
    world.connect("carol").await.expect("in memory again");
    let sent = world.provider.count(Endpoint::Token);
    assert_eq!(sent, 4, "one request was refused");
}

#[tokio::test]
async fn t17_a_refresh_whose_client_is_refused_looks_it_up_again() {
    let world = World::start().await;
    world.remember(Some(NEXT_SECRET.to_owned()));
    world.connect("alice").await.expect("connects");
    let (second, _) = world.second_vault().await;
    let id = world.connector.id();
    world.expire_tokens();
    world.connect("bob").await.expect("keeps the connector in memory");
    second.connectors().rotate_secret(id, ClientSecret::new(NEXT_SECRET)).await.expect("rotates");
    second.connectors().promote_secret(id).await.expect("promotes");
    change_secret_at_provider(&world);
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);
    assert_eq!(world.provider.refreshes().len(), 2, "one was refused");
}

#[tokio::test]
async fn c13_what_one_tenant_has_opened_no_other_finds() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let other = world.vault.tenant("other");
    let id = world.connector.id();
    let started = world.note(other.user("alice").connect(id).start(&binding()).await);
    assert_refused(started, ErrorKind::UnknownConnector, id.as_str());
    world.connect("bob").await.expect("connects");
}
