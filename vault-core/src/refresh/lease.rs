//! Steps 3 and 12: the right to refresh, and how long it is certainly ours.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::decide::may_send;
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::Error;
use crate::id::{AttemptId, ConnectionKey};
use crate::store::{ConnectionRecord, LeaseAcquire, LeaseHolder};

/// A request leaves so soon after its marker, or not at all: every settle is longer than a request by no less.
const MARGIN: Duration = Duration::from_secs(5);

/// A lease that this process holds.
#[derive(Debug)]
pub(super) struct Held<'a> {
    core: &'a Core,
    key: &'a ConnectionKey,
    holder: AttemptId,
    pub(super) fence: u64,
    /// Our clock was well ahead of the store's: what seemed due may not be.
    pub(super) set_back: bool,
    /// The store's clock when it was granted, and ours when we heard of it.
    granted_at: (Timestamp, Duration),
    /// Ours until then, by the monotonic clock, whatever happens to the store or to us.
    deadline: Mutex<Duration>,
    /// A write has freed it.
    freed: AtomicBool,
}

/// How asking for it ended.
pub(super) enum Asked<'a> {
    Absent,
    Busy(Duration),
    Ours(Held<'a>, Box<ConnectionRecord>),
}

impl<'a> Held<'a> {
    pub(super) async fn ask(
        core: &'a Core,
        key: &'a ConnectionKey,
        holder: AttemptId,
    ) -> Result<Asked<'a>, Error> {
        let ttl = core.settings.lease_ttl;
        let connections = &core.stores.connections;
        let mut asked_at = core.clock.monotonic();
        let mut answer = connections.acquire_lease(key, holder, ttl).await;
        if answer.as_ref().is_err_and(crate::store::StoreError::is_retryable) {
            // If only the answer was lost, the lease is ours and nobody else can have it: ask once more.
            asked_at = core.clock.monotonic();
            answer = connections.acquire_lease(key, holder, ttl).await;
        }
        Ok(match answer? {
            LeaseAcquire::Absent => Asked::Absent,
            LeaseAcquire::Held { remaining } => Asked::Busy(remaining),
            LeaseAcquire::Acquired(lease, record) => {
                let held = Held {
                    core,
                    key,
                    holder,
                    fence: lease.fence,
                    set_back: core.hear(lease.granted_at),
                    granted_at: (lease.granted_at, core.clock.monotonic()),
                    deadline: Mutex::new(asked_at.saturating_add(ttl)),
                    freed: AtomicBool::new(false),
                };
                Asked::Ours(held, record)
            }
        })
    }

    /// Renews it, four times as often as it needs, until dropped.
    pub(super) async fn keep(&self) -> std::convert::Infallible {
        let ttl = self.core.settings.lease_ttl;
        loop {
            self.core.clock.sleep(ttl / 4).await;
            if self.is_freed() {
                std::future::pending::<()>().await;
            }
            let asked_at = self.core.clock.monotonic();
            let renewed =
                self.core.stores.connections.renew_lease(self.key, self.holder, self.fence, ttl).await;
            match renewed {
                Ok(true) => *self.deadline() = asked_at.saturating_add(ttl),
                // No reason to drop what the provider may already have answered. The gate stops what is not sent yet.
                Ok(false) if self.is_freed() => {}
                Ok(false) => {
                    tracing::warn!("the refresh lease was lost");
                    *self.deadline() = Duration::ZERO;
                }
                Err(error) => tracing::warn!(%error, "the refresh lease was not renewed"),
            }
        }
    }

    /// Step 7, the send gate.
    pub(super) fn covers(&self, request: Duration, marked_at: Duration) -> bool {
        may_send(self.core.clock.monotonic(), request, *self.deadline(), marked_at.saturating_add(MARGIN))
    }

    /// The store's clock.
    pub(super) fn now(&self) -> Timestamp {
        let (granted_at, heard_at) = self.granted_at;
        granted_at.saturating_add(self.core.clock.monotonic().saturating_sub(heard_at))
    }

    /// For a write after which nothing is to be done under it.
    pub(super) const fn holder(&self) -> LeaseHolder {
        LeaseHolder { holder: self.holder, fence: self.fence }
    }

    /// That write was made.
    pub(super) fn freed(&self) {
        self.freed.store(true, Ordering::Relaxed);
    }

    fn is_freed(&self) -> bool {
        self.freed.load(Ordering::Relaxed)
    }

    /// A lease that cannot be released lapses.
    pub(super) async fn release(self) {
        if self.is_freed() {
            return;
        }
        let released = self.core.stores.connections.release_lease(self.key, self.holder, self.fence).await;
        if let Err(error) = released {
            tracing::debug!(%error, "lease not released");
        }
    }

    fn deadline(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
