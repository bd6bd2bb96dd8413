//! Nothing is stored under a data key that is gone.

use std::time::Duration;

use vault_core::id::TenantId;
use vault_core::store::{KeyScope, KeyStore};
use vault_core::{Callback, VaultBuilder};
use vault_testkit::faults::Fault;
use vault_tests::{World, binding};

use super::asleep_in;

#[tokio::test]
async fn v09_a_user_who_comes_back_starts_under_no_key_that_was_destroyed_elsewhere() {
    let world = World::builder().vault(VaultBuilder::data_key_per_user).start().await;
    let other = world.second_vault_with(VaultBuilder::data_key_per_user).await.expect("starts").0;
    world.connect("alice").await.expect("this process has her key in memory");
    other.user("alice").erase().await.expect("erased");
    let query = world.query("alice").await;
    let callback = Callback::from_query(query).expect("a callback");
    world.note(other.complete(callback, &binding()).await).expect("a new life");
    world.token("alice").await.expect("which every process sees");
}

#[tokio::test(flavor = "multi_thread")]
async fn v09_a_start_that_finds_the_key_replaced_meanwhile_is_under_the_new_one() {
    let world = World::builder().vault(VaultBuilder::data_key_per_user).start().await;
    let other = world.second_vault_with(VaultBuilder::data_key_per_user).await.expect("starts").0;
    let third = world.second_vault_with(VaultBuilder::data_key_per_user).await.expect("starts").0;
    world.connect("alice").await.expect("connects");
    let callback = world.callback("alice").await;
    world.note(third.complete(callback, &binding()).await).expect("this process seals under her key, too");
    other.user("alice").erase().await.expect("erased");

    // Two tabs: the first has sealed its flow under the old key when the second finds that it is gone.
    let span = Duration::from_secs(5);
    world.faults.reset();
    world.faults.on_method("flows.insert", 1, Fault::Delay(span));
    let (query, ()) = tokio::join!(world.query("alice"), async {
        asleep_in(&world, "flows.insert", 1).await;
        world.connecting("alice").start(&binding()).await.expect("a new key");
        world.clock.advance(span);
    });
    let callback = Callback::from_query(query).expect("a callback");
    world.note(third.complete(callback, &binding()).await).expect("a new life");
    world.token("alice").await.expect("which every process sees");
}

#[tokio::test]
async fn a_tenants_key_that_was_lost_is_noticed_before_anything_new_is_sealed_under_it() {
    let world = World::start().await;
    world.connect("alice").await.expect("connects");
    let lost = KeyScope::Tenant(TenantId::default());
    assert!(KeyStore::delete(&world.faults, &lost).await.expect("the store works"));
    // Until then the connector counts as just read.
    world.clock.advance(Duration::from_secs(10));
    world.connect("bob").await.expect("connects, though what was there does not open any more");
    let (fresh, _) = world.second_vault().await;
    world.note(fresh.user("bob").token(world.connector.id()).await).expect("a new key");
}
