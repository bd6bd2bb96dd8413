//! The store is down, and the process ends.

use tempfile::TempDir;
use vault_core::spill::{Spill as _, SpillFolder};

use super::*;

async fn new_vault(world: &World, folder: &SpillFolder) -> Vault {
    let folder = folder.clone();
    world.second_vault_with(|builder| builder.spill(folder)).await.expect("the vault starts").0
}

#[tokio::test(flavor = "multi_thread")]
async fn r21_tokens_that_the_store_did_not_take_survive_the_process_and_are_brought_in_once() {
    let world = due(World::builder()).await;
    let place = TempDir::new().expect("a folder");
    let folder = SpillFolder::new(place.path().join("spill"));
    let ending = world.second_vault_with(|builder| builder.spill(folder.clone())).await;
    let (ending, faults) = ending.expect("the vault starts");
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let last = reading(&world, &ending);
    gate.arrived().await;
    faults.always_on_method("connections.put", StoreFault::Fail(StoreErrorKind::Unavailable));
    gate.release();
    let held = world.note(last.await.expect("no panic")).expect("held, and spilled before");
    let spilled = folder.list().await.expect("a folder");
    assert_eq!(spilled.len(), 1);
    world.canary.shown(&String::from_utf8_lossy(&spilled[0].bytes));
    let closing = tokio::spawn(async move { ending.shutdown(Duration::from_secs(5)).await });
    // The renewal, the pause, and the patience.
    world.clock.wait_for_sleepers(3).await;
    world.clock.advance(Duration::from_secs(5));
    assert!(!closing.await.expect("no panic"), "it could not store them");

    let next = new_vault(&world, &folder).await;
    let is_imported = |event: &Event| matches!(event, Event::SpillImported { .. });
    assert_eq!(world.count_events(is_imported), 1);
    assert_eq!(folder.list().await.expect("a folder").len(), 0);
    let stored = read(&world, &next).await.expect("stored");
    assert_eq!((stored.generation(), stored.expose_secret()), (2, held.expose_secret()));
    assert_eq!(world.provider.refreshes().len(), 1);

    // Once more changes nothing, nor does it when newer tokens are stored.
    for generation in [2, 3] {
        folder.put(&spilled[0]).await.expect("a folder");
        let again = new_vault(&world, &folder).await;
        assert_eq!(folder.list().await.expect("a folder").len(), 0);
        assert_eq!(read(&world, &again).await.expect("a token").generation(), generation);
        world.expire_tokens();
        read(&world, &again).await.expect("a token");
    }
    assert_eq!(world.count_events(is_imported), 2, "the second time it found newer ones");
}

/// A process that could not store what it got, and has ended since.
async fn ended_with_spilled_tokens(world: &World, folder: &SpillFolder) -> AccessToken {
    let (ending, faults) =
        world.second_vault_with(|builder| builder.spill(folder.clone())).await.expect("the vault starts");
    let gate = world.provider.hold_next_reply(Endpoint::Token);
    let last = reading(world, &ending);
    gate.arrived().await;
    faults.on_method("connections.put", 1, StoreFault::Fail(StoreErrorKind::Unavailable));
    faults.on_method("connections.put", 2, StoreFault::Hang);
    faults.always_on_method("connections.renew_lease", StoreFault::Fail(StoreErrorKind::Unavailable));
    gate.release();
    let held = world.note(last.await.expect("no panic")).expect("held, and spilled before");
    assert_eq!(folder.list().await.expect("a folder").len(), 1);
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_brings_in_what_was_spilled_before_a_spent_token_goes_out_again() {
    // A family: the second use of a refresh token would end the grant.
    let world = due(World::builder().switches(|switches| switches.rotation = Rotation::Family)).await;
    let place = TempDir::new().expect("a folder");
    let folder = SpillFolder::new(place.path());
    // Started before there was anything to bring in.
    let next = new_vault(&world, &folder).await;
    let held = ended_with_spilled_tokens(&world, &folder).await;

    world.clock.advance(Duration::from_secs(46));
    let token = read(&world, &next).await.expect("what was spilled");
    assert_eq!((token.generation(), token.expose_secret()), (2, held.expose_secret()));
    assert_eq!(world.provider.refreshes().len(), 1, "no second send");
    assert_eq!(folder.list().await.expect("a folder").len(), 0);
    world.expire_tokens();
    assert_eq!(read(&world, &next).await.expect("the grant lives").generation(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn spilled_tokens_of_a_user_who_disconnected_are_revoked() {
    let world = due(World::builder()).await;
    let place = TempDir::new().expect("a folder");
    let folder = SpillFolder::new(place.path());
    let held = ended_with_spilled_tokens(&world, &folder).await;
    world.user("alice").disconnect(world.connector.id()).await.expect("a disconnect");
    let before = world.provider.count(Endpoint::Revoke);
    new_vault(&world, &folder).await;
    assert_eq!(world.provider.count(Endpoint::Revoke), before + 1);
    assert!(!world.provider.is_live(held.expose_secret()));
    assert_eq!(folder.list().await.expect("a folder").len(), 0);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read_keeps_no_other_from_being_brought_in() {
    let world = due(World::builder()).await;
    let place = TempDir::new().expect("a folder");
    let folder = SpillFolder::new(place.path());
    // A folder in an entry's place: unreadable as a file, for root too.
    std::fs::create_dir(place.path().join("0.spill")).expect("a folder");
    let held = ended_with_spilled_tokens(&world, &folder).await;
    let next = new_vault(&world, &folder).await;
    assert_eq!(read(&world, &next).await.expect("stored").expose_secret(), held.expose_secret());
    assert_eq!(folder.list().await.expect("a folder").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spilled_and_does_not_open_stays_where_it_is() {
    let world = due(World::builder()).await;
    let place = TempDir::new().expect("a folder");
    let folder = SpillFolder::new(place.path());
    let noise = vault_core::spill::Spilled { name: "0.spill".to_owned(), bytes: b"noise".to_vec() };
    folder.put(&noise).await.expect("a folder");
    std::fs::write(place.path().join("half.part"), b"a write that was cut off").expect("a folder");

    let vault = new_vault(&world, &folder).await;
    vault.maintain(10).await.expect("a pass");
    assert_eq!(folder.list().await.expect("a folder"), [noise]);
    assert_eq!(read(&world, &vault).await.expect("a token").generation(), 2);
}
