//! What the host passes in.

use std::collections::BTreeMap;

use vault_core::connector::ConnectorUpdate;
use vault_core::id::{ConnectorId, UserId};
use vault_core::{Catalog, ErrorKind, Provider};
use vault_tests::{World, assert_refused};

use super::{param, params, start};

/// Nothing was stored for anybody, and the provider heard of nothing.
async fn assert_nothing_began(world: &World) {
    assert_eq!(world.faults.calls("flows.insert"), 0);
    assert_eq!(world.provider.calls().len(), 0);
    world.assert_not_connected("alice").await;
}

#[tokio::test]
async fn c01_an_unknown_provider_or_connector_is_named() {
    let world = World::start().await;
    let provider = world.note(Catalog::builtin().provider("gogle"));
    assert_refused(provider, ErrorKind::UnknownProvider, "gogle");
    let connector = ConnectorId::new("gogle").expect("an id");
    let started = start(&world, world.user("alice").connect(&connector)).await;
    assert_refused(started, ErrorKind::UnknownConnector, "gogle");
    assert_nothing_began(&world).await;
}

#[tokio::test]
async fn c02_a_redirect_uri_is_allowed_only_to_the_letter() {
    let second = "https://app.example.com/second";
    let world =
        World::builder().vault(|vault| vault.redirect_uri("https://app.example.com/second")).start().await;
    for uri in [
        "https://app.example.com/connect/callback/",
        "https://app.example.com/Connect/callback",
        "https://app.example.com/connect/callback?next=1",
        "https://app.example.com/connect/callback#",
        "https://app.example.com:443/connect/callback",
        "https://app.example.com@evil.example/connect/callback",
        "https://user@app.example.com/connect/callback",
        "https://app.example.com/connect/./callback",
        "https://app.example.com.evil.example/connect/callback",
        "http://app.example.com/connect/callback",
        "HTTPS://app.example.com/connect/callback",
        "",
    ] {
        let kind = ErrorKind::InvalidInput;
        let named = format!("redirect URI not allowed: {uri}");
        let connectors = world.vault.connectors();
        let started = start(&world, world.connecting("alice").redirect_uri(uri)).await;
        assert_refused(started, kind.clone(), &named);
        let registered =
            world.note(connectors.register(world.new_connector("another").redirect_uri(uri)).await);
        assert_refused(registered, kind.clone(), &named);
        let update = ConnectorUpdate::new().redirect_uri(uri);
        assert_refused(world.note(connectors.update(world.connector.id(), update).await), kind, &named);
    }
    assert_nothing_began(&world).await;

    let started = start(&world, world.connecting("alice").redirect_uri(second)).await.expect("allowed");
    assert_eq!(param(started.url(), "redirect_uri"), second);
    let back = world.visit(started.url().clone(), "alice").await;
    assert!(back.as_str().starts_with(second));
    world.deliver(back.query().expect("a query")).await.expect("the exchange names the same URI");
}

#[tokio::test]
async fn c03_a_return_target_elsewhere_is_refused_and_nothing_stored() {
    let world =
        World::builder().vault(|vault| vault.allow_return_to("https://app.example.com/done")).start().await;
    for target in [
        "https://evil",
        "//evil",
        "/\\evil",
        "\\\\evil",
        "https:evil",
        "/%09/evil",
        "/%5Cevil",
        "/a\r\nset-cookie: x",
        "/user@evil",
        "https://app.example.com/done/",
        "",
    ] {
        let started = start(&world, world.connecting("alice").return_to(target)).await;
        assert_refused(started, ErrorKind::InvalidInput, "invalid return target");
    }
    assert_nothing_began(&world).await;
    let absolute = world.connecting("alice").return_to("https://app.example.com/done");
    assert!(start(&world, absolute).await.is_ok());
}

#[tokio::test]
async fn c03_the_return_target_is_kept_on_the_server_and_never_taken_from_the_callback() {
    let world = World::start().await;
    let connect = world.connecting("alice").return_to("/settings?tab=calendar#demo");
    let query = world.query_of(connect, "alice").await;
    assert!(!query.contains("settings"));
    let connected = world.deliver(&format!("{query}&return_to=https://evil&returnTo=//evil")).await;
    assert_eq!(connected.expect("connects").return_to(), "/settings?tab=calendar#demo");
}

#[tokio::test]
async fn c04_a_bad_scope_is_named_by_its_index_and_doubles_are_merged() {
    let world = World::start().await;
    let connectors = world.vault.connectors();
    for bad in ["a b", "a\"", "a\\", "a\n", "\u{e9}", ""] {
        let scopes = ["calendar.read", bad];
        let (kind, index) = (ErrorKind::InvalidInput, "invalid scope at index 1");
        let started = start(&world, world.connecting("alice").scopes(scopes)).await;
        assert_refused(started, kind.clone(), index);
        let required = start(&world, world.connecting("alice").require_scopes(scopes)).await;
        assert_refused(required, kind.clone(), index);
        let registered = world.note(connectors.register(world.new_connector("another").scopes(scopes)).await);
        assert_refused(registered, kind.clone(), index);
        let update = ConnectorUpdate::new().scopes(scopes);
        assert_refused(world.note(connectors.update(world.connector.id(), update).await), kind, index);
    }
    assert_nothing_began(&world).await;

    let scopes = ["openid", "calendar.read", "openid", "calendar.read"];
    let started = start(&world, world.connecting("alice").scopes(scopes)).await.expect("starts");
    assert_eq!(param(started.url(), "scope"), "openid calendar.read");
}

