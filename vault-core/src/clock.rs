//! Time, passed in: the wall clock for what is stored, a monotonic one for what is waited for.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

/// A moment of the wall clock, in Unix milliseconds: the form in which times are stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From Unix milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// As Unix milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// `self + span`, stopping at the end of time.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// `self - span`, stopping at the beginning of time.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => Self(millis(before.duration()).saturating_neg()),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let span = Duration::from_millis(time.0.unsigned_abs());
        let shifted = if time.0 >= 0 { UNIX_EPOCH.checked_add(span) } else { UNIX_EPOCH.checked_sub(span) };
        shifted.unwrap_or(UNIX_EPOCH)
    }
}

/// What time it is, and how to wait.
///
/// # Contract
/// `now` may jump either way, as wall clocks do. `monotonic` never goes back. `sleep` follows `monotonic`.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> SystemTime;

    /// The same in the form in which it is stored, in milliseconds. To be provided only by a clock that gets there faster.
    fn timestamp(&self) -> Timestamp {
        self.now().into()
    }

    /// Time since some fixed point, the same for as long as this process runs.
    fn monotonic(&self) -> Duration;

    /// Waits for `span`. Cancel safe: dropping the future ends the wait and nothing else.
    async fn sleep(&self, span: Duration);
}

/// The system's clocks, waiting with tokio's timer.
///
/// On Linux they are the coarse ones, which are up to a tick of the kernel's behind (1 to 10 ms) and a fraction as costly
/// to read: two readings of the precise ones would be half of what a token out of the cache costs.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// All of them tell the same time.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::Timestamp;

    pub(super) fn timestamp() -> Timestamp {
        let time = clock_gettime(ClockId::RealtimeCoarse);
        Timestamp(time.tv_sec * 1_000 + time.tv_nsec / 1_000_000)
    }

    pub(super) fn monotonic() -> Duration {
        let time = clock_gettime(ClockId::MonotonicCoarse);
        // It counts from the start of the machine.
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::sync::LazyLock;
    use std::time::{Duration, Instant, SystemTime};

    use super::Timestamp;

    pub(super) fn timestamp() -> Timestamp {
        SystemTime::now().into()
    }

    pub(super) fn monotonic() -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        system::timestamp().into()
    }

    fn timestamp(&self) -> Timestamp {
        system::timestamp()
    }

    fn monotonic(&self) -> Duration {
        system::monotonic()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
