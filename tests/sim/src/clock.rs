//! True time, and what the processes take for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use vault_core::clock::Clock;

use crate::world::Shared;

const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// True time, in microseconds since the start. Read without a lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrueTime(Arc<AtomicU64>);

impl TrueTime {
    pub(crate) fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn advance_to(&self, moment: Duration) {
        // Rounded up: whoever waits for `moment` must find it past.
        let micros = moment.as_nanos().div_ceil(1000);
        self.0.fetch_max(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The store's clock, which nobody waits by.
#[async_trait]
impl Clock for TrueTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + EPOCH + Self::now(self)
    }

    fn monotonic(&self) -> Duration {
        Self::now(self)
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

/// Before every token ends: for looking at what is stored.
#[derive(Debug)]
pub(crate) struct LongAgo;

#[async_trait]
impl Clock for LongAgo {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

/// How far a process's clocks are from true time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Skew {
    wall_millis: Arc<AtomicI64>,
    /// What the monotonic clock has missed: the time before the start, and frozen time.
    missed_micros: Arc<AtomicU64>,
}

impl Skew {
    pub(crate) fn set_wall(&self, millis: i64) {
        self.wall_millis.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn shift_wall(&self, millis: i64) {
        self.wall_millis.fetch_add(millis, Ordering::Relaxed);
    }

    pub(crate) fn miss(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.missed_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) -> Duration {
        Duration::from_micros(self.missed_micros.load(Ordering::Relaxed))
    }
}

/// One process's clocks.
#[derive(Debug)]
pub(crate) struct ProcessClock {
    pub(crate) slot: usize,
    pub(crate) time: TrueTime,
    pub(crate) skew: Skew,
    pub(crate) world: Shared,
}

/// Somebody who waits for a moment of a process's monotonic clock.
#[derive(Debug)]
pub(crate) struct Sleeper {
    pub(crate) slot: usize,
    pub(crate) until: Duration,
    pub(crate) fired: Arc<AtomicBool>,
    pub(crate) waker: Option<Waker>,
}

#[async_trait]
impl Clock for ProcessClock {
    fn now(&self) -> SystemTime {
        let true_now = SystemTime::UNIX_EPOCH + EPOCH + self.time.now();
        let skew = self.skew.wall_millis.load(Ordering::Relaxed);
        let span = Duration::from_millis(skew.unsigned_abs());
        if skew < 0 { true_now - span } else { true_now + span }
    }

    fn monotonic(&self) -> Duration {
        self.time.now().saturating_sub(self.skew.missed())
    }

    async fn sleep(&self, span: Duration) {
        let fired = Arc::new(AtomicBool::new(span.is_zero()));
        let until = self.monotonic().saturating_add(span);
        let sleeper = Sleeper { slot: self.slot, until, fired: Arc::clone(&fired), waker: None };
        let id = self.world.lock().add_sleeper(sleeper);
        let _asleep = Asleep { id, world: &self.world };
        std::future::poll_fn(|context| {
            if fired.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            if let Some(sleeper) = self.world.lock().sleepers.get_mut(&id) {
                sleeper.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

struct Asleep<'a> {
    id: u64,
    world: &'a Shared,
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        let sleeper = self.world.lock().sleepers.remove(&self.id);
        drop(sleeper);
    }
}
