//! The store's clock, as far as it can be known without asking: one time for all processes, whatever their own clocks say.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::clock::{Clock, Timestamp};

/// A clock that is set by the store's, each time that one is heard of, and goes on by itself in between.
///
/// Between two hearings a wall clock may be set back, and a monotonic one may stand still while the machine sleeps. So
/// both are followed, and the later of the two is believed: a token may be refreshed early, but is not used late.
#[derive(Debug)]
pub(crate) struct StoreClock {
    own: Arc<dyn Clock>,
    /// From our wall clock to the store's, in milliseconds.
    from_wall: AtomicI64,
    /// From our monotonic clock to the store's; unknown until first heard of.
    from_monotonic: AtomicI64,
}

const UNKNOWN: i64 = i64::MIN;

impl StoreClock {
    pub(crate) const fn new(own: Arc<dyn Clock>) -> Self {
        Self { own, from_wall: AtomicI64::new(0), from_monotonic: AtomicI64::new(UNKNOWN) }
    }

    /// The store's clock says `now`. Whether ours was ahead of it by more than the way to the store explains.
    pub(crate) fn hear(&self, now: Timestamp) -> bool {
        const MARGIN: Duration = Duration::from_secs(1);
        let monotonic = self.own.monotonic();
        let before = self.at(monotonic);
        let wall = self.own.timestamp().as_millis();
        self.from_wall.store(now.as_millis().saturating_sub(wall), Ordering::Relaxed);
        self.from_monotonic.store(now.as_millis().saturating_sub(millis(monotonic)), Ordering::Relaxed);
        before.saturating_since(now) > MARGIN
    }

    /// The same as `now`, when our monotonic clock has just said `monotonic`.
    pub(crate) fn at(&self, monotonic: Duration) -> Timestamp {
        let wall = self.own.timestamp().as_millis();
        let by_wall = wall.saturating_add(self.from_wall.load(Ordering::Relaxed));
        let by_monotonic = match self.from_monotonic.load(Ordering::Relaxed) {
            UNKNOWN => UNKNOWN,
            offset => millis(monotonic).saturating_add(offset),
        };
        Timestamp::from_millis(by_wall.max(by_monotonic))
    }
}

fn millis(monotonic: Duration) -> i64 {
    i64::try_from(monotonic.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl Clock for StoreClock {
    fn now(&self) -> SystemTime {
        self.timestamp().into()
    }

    fn timestamp(&self) -> Timestamp {
        self.at(self.own.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.own.monotonic()
    }

    async fn sleep(&self, span: Duration) {
        self.own.sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Wall and monotonic, in milliseconds.
    #[derive(Debug, Clone, Default)]
    struct Set(Arc<Mutex<(i64, u64)>>);

    impl Set {
        fn go(&self, wall: i64, monotonic: u64) {
            let mut set = self.0.lock().expect("no panics");
            *set = (set.0 + wall, set.1 + monotonic);
        }
    }

    #[async_trait]
    impl Clock for Set {
        fn now(&self) -> SystemTime {
            Timestamp::from_millis(self.0.lock().expect("no panics").0).into()
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.lock().expect("no panics").1)
        }

        async fn sleep(&self, _: Duration) {}
    }

    fn now(clock: &StoreClock) -> i64 {
        Timestamp::from(clock.now()).as_millis()
    }

    #[test]
    fn r12_it_says_what_the_store_says_and_goes_on() {
        let own = Set::default();
        own.go(600_000, 5);
        let clock = StoreClock::new(Arc::new(own.clone()));
        assert_eq!(now(&clock), 600_000, "not heard of yet");
        assert!(clock.hear(Timestamp::from_millis(1_000)), "ten minutes ahead");
        assert_eq!(now(&clock), 1_000);
        own.go(500, 500);
        assert_eq!(now(&clock), 1_500);
        assert!(!clock.hear(Timestamp::from_millis(1_400)), "the way to the store");
        assert!(!clock.hear(Timestamp::from_millis(900_000)), "behind");
        assert_eq!(now(&clock), 900_000);
    }

    #[test]
    fn r13_neither_a_clock_set_back_nor_a_machine_that_slept_makes_it_late() {
        let own = Set::default();
        let clock = StoreClock::new(Arc::new(own.clone()));
        clock.hear(Timestamp::from_millis(10_000));
        own.go(-3_600_000, 2_000);
        assert_eq!(now(&clock), 12_000, "set back");
        own.go(3_600_000 + 60_000, 1_000);
        assert_eq!(now(&clock), 70_000, "a minute of sleep, of which the monotonic clock saw a second");
        clock.hear(Timestamp::from_millis(71_000));
        assert_eq!(now(&clock), 71_000);
    }
}
