//! Somebody with access to the storage has been there.

use std::sync::Arc;
use std::time::Duration;

use vault_core::entropy::SystemEntropy;
use vault_core::event::Event;
use vault_core::id::{ConnectionKey, Owner, Slot, TenantId, UserId};
use vault_core::store::{Bytes, Condition, ConnectionRecord, Put, Stores, Version};
use vault_core::{Callback, Disconnected, ErrorKind, Vault};
use vault_tests::backend::Backend;
use vault_tests::{World, assert_refused, binding};

/// The storage of a world, beside the vault.
struct Intruder<'a> {
    world: &'a World,
    stores: Stores,
}

impl<'a> Intruder<'a> {
    async fn of(world: &'a World) -> Self {
        Self { world, stores: world.backend.open().await }
    }

    async fn record(&self, user: &str) -> ConnectionRecord {
        let key = ConnectionKey {
            tenant: TenantId::default(),
            owner: Owner::User(UserId::new(user).expect("a good id")),
            connector: self.world.connector.id().clone(),
            slot: Slot::default(),
        };
        self.stores.connections.get(&key).await.expect("the store works").expect("a connection")
    }

    /// Puts another credential into the user's record.
    async fn plant(&self, user: &str, credential: impl Into<Bytes>) {
        let record = self.record(user).await;
        let version = Version::random(&SystemEntropy::default()).expect("random");
        let planted = ConnectionRecord { version, credential: credential.into(), ..record.clone() };
        let put = self.stores.connections.put(&planted, Condition::Version(record.version), None, None).await;
        assert_eq!(put.expect("the store works"), Put::Written);
    }

    /// The token does not open for that reason, the record stays as it is, and nobody else notices.
    async fn assert_corrupt(&self, user: &str, why: &str) {
        let before = self.record(user).await;
        let read = self.world.token(user).await;
        assert!(read.as_ref().err().is_some_and(|error| error.to_string().contains(why)), "{why}: {read:?}");
        assert_refused(read, ErrorKind::CorruptRecord, user);
        let listed = self.world.note(self.world.user(user).connections().await).expect("a listing");
        assert_eq!(listed[0].account_id(), Some(user));
        assert_eq!(self.record(user).await, before, "the record is left as it is");
        assert_undisturbed(self.world, "bob").await;
    }
}

async fn assert_undisturbed(world: &World, user: &str) {
    let token = world.token(user).await.expect("a token");
    let info = world.provider.describe(token.expose_secret()).expect("the provider's own");
    assert_eq!(info.account, user);
    let listed = world.user(user).connections().await.expect("a listing");
    assert_eq!(listed[0].account_id(), Some(user));
}

async fn alice_and_bob(backend: Arc<dyn Backend>) -> World {
    let world = World::builder().backend(backend).start().await;
    world.connect("bob").await.expect("bob connects");
    world.connect("alice").await.expect("alice connects");
    world
}

pub(super) async fn s04_a_credential_that_is_cut_or_noise_is_corrupt_and_nobody_else_notices(
    backend: Arc<dyn Backend>,
) {
    let world = alice_and_bob(backend).await;
    let intruder = Intruder::of(&world).await;
    let sealed = intruder.record("alice").await.credential;
    let noise = (0..sealed.len()).map(|n| u8::try_from(n * 151 % 256).expect("a byte")).collect();
    let cut = |len: usize| sealed[..len].to_vec();
    for damaged in [Vec::new(), noise, cut(10), cut(sealed.len() / 2), cut(sealed.len() - 1)] {
        intruder.plant("alice", damaged).await;
        intruder.assert_corrupt("alice", "").await;
    }
    intruder.plant("alice", sealed).await;
    assert_undisturbed(&world, "alice").await;

    intruder.plant("alice", intruder.record("bob").await.credential).await;
    intruder.assert_corrupt("alice", "").await;
    let gone = world.user("alice").disconnect(world.connector.id()).await.expect("it can be disconnected");
    assert_eq!(gone, Disconnected::Unsupported, "no token to revoke");
    world.assert_not_connected("alice").await;
    world.connect("alice").await.expect("alice connects again");
    assert_undisturbed(&world, "alice").await;
}

