use std::sync::Arc;
use std::time::Duration;

use quick_cache::Weighter;

use crate::clock::{Clock, Timestamp};
use crate::connection::Opened;
use crate::id::{ConnectionKey, Incarnation};
use crate::store::ConnectionStatus;

/// What an entry takes beside its token.
pub(super) const OVERHEAD: usize = 256;

/// What two clocks say: the monotonic one may stand still while the machine sleeps, and the time of day may be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) monotonic: Duration,
    pub(crate) time: Timestamp,
}

impl Reading {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self { monotonic: clock.monotonic(), time: clock.timestamp() }
    }

    /// By the clock that nobody sets.
    pub(super) fn monotonic_since(self, earlier: Self) -> Duration {
        self.monotonic.saturating_sub(earlier.monotonic)
    }

    /// By the clock that saw more pass.
    pub(super) fn since(self, earlier: Self) -> Duration {
        let by_time = self.time.saturating_since(earlier.time);
        self.monotonic_since(earlier).max(by_time)
    }
}

/// Stands for all that was known when a read began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(super) read_at: Reading,
    pub(super) session: u64,
    pub(super) stripe: usize,
    pub(super) changes: u64,
    pub(super) doubts: u64,
    pub(super) keeps: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) mark: Mark,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Token(Arc<Opened>),
    /// This vault wrote that: what a lagging replica still has of earlier states is not kept.
    Written(Incarnation, u64, ConnectionStatus),
    /// This vault removed the connection.
    Removed,
}

impl What {
    /// Whether `new`, which was read, may take this one's place.
    pub(super) fn yields_to(&self, new: &Opened) -> bool {
        match self {
            Self::Token(old) => old.incarnation != new.incarnation || old.generation <= new.generation,
            Self::Written(incarnation, generation, status) => {
                let is_same = (*generation, *status) == (new.generation, new.status);
                *incarnation == new.incarnation && (is_same || *generation < new.generation)
            }
            Self::Removed => false,
        }
    }

    /// Whether that is what was found.
    pub(super) fn is(&self, found: Option<&Opened>) -> bool {
        let found = found.map(|found| (found.incarnation, found.generation, found.status));
        match self {
            Self::Token(kept) => found == Some((kept.incarnation, kept.generation, kept.status)),
            Self::Written(incarnation, generation, status) => {
                found == Some((*incarnation, *generation, *status))
            }
            Self::Removed => found.is_none(),
        }
    }
}

/// Whether these differ, and do not say which of them is newer.
pub(super) fn contradict(one: &Opened, other: &Opened) -> bool {
    one.incarnation != other.incarnation || one.generation == other.generation && one.status != other.status
}

/// An entry's bytes, and no less than an equal share, so that one bound keeps both.
#[derive(Debug, Clone)]
pub(super) struct Weight {
    pub(super) least: u64,
}

impl Weighter<ConnectionKey, Entry> for Weight {
    fn weight(&self, _: &ConnectionKey, entry: &Entry) -> u64 {
        let token = match &entry.what {
            What::Token(opened) => opened.bytes(),
            What::Written(..) | What::Removed => 0,
        };
        u64::try_from(OVERHEAD + token).unwrap_or(u64::MAX).max(self.least)
    }
}
