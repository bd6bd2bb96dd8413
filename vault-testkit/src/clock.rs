//! A clock that stands still until the test moves it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::watch;
use vault_core::clock::Clock;

/// A [`Clock`] that only [`advance`](Self::advance) and [`jump_wall`](Self::jump_wall) move. Clones share one time.
///
/// Wait for the code under test to reach its sleep before moving time, so that no test races:
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use vault_core::clock::Clock;
/// use vault_testkit::clock::ManualClock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tokio::task::JoinError> {
/// let clock = ManualClock::new();
/// let sleeper = tokio::spawn({
///     let clock = clock.clone();
///     async move { clock.sleep(Duration::from_secs(60)).await }
/// });
/// clock.wait_for_sleepers(1).await;
/// clock.advance(Duration::from_secs(60));
/// sleeper.await?;
/// assert_eq!(clock.monotonic(), Duration::from_secs(60));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    time: watch::Sender<Time>,
    /// When each sleeper wakes, by monotonic time.
    sleepers: watch::Sender<BTreeMap<u64, Duration>>,
    next_sleeper: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Time {
    wall: SystemTime,
    monotonic: Duration,
}

impl ManualClock {
    /// Starts at 2027-01-15 08:00:00 UTC by the wall and at zero by the monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
    }

    /// Starts at `wall`, and at zero by the monotonic clock.
    #[must_use]
    pub fn starting_at(wall: SystemTime) -> Self {
        Self {
            shared: Arc::new(Shared {
                time: watch::Sender::new(Time { wall, monotonic: Duration::ZERO }),
                sleepers: watch::Sender::default(),
                next_sleeper: AtomicU64::new(0),
            }),
        }
    }

    /// Moves both clocks on, and wakes whoever has slept long enough.
    pub fn advance(&self, span: Duration) {
        self.shared.time.send_modify(|time| {
            time.wall += span;
            time.monotonic += span;
        });
        // At once, not when the woken task is next polled: so that the count never includes who is done sleeping.
        let now = self.monotonic();
        self.shared.sleepers.send_modify(|sleepers| sleepers.retain(|_, until| *until > now));
    }

    /// Moves the wall clock alone, by so many seconds either way, as an operator or a time server would.
    pub fn jump_wall(&self, seconds: i64) {
        let span = Duration::from_secs(seconds.unsigned_abs());
        self.shared.time.send_modify(|time| {
            if seconds < 0 {
                time.wall -= span;
            } else {
                time.wall += span;
            }
        });
    }

    /// How many tasks are asleep.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.shared.sleepers.borrow().len()
    }

    /// Waits until at least `count` tasks are asleep. Cancel safe.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut sleepers = self.shared.sleepers.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = sleepers.wait_for(|sleepers| sleepers.len() >= count).await;
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.shared.time.borrow().wall
    }

    fn monotonic(&self) -> Duration {
        self.shared.time.borrow().monotonic
    }

    async fn sleep(&self, span: Duration) {
        let mut time = self.shared.time.subscribe();
        let until = self.monotonic().saturating_add(span);
        let _asleep = Asleep::new(&self.shared, until);
        let _ = time.wait_for(|time| time.monotonic >= until).await;
    }
}

/// One entry among the sleepers, for as long as it lives.
struct Asleep<'a> {
    shared: &'a Shared,
    id: u64,
}

impl<'a> Asleep<'a> {
    fn new(shared: &'a Shared, until: Duration) -> Self {
        let id = shared.next_sleeper.fetch_add(1, Ordering::Relaxed);
        if until > shared.time.borrow().monotonic {
            shared.sleepers.send_modify(|sleepers| {
                sleepers.insert(id, until);
            });
        }
        Self { shared, id }
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.shared.sleepers.send_if_modified(|sleepers| sleepers.remove(&self.id).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_turn_and_are_counted_at_once() {
        let clock = ManualClock::new();
        let sleep = |seconds| {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep(Duration::from_secs(seconds)).await })
        };
        let (short, long) = (sleep(1), sleep(2));
        clock.wait_for_sleepers(2).await;

        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.sleepers(), 1);
        short.await.expect("woken");
        assert!(!long.is_finished());

        clock.advance(Duration::from_secs(1));
        long.await.expect("woken");
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn a_dropped_sleep_is_no_sleeper() {
        let clock = ManualClock::new();
        tokio::select! {
            biased;
            () = clock.sleep(Duration::from_secs(1)) => panic!("nobody moved the clock"),
            () = clock.wait_for_sleepers(1) => {}
        }
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn a_wall_jump_moves_no_sleeper() {
        let clock = ManualClock::new();
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        clock.jump_wall(-3600);
        assert_eq!(clock.now(), wall - Duration::from_secs(3600));
        clock.jump_wall(7200);
        assert_eq!(clock.now(), wall + Duration::from_secs(3600));
        assert_eq!(clock.monotonic(), monotonic);
        clock.sleep(Duration::ZERO).await;
    }
}