pub(super) async fn s05_an_unknown_version_or_suite_is_named_and_left_alone(backend: Arc<dyn Backend>) {
    /// Status, incarnation and generation come first in a credential.
    const CLEAR: usize = 25;
    let world = alice_and_bob(backend).await;
    let intruder = Intruder::of(&world).await;
    let sealed = intruder.record("alice").await.credential;
    for (at, byte, named) in [(2, 9, "unsupported format 9"), (3, 7, "unsupported suite 7")] {
        let mut future = sealed.to_vec();
        future[CLEAR + at] = byte;
        intruder.plant("alice", future).await;
        intruder.assert_corrupt("alice", named).await;
    }
    intruder.plant("alice", sealed).await;
    assert_undisturbed(&world, "alice").await;
}

pub(super) async fn s08_storage_that_was_emptied_is_not_connected_and_nothing_panics(
    backend: Arc<dyn Backend>,
) {
    let world = alice_and_bob(backend).await;
    let (second, _faults) = world.second_vault().await;
    world.note(second.user("alice").token(world.connector.id()).await).expect("a token");
    let under_way = world.query("bob").await;

    world.backend.empty().await;
    for vault in [&world.vault, &second] {
        assert_nothing_there(&world, vault).await;
    }
    assert_eq!(world.count_events(|event| matches!(event, Event::StorageEmptied)), 1);
    let callback = Callback::from_query(&under_way).expect("an honest callback");
    let late = world.note(world.vault.complete(callback, &binding()).await);
    assert_refused(late, ErrorKind::UnknownState, "");
    // So long the connector is in memory.
    world.clock.advance(Duration::from_secs(10));
    let connecting = world.note(world.connecting("alice").start(&binding()).await);
    assert_refused(connecting, ErrorKind::UnknownConnector, world.connector.id().as_str());

    // Its data keys went too: what is new is sealed under new ones, also by a process that knew the old.
    let connector = world.note(world.vault.connectors().register(world.new_connector("demo")).await);
    let id = connector.expect("it registers").id().clone();
    let query = world.query_of(second.user("alice").connect(&id), "alice").await;
    let callback = Callback::from_query(&query).expect("an honest callback");
    world.note(world.vault.complete(callback, &binding()).await).expect("alice connects again");
    let (third, _faults) = world.second_vault().await;
    for vault in [&third, &second, &world.vault] {
        let token = world.note(vault.user("alice").token(&id).await).expect("a token");
        assert!(world.provider.is_live(token.expose_secret()));
    }
}

async fn assert_nothing_there(world: &World, vault: &Vault) {
    let (alice, id) = (vault.user("alice"), world.connector.id());
    assert_refused(world.note(alice.token(id).await), ErrorKind::NotConnected, "alice");
    assert!(alice.connections().await.expect("a listing").is_empty());
    assert!(alice.owed_revocations().await.expect("a listing").is_empty());
    let gone = world.note(alice.disconnect(id).await).expect("nothing to do");
    assert_eq!(gone, Disconnected::NotConnected);
    world.note(vault.maintain(10).await).expect("a pass");
}

/// Or every scenario's last assertion would prove nothing.
pub(super) async fn the_search_for_secrets_finds_what_is_stored(backend: Arc<dyn Backend>) {
    const PLANTED: &str = "what-should-have-been-sealed";
    let world = alice_and_bob(backend).await;
    let state = world.query("bob").await;
    assert!(!world.backend.dump().await.contains(PLANTED), "{state}");
    let intruder = Intruder::of(&world).await;
    intruder.plant("alice", [b"\0\xff", PLANTED.as_bytes(), b"\xff"].concat()).await;
    assert!(world.backend.dump().await.contains(PLANTED));
}
