//! Somebody with access to the database moves and edits sealed values; keys and the random source are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vault_core::entropy::{Entropy, EntropyError};
use vault_core::event::Event;
use vault_core::id::Slot;
use vault_core::{AccessToken, Disconnected, Error, ErrorKind, KeyRing};
use vault_testkit::simulator::Endpoint;
use vault_tests::{World, binding};

/// Status, incarnation and generation come first in a credential, in clear.
const CLEAR: usize = 25;

fn assert_corrupt(read: Result<AccessToken, Error>, names: &str) {
    let error = read.expect_err("it must not open");
    assert_eq!(*error.kind(), ErrorKind::CorruptRecord, "{error}");
    assert!(error.to_string().contains(names), "{error}");
}

/// Exchanges a column of two connections.
async fn swap(world: &World, column: &str, [one, other]: [&str; 2]) {
    let (a, b) = (world.blob(one, column).await, world.blob(other, column).await);
    world.set_blob(one, column, &b).await;
    world.set_blob(other, column, &a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_credentials_and_summaries_swapped_between_users_do_not_open() {
    let world = World::start().await;
    for user in ["alice", "bob"] {
        world.connect(user).await.expect("connects");
    }

    swap(&world, "credential", ["alice", "bob"]).await;
    for user in ["alice", "bob"] {
        assert_corrupt(world.token(user).await, user);
    }
    swap(&world, "credential", ["alice", "bob"]).await;

    swap(&world, "summary", ["alice", "bob"]).await;
    for user in ["alice", "bob"] {
        let listed = world.note(world.user(user).connections().await).expect("a listing");
        assert!(!listed[0].is_readable() && listed[0].account_email().is_none());
        world.token(user).await.expect("the credential is in its place");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_blobs_of_another_purpose_slot_or_generation_do_not_open() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let credential = world.blob("alice", "credential").await;
    let summary = world.blob("alice", "summary").await;
    let clear = &credential[..CLEAR];

    world.set_blob("alice", "credential", &[clear, &summary].concat()).await;
    assert_corrupt(world.token("alice").await, "alice");
    world.set_blob("alice", "credential", &credential).await;
    world.set_blob("alice", "summary", &credential[CLEAR..]).await;
    assert!(!world.user("alice").connections().await.expect("a listing")[0].is_readable());
    world.set_blob("alice", "summary", &summary).await;

    let work = world.connecting("alice").slot(Slot::new("work").expect("a good slot"));
    world.connect_as(work, "alice at work").await.expect("connects");
    let cross = "UPDATE vault_connections SET credential =
        (SELECT credential FROM vault_connections WHERE slot = 'default') WHERE slot = 'work'";
    assert_eq!(world.sql(cross).await, 1);
    let alice = world.user("alice");
    let read = alice.token(world.connector.id()).slot(Slot::new("work").expect("a good slot"));
    assert_corrupt(world.note(read.await), "work");

    // An older generation, put back in today's place.
    world.expire_tokens();
    assert_eq!(world.token("alice").await.expect("a token").generation(), 2);
    let now = world.cell("SELECT credential FROM vault_connections WHERE slot = 'default'").await;
    let (header, old) = (&now[..CLEAR], &credential[CLEAR..]);
    world.sql("DELETE FROM vault_connections WHERE slot = 'work'").await;
    world.set_blob("alice", "credential", &[header, old].concat()).await;
    assert_corrupt(world.token("alice").await, "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_blobs_swapped_between_tenants_do_not_open() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let acme = world.vault.tenant("acme");
    let connectors = acme.connectors().expect("a good id");
    let connector = connectors.register(world.new_connector("demo")).await.expect("it registers");
    let there = acme.user("alicia");
    world.connect_as(there.connect(connector.id()), "alicia").await.expect("connects");

    swap(&world, "credential", ["alice", "alicia"]).await;
    assert_corrupt(world.token("alice").await, "default");
    assert_corrupt(world.note(there.token(connector.id()).await), "acme");
    swap(&world, "summary", ["alice", "alicia"]).await;
    assert!(!there.connections().await.expect("a listing")[0].is_readable());
}

/// Puts bob's row where alice's was.
async fn move_bob_to_alice(world: &World) {
    let place = world.blob("alice", "id").await;
    world.sql("DELETE FROM vault_connections WHERE owner_id = 'alice'").await;
    world.set_blob("bob", "id", &place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_a_row_moved_to_another_user_is_theirs_in_no_operation() {
    let world = World::start().await;
    for user in ["alice", "bob"] {
        world.connect(user).await.expect("connects");
    }
    let bobs = world.token("bob").await.expect("a token");
    move_bob_to_alice(&world).await;

    assert_corrupt(world.token("alice").await, "alice");
    let gone = world.user("alice").disconnect(world.connector.id()).await.expect("it can be removed");
    assert_eq!(gone, Disconnected::Unsupported);
    assert_eq!(world.provider.count(Endpoint::Revoke), 0, "bob's grant is not alice's to revoke");
    assert!(world.provider.is_live(bobs.expose_secret()));
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_a_row_moved_during_a_refresh_is_not_handed_out() {
    let world = World::start().await;
    for user in ["alice", "bob"] {
        world.connect(user).await.expect("connects");
    }
    world.expire_tokens();
    world.token("bob").await.expect("bob's are fresh");
    let held =
        "UPDATE vault_connections SET lease_holder = x'00', lease_until = 1 << 52 WHERE owner_id = 'alice'";
    world.sql(held).await;

    let reading = tokio::spawn(world.reads(&world.vault, "alice", |read| read));
    // The caller's patience, and the driver's look at the lease.
    world.clock.wait_for_sleepers(2).await;
    move_bob_to_alice(&world).await;
    world.sql("UPDATE vault_connections SET lease_holder = x'00', lease_until = 1 << 52").await;
    world.clock.advance(Duration::from_secs(1));
    assert_corrupt(world.note(reading.await.expect("no panic")), "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn e04_an_edited_header_does_not_open() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let credential = world.blob("alice", "credential").await;
    for (at, what) in [(1, "incarnation"), (CLEAR - 1, "generation")] {
        let mut edited = credential.clone();
        edited[at] ^= 1;
        world.set_blob("alice", "credential", &edited).await;
        let read = world.token("alice").await;
        assert!(read.is_err(), "{what}");
        assert_corrupt(read, "alice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e04_edited_columns_are_noticed_before_anything_is_sent() {
    let world = World::start().await;
    let edits = [
        "generation = generation + 1",
        "incarnation = randomblob(16)",
        "tenant = 'acme'",
        "owner_id = 'mallory'",
        "connector = 'another'",
        "slot = 'another'",
        "status = 1",
    ];
    for edit in edits {
        world.connect("alice").await.expect("connects");
        let id = world.blob("alice", "id").await;
        world.expire_tokens();
        assert_eq!(world.sql(format!("UPDATE vault_connections SET {edit}")).await, 1);
        assert_corrupt(world.token("alice").await, "alice");
        assert_eq!(world.provider.refreshes().len(), 0, "{edit}");
        assert_eq!(world.blob_of(&id, "id").await, id, "the row is left as it is");

        // Whoever the row names now gets nothing out of it.
        for owner in [world.vault.tenant("acme").user("alice"), world.user("mallory")] {
            let read = world.note(owner.token(world.connector.id()).await).expect_err("not theirs");
            assert_eq!(*read.kind(), ErrorKind::NotConnected, "{edit}");
            let listed = world.note(owner.connections().await).expect("a listing");
            assert!(listed.iter().all(|one| !one.is_readable() && one.account_id().is_none()), "{edit}");
        }
        world.sql("DELETE FROM vault_connections").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e05_a_vault_with_the_wrong_key_refuses_to_start_and_writes_nothing() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let keys = "SELECT group_concat(hex(wrapped) || version) FROM vault_keys";
    let before = world.cell(keys).await;

    for (text, kind, names) in [
        ("k1:b3RoZXItc2Nhbi1rZXktMDEyMzQ1Njc4OWFiY2RlZmc=", ErrorKind::InvalidConfig, "\"k1\""),
        ("k2:b3RoZXItc2Nhbi1rZXktMDEyMzQ1Njc4OWFiY2RlZmc=", ErrorKind::KeyUnavailable, "\"k1\""),
    ] {
        let ring = KeyRing::from_text(text).expect("a key");
        let error = world.second_vault_with(|vault| vault.keys(ring)).await.map(drop);
        let error = error.expect_err("those are not the keys");
        assert_eq!(*error.kind(), kind);
        assert!(error.to_string().contains(names), "{error}");
        assert_eq!(world.cell(keys).await, before, "nothing written");
    }
    world.token("alice").await.expect("the right keys still open it");
}

/// Fails when told to.
#[derive(Debug, Clone, Default)]
struct Drought(Arc<AtomicBool>);

impl Drought {
    fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn end(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Entropy for Drought {
    fn fill(&self, dest: &mut [u8]) -> Result<(), EntropyError> {
        if self.0.load(Ordering::SeqCst) {
            return Err(EntropyError::new());
        }
        vault_core::entropy::SystemEntropy::default().fill(dest)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e09_without_random_bytes_nothing_is_stored_and_nothing_is_lost() {
    let world = World::start().await;
    let drought = Drought::default();
    let (vault, _faults) =
        world.second_vault_with(|vault| vault.danger_entropy(drought.clone())).await.expect("it starts");
    let (connector, alice) = (world.connector.id(), vault.user("alice"));
    world.connect("alice").await.expect("connects");
    let callback = world.callback("bob").await;
    let refused = |error: Error| assert_eq!(*error.kind(), ErrorKind::RandomUnavailable, "{error}");

    drought.begin();
    let flows = world.rows("vault_flows").await;
    refused(world.note(alice.connect(connector).start(&binding()).await).expect_err("no state"));
    assert_eq!(world.rows("vault_flows").await, flows);
    refused(world.note(vault.complete(callback, &binding()).await).expect_err("no incarnation"));
    let register = vault.connectors().register(world.new_connector("another")).await;
    refused(world.note(register).expect_err("no id"));
    assert_eq!(world.rows("vault_connectors").await, 1);
    world.note(alice.token(connector).await).expect("a live token needs no random bytes");
    refused(world.note(alice.disconnect(connector).await).expect_err("no id"));
    assert_eq!(world.rows("vault_connections").await, 1, "alice's, and not bob's");

    world.expire_tokens();
    refused(world.note(alice.token(connector).await).expect_err("no lease"));
    assert_eq!(world.provider.refreshes().len(), 0);
    drought.end();
    assert_eq!(world.note(alice.token(connector).await).expect("a token").generation(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn e09_random_bytes_that_fail_after_the_reply_do_not_lose_the_tokens() {
    let world = World::start().await;
    let drought = Drought::default();
    let (vault, _faults) =
        world.second_vault_with(|vault| vault.danger_entropy(drought.clone())).await.expect("it starts");
    world.connect("alice").await.expect("connects");
    world.expire_tokens();

    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let reading = tokio::spawn(world.reads(&vault, "alice", |read| read));
    gate.arrived().await;
    drought.begin();
    gate.release();
    let token = world.note(reading.await.expect("no panic")).expect("held in memory");
    assert_eq!(token.generation(), 2);
    assert_eq!(world.count_events(|event| matches!(event, Event::PersistPending { .. })), 1);
    drought.end();
    world.clock.wait_for_sleepers(2).await;
    world.clock.advance(Duration::from_secs(1));
    world.until_event(|event| matches!(event, Event::Refreshed { .. })).await;
    assert_eq!(world.token("alice").await.expect("stored").expose_secret(), token.expose_secret());
}
