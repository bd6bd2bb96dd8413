//! How often a token read allocates. Counted, so exact: on the thread of the test, from the call until its answer is dropped.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use vault_core::{AccessToken, Error, KeyRing, TokenCache, Vault, VaultBuilder};
use vault_testkit::simulator::{Endpoint, Fault};
use vault_tests::{KEYS, World};

/// Answers without waiting, as everything in memory does.
fn answer<F: IntoFuture>(work: F) -> F::Output {
    match pin!(work.into_future()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waited"),
    }
}

fn len(read: &Result<AccessToken, Error>) -> usize {
    read.as_ref().expect("a token").expose_secret().len()
}

/// Where `alice` has a token of that many bytes.
async fn connected(token_bytes: usize) -> World {
    let world =
        World::builder().in_memory().provider(|provider| provider.discovered_provider()).start().await;
    let token = "x".repeat(token_bytes);
    world.provider.inject(Endpoint::Token, Fault::genuine().set("access_token", token.as_str()));
    world.connect("alice").await.expect("alice connects");
    world
}

/// A vault on the store itself, without the wrappers of the tests.
async fn bare_vault(world: &World, options: impl FnOnce(VaultBuilder) -> VaultBuilder) -> Vault {
    let builder = Vault::builder()
        .stores(world.backend.open().await)
        .keys(KeyRing::from_text(KEYS).expect("a key"))
        .http(vault_http::GuardedHttp::new().expect("root certificates"))
        .redirect_uri("https://app.example.com/connect/callback")
        .clock(world.clock.clone());
    options(builder).build().await.expect("the vault starts")
}

#[tokio::test]
async fn a_token_read_in_memory_allocates_three_times() {
    let world = connected(2048).await;
    let vault = bare_vault(&world, |builder| builder).await;
    let alice = vault.user("alice");
    let id = world.connector.id();
    // Brings the data key into memory.
    assert_eq!(len(&alice.token(id).await), 2048);

    // The canary listens to everything, which allocates.
    let _quiet = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
    let mut read = 0;
    let counted = measure(|| read = len(&answer(alice.token(id))));
    assert_eq!(read, 2048);
    // The request's future, the buffer that the token is opened in, and what the answer points to.
    assert!(counted.count_total <= 3, "{counted:?}");
    assert_eq!(counted.count_current, 0, "{counted:?}");
}

#[tokio::test]
async fn a_token_read_out_of_the_cache_allocates_nothing() {
    let world = connected(2048).await;
    let vault = bare_vault(&world, |builder| builder.token_cache(TokenCache::new())).await;
    let alice = vault.user("alice");
    let id = world.connector.id();
    assert_eq!(len(&alice.token(id).await), 2048);

    let mut read = 0;
    let counted = measure(|| read = len(&answer(alice.token(id))));
    assert_eq!((read, counted.count_total), (2048, 0), "{counted:?}");
}
