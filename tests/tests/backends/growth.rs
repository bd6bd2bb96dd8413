use std::sync::Arc;
use std::time::{Duration, Instant};

use vault_core::Disconnected;
use vault_testkit::simulator::{Endpoint, Fault};
use vault_tests::backend::Backend;
use vault_tests::{World, binding};

/// For storage that removes what has expired when its own clock says so.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections that were made and ended, half of them with a revocation that stayed owed, and flows that nobody
/// finished.
pub(super) async fn x05_what_has_come_and_gone_leaves_the_storage_as_it_was(backend: Arc<dyn Backend>) {
    const CYCLES: usize = 12;
    let world = World::builder().backend(backend).start().await;
    let hasty = world.second_vault_with(|vault| vault.flow_ttl(Duration::from_secs(1))).await;
    let (hasty, _faults) = hasty.expect("the vault starts");
    world.connect("bob").await.expect("bob connects");
    let before = world.backend.sizes().await;

    for n in 0..CYCLES {
        let user = format!("user {n}");
        world.connect(&user).await.expect("connects");
        for _ in 0..3 {
            let started = hasty.user(user.as_str()).connect(world.connector.id()).start(&binding()).await;
            started.expect("it starts");
        }
        if n % 2 == 0 {
            world.provider.inject(Endpoint::Revoke, Fault::error(503, "temporarily_unavailable"));
            let gone = world.user(&user).disconnect(world.connector.id()).await.expect("a disconnect");
            assert_eq!(gone, Disconnected::Pending);
        } else {
            // Cancels the flows as well.
            world.user(&user).disconnect(world.connector.id()).await.expect("a disconnect");
        }
        let abandoned = hasty.user(format!("visitor {n}")).connect(world.connector.id());
        abandoned.start(&binding()).await.expect("it starts");
    }
    assert_ne!(world.backend.sizes().await, before);

    world.clock.advance(Duration::from_secs(5 * 60));
    let deadline = Instant::now() + PATIENCE;
    let mut revoked = 0;
    while world.backend.sizes().await != before {
        assert!(Instant::now() < deadline, "{:?} is left of {before:?}", world.backend.sizes().await);
        revoked += world.note(world.vault.maintain(10).await).expect("a pass").revoked;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(revoked, CYCLES / 2);
    world.token("bob").await.expect("bob is still connected");
}
