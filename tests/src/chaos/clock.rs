use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use vault_core::clock::{Clock, SystemClock};

/// The system's clocks, off by so much, and moved forward on demand. Waiting takes real time.
#[derive(Debug, Clone)]
pub struct SkipClock {
    system: SystemClock,
    /// How far the wall clock is ahead, in milliseconds.
    ahead: i64,
    /// What has been skipped, in milliseconds.
    skipped: Arc<AtomicU64>,
}

impl SkipClock {
    /// `ahead`: of the system's wall clock, in milliseconds.
    #[must_use]
    pub fn new(ahead: i64) -> Self {
        Self { system: SystemClock::new(), ahead, skipped: Arc::default() }
    }

    /// Both clocks move forward, as if that time had passed.
    pub fn skip(&self, span: Duration) {
        let millis = u64::try_from(span.as_millis()).expect("not for ages");
        self.skipped.fetch_add(millis, Ordering::Relaxed);
    }

    fn skipped(&self) -> Duration {
        Duration::from_millis(self.skipped.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Clock for SkipClock {
    fn now(&self) -> SystemTime {
        let off = Duration::from_millis(self.ahead.unsigned_abs());
        let now = self.system.now() + self.skipped();
        if self.ahead < 0 { now - off } else { now + off }
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic() + self.skipped()
    }

    async fn sleep(&self, span: Duration) {
        self.system.sleep(span).await;
    }
}
