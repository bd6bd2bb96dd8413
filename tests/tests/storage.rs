//! The store is down, its rows are damaged, its identifiers are hostile.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tokio::task::JoinSet;
use vault_core::connector::{AllowedOwners, ConnectorUpdate};
use vault_core::id::{Slot, TenantId, UserId};
use vault_core::store::{Page, StoreErrorKind};
use vault_core::{Disconnected, ErrorKind, OwnerHandle};
use vault_sqlx::SqliteStore;
use vault_testkit::faults::Fault;
use vault_testkit::simulator::Endpoint;
use vault_tests::{World, binding};

#[tokio::test(flavor = "multi_thread")]
async fn s01_a_store_that_is_down_is_unavailable_and_never_not_connected() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    let before = world.token("alice").await.expect("a token");
    let calls = world.provider.calls().len();

    for kind in [StoreErrorKind::Busy, StoreErrorKind::ReadOnly, StoreErrorKind::Unavailable] {
        world.faults.always(Fault::Fail(kind));
        let alice = world.user("alice");
        let failures = [
            world.token("alice").await.map(drop).expect_err("no store"),
            world.note(alice.connections().await).map(drop).expect_err("no store"),
            world.note(alice.disconnect(world.connector.id()).await).map(drop).expect_err("no store"),
            world.note(alice.owed_revocations().await).map(drop).expect_err("no store"),
            world.note(world.connecting("alice").start(&binding()).await).map(drop).expect_err("no store"),
            world.note(world.vault.report_rejected(&before).await).map(drop).expect_err("no store"),
            world.note(world.vault.maintain(10).await).map(drop).expect_err("no store"),
        ];
        for error in failures {
            assert_eq!(*error.kind(), ErrorKind::StoreUnavailable, "{error}");
            assert!(error.is_retryable() && !error.needs_user_action());
        }
        world.faults.heal();
    }

    let after = world.token("alice").await.expect("a token again");
    assert_eq!(after.expose_secret(), before.expose_secret());
    assert_eq!(world.provider.calls().len(), calls, "nothing reached the provider");
}

