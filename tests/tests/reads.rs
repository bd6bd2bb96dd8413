//! What token reads ask of the stores.

use vault_tests::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_read_is_one_round_trip_to_one_store() {
    let world = World::start().await;
    world.connect("alice").await.expect("alice connects");
    world.faults.reset();
    world.token("alice").await.expect("a token");
    assert_eq!((world.faults.calls("connections.read"), world.faults.total_calls()), (1, 1));

    // A process that has just started needs the data key as well, once.
    let (vault, faults) = world.second_vault().await;
    for key_reads in [1, 0] {
        faults.reset();
        vault.user("alice").token(world.connector.id()).await.expect("a token");
        assert_eq!((faults.calls("connections.read"), faults.calls("keys.get")), (1, key_reads));
        assert_eq!(faults.total_calls(), 1 + key_reads);
    }
}
