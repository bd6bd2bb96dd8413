//! Where a provider's endpoints may be, and what becomes of connections when they are not there.

mod addresses;
mod documents;
mod id_tokens;
mod moved;
mod templates;

use std::time::Duration;

use serde_json::json;
use vault_core::{ClientSecret, Error, ErrorKind, NewConnector, Provider};
use vault_testkit::simulator::Simulator;
use vault_tests::{World, binding};

/// How long metadata is used without asking again.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// How long a lookup that failed is not repeated.
const FAILED: Duration = Duration::from_secs(30);

/// A world whose vault knows the issuer, and nothing else of the provider.
async fn discovered() -> World {
    World::builder().provider(Simulator::discovered_provider).start().await
}

/// What the provider's metadata says from now on.
fn publish(world: &World, field: &str, value: &str) {
    world.provider.switch(|switches| {
        switches.discovery.insert(field.to_owned(), json!(value));
    });
}

/// Alice cannot so much as start to connect.
async fn start_fails(world: &World) -> Error {
    world.note(world.connecting("alice").start(&binding()).await).expect_err("no URL is handed out")
}

/// That the error is of this kind, names the thing, and is nothing that the user could mend.
#[expect(clippy::needless_pass_by_value, reason = "kinds are written where they are expected")]
fn is(error: &Error, kind: ErrorKind, says: &str) {
    assert_eq!(*error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{says}: {error}");
    assert!(!error.needs_user_action(), "{error}");
}

async fn stores_nothing(world: &World) {
    assert!(world.user("alice").connections().await.expect("a listing").is_empty());
    let error = world.token("alice").await.expect_err("nothing to read");
    assert_eq!(*error.kind(), ErrorKind::NotConnected);
}

/// Registers a connector at another provider, or the same seen otherwise, and makes it the world's.
async fn register(world: &mut World, name: &str, provider: &str) {
    let provider = Provider::from_toml(provider).expect("a valid provider file");
    let secret = ClientSecret::new(world.provider.client_secret());
    let new = NewConnector::new(name, provider).client(world.provider.client_id(), secret);
    world.connector = world.vault.connectors().register(new).await.expect("the connector registers");
}