/// Ways to ruin a sealed value.
fn damages(sealed: &[u8]) -> Vec<Vec<u8>> {
    let noise = (0..sealed.len()).map(|n| u8::try_from(n * 151 % 256).expect("a byte")).collect();
    let cut = |len: usize| sealed[..len].to_vec();
    vec![Vec::new(), noise, cut(10), cut(sealed.len() / 2), cut(sealed.len() - 1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_a_credential_that_is_cut_or_noise_is_corrupt_and_nobody_else_notices() {
    let world = World::start().await;
    world.connect("bob").await.expect("bob connects");
    world.connect("alice").await.expect("alice connects");
    let sealed = world.blob("alice", "credential").await;

    for damaged in damages(&sealed) {
        world.set_blob("alice", "credential", &damaged).await;
        let error = world.token("alice").await.expect_err("nothing to open");
        assert_eq!(*error.kind(), ErrorKind::CorruptRecord, "{error}");
        assert!(error.to_string().contains("alice"), "{error}");

        let listed = world.note(world.user("alice").connections().await).expect("a listing");
        assert_eq!(listed[0].account_id(), Some("alice"));
        assert_eq!(world.blob("alice", "credential").await, damaged, "the row is left as it is");
        assert_undisturbed(&world, "bob").await;
    }

    let gone = world.user("alice").disconnect(world.connector.id()).await.expect("it can be disconnected");
    assert_eq!(gone, Disconnected::Unsupported, "no token to revoke");
    assert_eq!(*world.token("alice").await.expect_err("gone").kind(), ErrorKind::NotConnected);
    world.connect("alice").await.expect("alice connects again");
    assert_undisturbed(&world, "alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_a_corrupt_connection_can_be_connected_anew_in_its_place() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.set_blob("alice", "credential", b"noise").await;
    world.set_blob("alice", "summary", b"noise").await;

    world.connect("alice").await.expect("over the corrupt one");
    assert_undisturbed(&world, "alice").await;
    assert_eq!(world.rows("vault_connections").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_a_summary_that_does_not_open_is_listed_as_unreadable_and_the_token_works() {
    let world = World::start().await;
    world.connect("bob").await.expect("bob connects");
    world.connect("alice").await.expect("alice connects");
    let sealed = world.blob("alice", "summary").await;

    for damaged in damages(&sealed) {
        world.set_blob("alice", "summary", &damaged).await;
        let everybody = world.vault.tenant(TenantId::default()).connections(None, &Page::first(10)).await;
        let everybody = world.note(everybody).expect("a listing").connections;
        let readable: Vec<_> =
            everybody.iter().filter(|one| one.is_readable()).map(|one| one.account_id()).collect();
        assert_eq!(everybody.len(), 2);
        assert_eq!(readable, [Some("bob")]);
        world.token("alice").await.expect("the token is not in the summary");
        assert_eq!(world.blob("alice", "summary").await, damaged, "the row is left as it is");
    }

    let gone = world.user("alice").disconnect(world.connector.id()).await.expect("it can be disconnected");
    assert_eq!(gone, Disconnected::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_an_unknown_version_or_suite_is_named_and_left_alone() {
    /// Status, incarnation and generation come first in a credential.
    const CLEAR: usize = 25;
    let world = World::start().await;
    world.connect("bob").await.expect("bob connects");
    world.connect("alice").await.expect("alice connects");
    let sealed = world.blob("alice", "credential").await;

    for (at, byte, named) in [(2, 9, "unsupported format 9"), (3, 7, "unsupported suite 7")] {
        let mut future = sealed.clone();
        future[CLEAR + at] = byte;
        world.set_blob("alice", "credential", &future).await;
        let error = world.token("alice").await.expect_err("not ours to read");
        assert_eq!(*error.kind(), ErrorKind::CorruptRecord);
        assert!(error.to_string().contains(named) && error.to_string().contains("alice"), "{error}");
        assert_eq!(world.blob("alice", "credential").await, future);
        assert_undisturbed(&world, "bob").await;
    }

    world.set_blob("alice", "credential", &sealed).await;
    assert_undisturbed(&world, "alice").await;
}

async fn assert_undisturbed(world: &World, user: &str) {
    let token = world.token(user).await.expect("a token");
    let info = world.provider.describe(token.expose_secret()).expect("the provider's own");
    assert_eq!(info.account, user);
    let listed = world.user(user).connections().await.expect("a listing");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].account_id(), Some(user));
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_identifiers_are_literal_and_never_meet() {
    let world = World::start().await;
    let users = [
        "a:b",
        "a",
        "A",
        "{}",
        "*",
        "%",
        "_",
        "'",
        "';--",
        "a b",
        " ",
        "\u{1f980}",
        "\u{e9}",
        "e\u{301}",
        "' OR 1=1 --",
        "a\\",
        "..",
        "default",
    ];
    for (n, user) in users.iter().enumerate() {
        let connected = world.connect_as(world.connecting(user), &format!("account-{n}")).await;
        connected.expect("connects");
    }
    for (n, user) in users.iter().enumerate() {
        assert_account(&world, world.user(user), world.connector.id(), &format!("account-{n}")).await;
    }

    let pattern = world.user("%").disconnect(world.connector.id()).await.expect("disconnects");
    assert_eq!(pattern, Disconnected::Revoked);
    assert_eq!(world.rows("vault_connections").await, i64::try_from(users.len() - 1).expect("few"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_pairs_that_join_to_the_same_text_are_distinct() {
    let world = World::start().await;
    let mut connected = Vec::new();
    for (n, (tenant, user)) in [("a:b", "c"), ("a", "b:c"), ("a'", "b"), ("a", "'b")].into_iter().enumerate()
    {
        let tenant = world.vault.tenant(tenant);
        let connectors = tenant.connectors().expect("a good id");
        let connector = match connectors.find("demo").await.expect("the store answers") {
            Some(connector) => connector,
            None => connectors.register(world.new_connector("demo")).await.expect("it registers"),
        };
        let (owner, account) = (tenant.user(user), format!("account-{n}"));
        world.connect_as(owner.connect(connector.id()), &account).await.expect("connects");
        connected.push((owner, connector, account));
    }
    for (owner, connector, account) in &connected {
        assert_account(&world, owner.clone(), connector.id(), account).await;
    }

    // The same for the slot, the other part that the host names.
    for slot in ["x:y", "x", "%"] {
        let slot_of = |text| Slot::new(text).expect("a good slot");
        let connect = world.connecting("slots").slot(slot_of(slot));
        world.connect_as(connect, &format!("account-{slot}")).await.expect("connects");
        let token = world.user("slots").token(world.connector.id()).slot(slot_of(slot)).await;
        let token = world.note(token).expect("a token");
        let info = world.provider.describe(token.expose_secret()).expect("the provider's own");
        assert_eq!(info.account, format!("account-{slot}"));
    }
}

async fn assert_account(
    world: &World,
    owner: OwnerHandle,
    connector: &vault_core::id::ConnectorId,
    account: &str,
) {
    let token = world.note(owner.token(connector).await).expect("a token");
    let info = world.provider.describe(token.expose_secret()).expect("the provider's own");
    assert_eq!(info.account, account);
    let listed = owner.connections().await.expect("a listing");
    assert_eq!(listed.len(), 1, "{account}");
    assert_eq!(listed[0].account_id(), Some(account));
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_the_database_is_private_and_one_that_is_not_is_refused() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    for suffix in ["", "-wal", "-shm"] {
        let mut file = world.database().into_os_string();
        file.push(suffix);
        let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "vault.db{suffix}");
    }

    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(world.database(), open).expect("it is our file");
    let error = SqliteStore::open(world.database()).await.expect_err("others can read it");
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    world.canary.error(&error);
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_of_two_writers_none_loses_the_others_change() {
    let world = World::start().await;
    let (second, _faults) = world.second_vault().await;
    let id = world.connector.id().clone();
    for round in 0..10 {
        let mut writers = JoinSet::new();
        let owners = if round % 2 == 0 { AllowedOwners::Users } else { AllowedOwners::Any };
        let name = format!("demo {round}");
        for (vault, update) in [
            (world.vault.clone(), ConnectorUpdate::new().name(&name)),
            (second.clone(), ConnectorUpdate::new().owners(owners)),
        ] {
            let id = id.clone();
            writers.spawn(async move { vault.connectors().update(&id, update).await.map(drop) });
        }
        while let Some(done) = writers.join_next().await {
            done.expect("no panic").expect("the loser tries again");
        }
        let now = second.connectors().get(&id).await.expect("the connector");
        assert_eq!((now.name(), now.owners()), (name.as_str(), owners));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_two_processes_connect_one_user_at_once_and_the_last_is_whole() {
    let world = World::start().await;
    let (second, _faults) = world.second_vault().await;
    for n in 0..5 {
        let user = UserId::new(format!("user {n}")).expect("a good id");
        let (one, other) = (world.callback(user.as_str()).await, world.callback(user.as_str()).await);
        let binding = binding();
        let (one, other) =
            tokio::join!(world.vault.complete(one, &binding), second.complete(other, &binding));
        world.note(one).expect("connected");
        world.note(other).expect("connected");

        let token = world.token(user.as_str()).await.expect("a token");
        let access = world.provider.describe(token.expose_secret()).expect("the provider's own");
        world.clock.advance(Duration::from_secs(2 * 60 * 60));
        let refreshed = world.token(user.as_str()).await.expect("a refreshed token");
        let after = world.provider.describe(refreshed.expose_secret()).expect("the provider's own");
        assert_eq!(access.authorization, after.authorization, "access and refresh token of one grant");
        assert_eq!(world.user(user.as_str()).connections().await.expect("a listing").len(), 1);
    }
    assert_eq!(world.provider.count(Endpoint::Revoke), 0, "a superseded grant is not revoked");
}
