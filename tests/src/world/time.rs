use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use vault_testkit::clock::ManualClock;

/// Moves time on while a refresh sleeps, no faster than it renews its lease.
pub async fn run_on(clock: &ManualClock, span: Duration) {
    const RENEWAL: Duration = Duration::from_millis(11_250);
    let mut left = span;
    while !left.is_zero() {
        // The renewal, and the refresh.
        clock.wait_for_sleepers(2).await;
        let step = RENEWAL.min(left);
        clock.advance(step);
        left -= step;
    }
}

/// Lets simulated time pass, twice as fast as time does, until the task is done.
///
/// # Errors
/// When it panicked.
pub async fn run_until<T>(clock: &ManualClock, mut task: JoinHandle<T>) -> Result<T, JoinError> {
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    loop {
        tokio::select! {
            biased;
            done = &mut task => return done,
            _ = pace.tick() => clock.advance(Duration::from_millis(2)),
        }
    }
}
