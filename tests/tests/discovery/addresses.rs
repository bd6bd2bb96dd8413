//! Where codes, tokens and browsers are never sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use vault_core::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use vault_core::{ErrorKind, Provider, VaultBuilder};
use vault_http::GuardedHttp;
use vault_testkit::simulator::Endpoint;
use vault_tests::World;

use super::{FAILED, FRESH, discovered, is, publish, register, start_fails, stores_nothing};

#[tokio::test(flavor = "multi_thread")]
async fn d03_no_code_goes_to_a_private_address() {
    let mut world = World::start().await;
    let file = world.provider.provider_toml();
    let token = format!("{}/token", world.provider.issuer());
    for host in
        ["169.254.169.254", "10.0.0.7", "192.168.1.1", "0.0.0.0", "127.0.0.2", "[fd00::1]", "[fe80::1]"]
    {
        let file = file.replace(&token, &format!("https://{host}/token"));
        register(&mut world, host, &file).await;
        let error = world.connect("alice").await.expect_err(host);
        is(&error, ErrorKind::EndpointRefused, &format!("address not allowed ({host})"));
        stores_nothing(&world).await;
    }
    for disguised in ["2130706433", "0x7f.1", "0177.0.0.1"] {
        let file = file.replace(&token, &format!("https://{disguised}/token"));
        let error = world.note(Provider::from_toml(&file)).expect_err(disguised);
        is(&error, ErrorKind::EndpointRefused, "endpoint `token` does not mean what it says");
    }
    assert_eq!(world.provider.count(Endpoint::Token), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn d03_no_access_token_goes_to_a_private_address() {
    let mut world = World::start().await;
    let userinfo = format!("{}/userinfo", world.provider.issuer());
    let file = world.provider.provider_toml().replace(&userinfo, "https://169.254.169.254/userinfo");
    register(&mut world, "moved", &file).await;
    let error = world.connect("alice").await.expect_err("the metadata service of a cloud");
    is(&error, ErrorKind::EndpointRefused, "userinfo request failed: address not allowed (169.254.169.254)");
    stores_nothing(&world).await;
}

/// Whether the name of the provider now leads into the private network.
static REBOUND: AtomicBool = AtomicBool::new(false);

#[derive(Debug)]
struct Rebinding(GuardedHttp);

#[async_trait]
impl HttpClient for Rebinding {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if REBOUND.load(Ordering::SeqCst) {
            return Err(HttpError::not_sent(HttpErrorKind::AddressNotAllowed, "as.example"));
        }
        self.0.send(request).await
    }
}

fn with_rebinding(builder: VaultBuilder) -> VaultBuilder {
    let http = GuardedHttp::builder().danger_allow_loopback_http().build().expect("an HTTP client");
    builder.http(Rebinding(http))
}

#[tokio::test(flavor = "multi_thread")]
async fn d04_a_name_that_was_rebound_gets_no_refresh_token() {
    let world = World::builder().vault(with_rebinding).start().await;
    world.connect("alice").await.expect("alice connects");
    REBOUND.store(true, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(3590));
    assert_eq!(world.token("alice").await.expect("the token still lives").generation(), 1);
    world.clock.advance(FRESH);
    let error = world.token("alice").await.expect_err("the name is rebound");
    is(&error, ErrorKind::EndpointRefused, "address not allowed (as.example)");
    let query = world.query("bob").await;
    let error = world.complete(vault_core::Callback::from_query(&query).expect("a callback")).await;
    is(&error.expect_err("the name is rebound"), ErrorKind::EndpointRefused, "address not allowed");
    assert_eq!(world.provider.refreshes().len(), 0);

    REBOUND.store(false, Ordering::SeqCst);
    world.clock.advance(FRESH);
    assert_eq!(world.token("alice").await.expect("the refresh token was kept").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn d08_plain_http_beyond_this_machine_is_refused() {
    let world = discovered().await;
    for url in ["http://10.0.0.7/token", "http://as.example/token"] {
        publish(&world, "token_endpoint", url);
        is(&start_fails(&world).await, ErrorKind::EndpointRefused, "token_endpoint is not an https URL");
        world.clock.advance(FAILED);
    }
    let file = world.provider.provider_toml();
    let file = file.replace(&format!("{}/token", world.provider.issuer()), "http://as.example/token");
    let error = world.note(Provider::from_toml(&file)).expect_err("plain HTTP");
    is(&error, ErrorKind::EndpointRefused, "insecure endpoint `token`");
    assert_eq!(world.provider.count(Endpoint::Token), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn d08_metadata_that_turned_bad_does_not_replace_the_good() {
    let world = discovered().await;
    world.connect("alice").await.expect("alice connects");
    publish(&world, "token_endpoint", "http://as.example/token");
    world.clock.advance(FRESH * 2);
    assert_eq!(world.token("alice").await.expect("refreshed at the old place").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn d09_no_browser_is_sent_to_anything_but_a_web_page() {
    let world = discovered().await;
    let issuer = world.provider.issuer().to_owned();
    for url in [
        "javascript:alert(1)".to_owned(),
        "file:///etc/passwd".to_owned(),
        "calculator://open".to_owned(),
        format!("{issuer}/authorize;$(calc)"),
        format!("{issuer}/authorize|`calc`"),
        format!("{issuer}/authorize'x"),
        format!("{issuer}/authorize\"x"),
    ] {
        publish(&world, "authorization_endpoint", &url);
        is(&start_fails(&world).await, ErrorKind::EndpointRefused, "authorization_endpoint");
        world.clock.advance(FAILED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_where_tls_fails_nothing_is_sent_in_plain() {
    let mut world = World::start().await;
    let issuer = world.provider.issuer().to_owned();
    let secure = issuer.replace("http:", "https:");
    // This server speaks plain HTTP: a client that fell back on it would be heard.
    let file = world.provider.provider_toml().replace(&format!("{issuer}/token"), &format!("{secure}/token"));
    register(&mut world, "moved", &file).await;
    let error = world.connect("alice").await.expect_err("no TLS there");
    is(&error, ErrorKind::EndpointRefused, "token request failed: TLS failed (127.0.0.1)");
    assert_eq!(world.provider.count(Endpoint::Token), 0);
    stores_nothing(&world).await;

    let provider = format!("id = 'x'\nname = 'X'\n[endpoints]\nissuer = '{secure}'\ndiscovery = {{}}");
    register(&mut world, "discovered", &provider).await;
    is(&start_fails(&world).await, ErrorKind::EndpointRefused, "TLS failed");
    assert_eq!(world.provider.count(Endpoint::Discovery), 0);
}
