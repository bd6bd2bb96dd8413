//! What the vault puts on the wire, and what it does not.

use std::collections::HashMap;
use std::time::Duration;

use vault_core::connector::ClientAuth;
use vault_core::{ClientSecret, ErrorKind};
use vault_testkit::simulator::{AuthMethod, ClientAuth as Accepted, Endpoint, Fault};
use vault_tests::{World, binding};

const REDIRECT_URI: &str = "https://app.example.com/connect/callback";
/// Longer than an access token lives.
const LATER: Duration = Duration::from_secs(2 * 60 * 60);

/// Connects, refreshes, disconnects.
async fn a_life(world: &World) {
    world.connect("alice").await.expect("alice connects");
    world.clock.advance(LATER);
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);
    world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
}

#[tokio::test(flavor = "multi_thread")]
async fn h02_the_redirect_uri_is_the_configured_one_and_nothing_in_a_callback_changes_it() {
    let world = World::start().await;
    let started = world.connecting("alice").start(&binding()).await.expect("the flow starts");
    let params: HashMap<_, _> = started.url().query_pairs().into_owned().collect();
    assert_eq!(params["redirect_uri"], REDIRECT_URI);

    // The browser says that it came back to another host: the vault is not told, and asks nobody.
    let mut back = world.visit(started.url().clone(), "alice").await;
    back.set_host(Some("evil.example")).expect("a host");
    let query =
        format!("{}&redirect_uri=https://evil.example/cb&host=evil.example", back.query().expect("a query"));
    let callback = vault_core::Callback::from_query(query).expect("extra parameters are ignored");
    world.complete(callback).await.expect("alice connects");
    assert_eq!(world.provider.exchanges()[0].param("redirect_uri"), Some(REDIRECT_URI));
}

/// What RFC 6749 section 2.3.1 is about.
const ODD_ID: &str = "cl:ient +%";
const ODD_SECRET: &str = "wörd s:e%c+r e&t=-%2B-0123456789";

#[tokio::test(flavor = "multi_thread")]
async fn h04_odd_client_credentials_arrive_as_they_are() {
    let cases = [
        (Accepted::Basic, AuthMethod::Basic, ClientAuth::Basic),
        (Accepted::Post, AuthMethod::Post, ClientAuth::Post),
    ];
    for (accepted, method, auth) in cases {
        let world = match auth {
            ClientAuth::Basic => World::builder().connector(|new| {
                new.client(ODD_ID, ClientSecret::new(ODD_SECRET)).client_auth(ClientAuth::Basic)
            }),
            _ => World::builder().connector(|new| {
                new.client(ODD_ID, ClientSecret::new(ODD_SECRET)).client_auth(ClientAuth::Post)
            }),
        };
        let world = world.start().await;
        world.remember(ODD_SECRET.split_once(' ').map(|(_, ascii)| ascii.to_owned()));
        world.provider.add_client(ODD_ID, ODD_SECRET, accepted);
        a_life(&world).await;
        let authenticated = [Endpoint::Token, Endpoint::Revoke];
        for call in world.provider.calls().iter().filter(|call| authenticated.contains(&call.endpoint)) {
            assert_eq!((call.auth, call.status), (method, Some(200)));
            assert_eq!(call.client.as_deref(), Some(ODD_ID));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h05_a_token_request_whose_connection_breaks_is_not_repeated() {
    let world = World::start().await;
    world.provider.inject(Endpoint::Token, Fault::dropped());
    let error = world.connect("alice").await.expect_err("the connection broke");
    assert_eq!(*error.kind(), ErrorKind::ProviderUnavailable);
    assert_eq!(world.provider.count(Endpoint::Token), 1);

    // On a connection that was used before, where clients like to try again.
    world.connect("alice").await.expect("alice connects");
    world.provider.inject(Endpoint::Token, Fault::dropped().for_grant("refresh_token"));
    world.clock.advance(LATER);
    world.token("alice").await.expect_err("the connection broke");
    assert_eq!(world.provider.refreshes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn h06_cookies_of_the_token_endpoint_are_ignored() {
    let world = World::start().await;
    let cookie = Fault::genuine().header("set-cookie", "session=canary; Path=/; Max-Age=86400");
    for endpoint in [Endpoint::Token, Endpoint::Userinfo] {
        world.provider.inject(endpoint, cookie.clone().forever());
    }
    a_life(&world).await;
    assert!(!world.provider.calls().iter().any(|call| call.has_cookie()));
}

#[tokio::test(flavor = "multi_thread")]
async fn h07_no_request_carries_a_secret_in_its_url() {
    for world in [
        World::start().await,
        World::builder().connector(|new| new.client_auth(ClientAuth::Post)).start().await,
    ] {
        a_life(&world).await;
        for call in world.provider.calls() {
            let expected: &[_] = match call.endpoint {
                Endpoint::Authorize => &[
                    "client_id",
                    "code_challenge",
                    "code_challenge_method",
                    "nonce",
                    "redirect_uri",
                    "response_type",
                    "scope",
                    "state",
                ],
                _ => &[],
            };
            let mut names = call.query_names();
            names.sort_unstable();
            assert_eq!(names, expected, "{:?}", call.endpoint);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h08_no_credential_stays_with_the_http_client() {
    let world = World::builder()
        .provider(vault_testkit::simulator::Simulator::discovered_provider)
        .connector(|new| new.public_client("public"))
        .start()
        .await;
    world.provider.add_client("public", "", Accepted::None);
    a_life(&world).await;
    world.connect("bob").await.expect("bob connects");
    let calls = world.provider.calls();
    assert!(calls.iter().any(|call| call.endpoint == Endpoint::Jwks));
    assert!(!calls.iter().any(|call| call.header("authorization").is_some()), "this client has none");

    // Where there is one, it goes with its own request alone.
    let world = World::start().await;
    a_life(&world).await;
    world.connect("bob").await.expect("bob connects");
    let sent = |endpoint| {
        let calls = world.provider.calls().into_iter().filter(move |call| call.endpoint == endpoint);
        calls.map(|call| call.header("authorization").map(str::to_owned)).collect::<Vec<_>>()
    };
    let (tokens, bearers, keys) = (sent(Endpoint::Token), sent(Endpoint::Userinfo), sent(Endpoint::Jwks));
    assert!(tokens.iter().all(|basic| basic.is_some() && *basic == tokens[0]));
    assert!(bearers.len() == 2 && bearers[0] != bearers[1] && !tokens.contains(&bearers[0]));
    assert!(keys.iter().all(Option::is_none));
}
