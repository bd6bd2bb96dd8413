//! Metadata documents that are wrong, and those that do not come.

use std::time::Duration;

use vault_core::ErrorKind;
use vault_core::event::Event;
use vault_testkit::simulator::{Endpoint, Fault};

use super::{FAILED, FRESH, discovered, is, publish, start_fails};

#[tokio::test(flavor = "multi_thread")]
async fn d05_metadata_of_another_issuer_is_refused() {
    let world = discovered().await;
    let issuer = world.provider.issuer().to_owned();
    for other in [
        format!("{issuer}/"),
        issuer.replace("http:", "HTTP:"),
        issuer.replace("http:", "https:"),
        issuer.replace("127.0.0.1", "localhost"),
        "https://evil.example".to_owned(),
    ] {
        publish(&world, "issuer", &other);
        is(&start_fails(&world).await, ErrorKind::IssuerMismatch, &format!("names issuer {other}"));
        world.clock.advance(FAILED);
    }
    assert_eq!(world.provider.count(Endpoint::Authorize) + world.provider.count(Endpoint::Token), 0);
    publish(&world, "issuer", &issuer);
    world.connect("alice").await.expect("nothing of it was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn d06_endpoints_on_unrelated_origins_are_refused() {
    let fields =
        ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "revocation_endpoint"];
    for field in fields {
        let world = discovered().await;
        for url in ["https://evil.example/x", "http://127.0.0.1:1/x", "http://localhost/x"] {
            publish(&world, field, url);
            let error = start_fails(&world).await;
            is(&error, ErrorKind::EndpointRefused, &format!("{field} is on another origin"));
            world.clock.advance(FAILED);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_documents_that_redirect_never_end_or_are_something_else_are_refused() {
    let world = discovered().await;
    let mislabelled = Fault::genuine().header("content-type", "text/plain");
    for (fault, kind, says) in [
        (Fault::redirect(302, "/elsewhere"), ErrorKind::EndpointRefused, "redirects, which is refused"),
        (Fault::oversized(50 << 20), ErrorKind::ProviderReplyInvalid, "response too large"),
        (Fault::endless(), ErrorKind::ProviderReplyInvalid, "response too large"),
        (Fault::html(200), ErrorKind::ProviderReplyInvalid, "is not declared as JSON"),
        (mislabelled, ErrorKind::ProviderReplyInvalid, "is not declared as JSON"),
        (
            Fault::reply(200, "application/json", "[]"),
            ErrorKind::ProviderReplyInvalid,
            "is not the JSON expected",
        ),
    ] {
        world.provider.inject(Endpoint::Discovery, fault);
        is(&start_fails(&world).await, kind, says);
        world.clock.advance(FAILED);
    }
    assert_eq!(world.provider.count(Endpoint::Elsewhere), 0);
    world.connect("alice").await.expect("nothing of it was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_a_document_that_stops_arriving_times_out() {
    let world = discovered().await;
    world.provider.inject(Endpoint::Discovery, Fault::genuine().stalled_at(10));
    let deadline_passes = async {
        world.clock.wait_for_sleepers(1).await;
        world.clock.advance(Duration::from_secs(20));
    };
    let (error, ()) = tokio::join!(start_fails(&world), deadline_passes);
    is(&error, ErrorKind::ProviderUnavailable, "did not answer in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_refreshes_use_the_last_good_metadata_while_the_provider_hides_it() {
    let world = discovered().await;
    world.connect("alice").await.expect("alice connects");
    for outage in [Fault::error(503, "down").forever(), Fault::dropped().forever()] {
        world.provider.clear_faults();
        world.provider.inject(Endpoint::Discovery, outage);
        world.clock.advance(FRESH * 2);
        world.token("alice").await.expect("the endpoints are known");
    }
    assert_eq!(world.provider.refreshes().len(), 2);

    let (other, _faults) = world.second_vault().await;
    world.clock.advance(FRESH * 2);
    let read = || async { world.note(other.user("alice").token(world.connector.id()).await) };
    let error = read().await.expect_err("this process never saw the metadata");
    is(&error, ErrorKind::ProviderUnavailable, "oauth-authorization-server");
    assert!(error.is_retryable());
    assert_eq!(world.provider.refreshes().len(), 2);

    world.provider.clear_faults();
    world.clock.advance(FAILED);
    assert_eq!(read().await.expect("the provider is back").generation(), 4);
    assert!(!world.events().iter().any(|event| matches!(event, Event::NeedsReauthorization { .. })));
}