#[tokio::test]
async fn c05_a_bad_user_id_is_refused_by_every_operation() {
    let world = World::start().await;
    let long = "x".repeat(256);
    for (user, why) in [("", "empty"), ("a\0b", "NUL"), (long.as_str(), "longer than 255")] {
        let (kind, id) = (ErrorKind::InvalidInput, world.connector.id());
        assert_refused(start(&world, world.connecting(user)).await, kind.clone(), why);
        assert_refused(world.token(user).await, kind.clone(), why);
        assert_refused(world.note(world.user(user).connections().await), kind.clone(), why);
        assert_refused(world.note(world.user(user).disconnect(id).await), kind, why);
    }
    assert!(UserId::from_bytes(b"a\xff").is_err());
    assert_nothing_began(&world).await;
}

#[tokio::test]
async fn c06_user_ids_are_never_normalised() {
    let world = World::start().await;
    let users = ["alice", "Alice", "alice ", "jos\u{e9}", "jose\u{301}", "\u{fb01}", "fi"];
    for (index, user) in users.into_iter().enumerate() {
        let account = format!("account-{index}");
        world.connect_as(world.connecting(user), &account).await.expect("connects");
    }
    for (index, user) in users.into_iter().enumerate() {
        let listed = world.user(user).connections().await.expect("a listing");
        assert_eq!(listed.len(), 1, "{user}");
        assert_eq!(listed[0].account_id(), Some(format!("account-{index}").as_str()));
        let token = world.token(user).await.expect("a token");
        let known = world.provider.describe(token.expose_secret()).expect("the provider's own");
        assert_eq!(known.account, format!("account-{index}"));
    }
    world.user("Alice").disconnect(world.connector.id()).await.expect("disconnects");
    assert!(world.token("alice").await.is_ok());
    assert!(world.token("alice ").await.is_ok());
}

#[tokio::test]
async fn c07_no_parameter_of_the_protocol_can_be_set() {
    let world = World::start().await;
    for name in [
        "state",
        "redirect_uri",
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "response_type",
        "response_mode",
        "nonce",
        "scope",
        "Scope",
        "request",
        "request_uri",
        "client_secret",
    ] {
        let (kind, named) = (ErrorKind::InvalidInput, format!("reserved parameter `{name}`"));
        let connectors = world.vault.connectors();
        let started = start(&world, world.connecting("alice").authorize_param(name, "x")).await;
        assert_refused(started, kind.clone(), &named);
        let registered =
            world.note(connectors.register(world.new_connector("another").authorize_param(name, "x")).await);
        assert_refused(registered, kind.clone(), &named);
        let params = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        let update = ConnectorUpdate::new().authorize_params(params);
        assert_refused(world.note(connectors.update(world.connector.id(), update).await), kind, &named);
    }
    assert_nothing_began(&world).await;
    let hinted = world.connecting("alice").authorize_param("login_hint", "a&state=b");
    let started = start(&world, hinted).await.expect("starts");
    assert_eq!(param(started.url(), "login_hint"), "a&state=b");
    assert_eq!(params(started.url(), "state").len(), 1);
}

#[tokio::test]
async fn c13_another_tenants_connector_does_not_exist() {
    let world = World::start().await;
    let other = world.vault.tenant("other");
    let missing = ConnectorId::new("0123456789abcdef").expect("an id");
    let refusal = |id: &ConnectorId| {
        let connect = other.user("alice").connect(id);
        async { start(&world, connect).await.expect_err("refused") }
    };
    let (foreign, none) = (refusal(world.connector.id()).await, refusal(&missing).await);
    assert_eq!(*foreign.kind(), ErrorKind::UnknownConnector);
    assert_eq!(
        foreign.to_string().replace(world.connector.id().as_str(), "ID"),
        none.to_string().replace(missing.as_str(), "ID"),
    );
    assert_nothing_began(&world).await;
    assert!(other.user("alice").connections().await.expect("a listing").is_empty());
}

#[tokio::test]
async fn c14_an_authorize_endpoint_keeps_its_query() {
    let world = World::builder()
        .provider(|sim| {
            let file = sim.provider_toml().replace("/authorize\"", "/authorize?prompt=consent&hd=a%26b\"");
            Provider::from_toml(&file).expect("a query is fine")
        })
        .start()
        .await;
    let started = start(&world, world.connecting("alice")).await.expect("starts");
    assert_eq!(param(started.url(), "prompt"), "consent");
    assert_eq!(param(started.url(), "hd"), "a&b");
    assert_eq!(param(started.url(), "response_type"), "code");
    assert_eq!(started.url().as_str().matches('?').count(), 1);
    world.connect("alice").await.expect("connects");
}

#[tokio::test]
async fn c14_an_authorize_endpoint_with_a_fragment_is_refused() {
    let world = World::builder().provider(|sim| sim.discovered_provider()).start().await;
    let file = world.provider.provider_toml().replace("/authorize\"", "/authorize#top\"");
    assert_refused(world.note(Provider::from_toml(&file)), ErrorKind::EndpointRefused, "`authorize`");

    let endpoint = format!("{}/authorize#top", world.provider.issuer());
    world.provider.switch(|switches| {
        switches.discovery.insert("authorization_endpoint".to_owned(), endpoint.into());
    });
    let started = start(&world, world.connecting("alice")).await;
    assert_refused(started, ErrorKind::EndpointRefused, "authorization_endpoint");
    assert_eq!(world.faults.calls("flows.insert"), 0);
}
