//! Opened tokens kept in this process's memory, so that a read need not ask the store: [`TokenCache`].
//!
//! An entry is served only while nothing can have happened to its connection since it was read. Every read takes a
//! [`Mark`] before it goes to the store, and every change of a connection, as soon as it is known, moves that mark on. So
//! what a change overtook is out of reach at once, even where it enters the cache only afterwards.
//!
//! Before a change is known, reads that overlap may find what was before it and what is after it, in any order. Where they
//! contradict each other, or what a caller is told otherwise, nothing is kept: nobody goes back to what was before.
//!
//! Changes are known from three sides: this vault's own writes pass through `Told`, which wraps the store; other
//! processes' arrive by a [`ConnectionWatch`], if there is one, which `follow` listens to; and what nobody tells ends
//! with [`TokenCache::max_age`], counted from before the read, by the clock that saw more time pass.

mod entry;
mod follow;
mod options;
#[cfg(test)]
mod tests;
mod told;

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::Equivalent;
use quick_cache::sync::Cache as Bounded;

use self::entry::{Entry, Weight, What, contradict};
pub(crate) use self::entry::{Mark, Reading};
pub(crate) use self::follow::look_after;
pub use self::options::TokenCache;
pub(crate) use self::told::Told;
use crate::connection::{Held, Opened};
use crate::id::ConnectionKey;

/// How many connections share a counter of changes: a change of one makes reads of the others ask the store once more.
const STRIPES: usize = 1024;
/// What a usual entry takes in all.
const USUAL: u64 = 2048;

pub(crate) struct Cache {
    kept: Bounded<ConnectionKey, Entry, Weight>,
    stripes: Box<[Stripe]>,
    /// Odd while entries may be served. Another number is another session, which knows nothing of earlier ones.
    session: AtomicU64,
    max_age: Duration,
}

#[derive(Default)]
struct Stripe {
    changes: AtomicU64,
    /// How often a read found something else than others may still bring.
    doubts: AtomicU64,
    /// How often something was kept: what a read brings must not be older, even where that has left since.
    keeps: AtomicU64,
    /// Held while an entry is compared with what it replaces.
    writing: Mutex<()>,
}

impl Cache {
    pub(crate) fn new(options: &TokenCache) -> Self {
        let TokenCache { entries, bytes, .. } = options;
        let least = bytes.div_ceil(u64::from(*entries).max(1)).max(1);
        // Of usual tokens; it decides into how many shards the bytes are divided.
        let estimated = usize::try_from(bytes / least.max(USUAL)).unwrap_or(usize::MAX).max(1);
        Self {
            kept: Bounded::with_weighter(estimated, *bytes, Weight { least }),
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
            // Where somebody watches, nothing is served before that began.
            session: AtomicU64::new(u64::from(options.watch.is_none())),
            max_age: options.max_age,
        }
    }

    /// The token of that connection, if it may be served. Allocates nothing.
    pub(crate) fn get(
        &self,
        key: &(impl Hash + Equivalent<ConnectionKey>),
        now: Reading,
    ) -> Option<Arc<Opened>> {
        let entry = self.kept.get(key).filter(|entry| self.is_current(&entry.mark, now))?;
        match entry.what {
            What::Token(opened) => Some(opened),
            What::Written(..) | What::Removed => None,
        }
    }

    /// To be called before the store is asked.
    pub(crate) fn mark(&self, key: &ConnectionKey, now: Reading) -> Mark {
        let stripe = stripe_of(&key.digest());
        let session = self.session.load(Ordering::Acquire);
        self.mark_of(stripe, session, self.changes(stripe), now)
    }

    /// Keeps what was read since `mark`, unless something has happened meanwhile.
    pub(crate) fn keep(&self, key: &ConnectionKey, mark: Mark, opened: Opened) -> Held {
        let _writing = self.lock(mark.stripe);
        let old = self.kept.peek(key).filter(|old| match old.what {
            What::Token(_) => true,
            What::Written(..) | What::Removed => self.is_recent(old.mark.read_at, mark.read_at),
        });
        let in_doubt = !self.is_current(&mark, mark.read_at)
            || mark.doubts != self.doubts(mark.stripe)
            || old.as_ref().is_some_and(|Entry { mark: since, what }| {
                let other = matches!(what, What::Token(old) if contradict(old, &opened));
                other && self.is_current(since, mark.read_at)
            });
        if in_doubt {
            // It may be newer than what is kept, and its reader has seen it.
            self.doubt(key, mark.stripe);
        }
        let overtaken = match old {
            _ if in_doubt => true,
            Some(old) => !old.what.yields_to(&opened),
            None => mark.keeps != self.keeps(mark.stripe),
        };
        if overtaken {
            return Held::Own(Box::new(opened));
        }
        let opened = opened.shared();
        self.stripes[mark.stripe].keeps.fetch_add(1, Ordering::AcqRel);
        self.kept.insert(key.clone(), Entry { mark, what: What::Token(Arc::clone(&opened)) });
        Held::Shared(opened)
    }

    /// A caller is told that this is what there is. If something else is kept, or about to be, that may be older, and is not
    /// to be served after this.
    pub(crate) fn found(&self, key: &ConnectionKey, found: Option<&Opened>) {
        let stripe = stripe_of(&key.digest());
        let _writing = self.lock(stripe);
        if !self.kept.peek(key).is_some_and(|kept| kept.what.is(found)) {
            self.doubt(key, stripe);
        }
    }

    /// Two reads found different things, and which of them is newer is not known: neither is kept.
    fn doubt(&self, key: &ConnectionKey, stripe: usize) {
        self.stripes[stripe].doubts.fetch_add(1, Ordering::AcqRel);
        let _ = self.kept.remove_if(key, |kept| matches!(kept.what, What::Token(_)));
    }

    /// Whatever was known of this connection holds no longer.
    pub(crate) fn forget(&self, key: &ConnectionKey) {
        self.change(key, None);
    }

    /// A write of this vault, with what came of it.
    fn wrote(&self, key: &ConnectionKey, what: What, now: Reading) {
        self.change(key, Some((what, now)));
    }

    fn change(&self, key: &ConnectionKey, left: Option<(What, Reading)>) {
        let stripe = stripe_of(&key.digest());
        let _writing = self.lock(stripe);
        let changes = self.stripes[stripe].changes.fetch_add(1, Ordering::AcqRel) + 1;
        match left {
            Some((what, now)) => {
                let session = self.session.load(Ordering::Acquire);
                let mark = self.mark_of(stripe, session, changes, now);
                self.kept.insert(key.clone(), Entry { mark, what });
            }
            None => drop(self.kept.remove(key)),
        }
    }

    /// Somebody changed the connection of that digest. What is kept of it is out of reach, and wiped with the next sweep.
    fn told_of(&self, digest: &[u8; 32]) {
        self.stripes[stripe_of(digest)].changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Somebody changed anything.
    fn told_of_any(&self) {
        self.session.fetch_add(2, Ordering::AcqRel);
        self.kept.clear();
    }

    /// Entries may be served from now on, or no longer.
    fn switch(&self, on: bool) {
        let switched = |session: u64| ((session % 2 == 1) != on).then_some(session + 1);
        // An error says that it is switched that way already.
        let _ = self.session.fetch_update(Ordering::AcqRel, Ordering::Acquire, switched);
        self.kept.clear();
    }

    /// Wipes what will never be served again.
    fn sweep(&self, now: Reading) {
        self.kept.retain(|_, entry| match entry.what {
            What::Token(_) => self.is_current(&entry.mark, now),
            What::Written(..) | What::Removed => self.is_recent(entry.mark.read_at, now),
        });
    }

    fn is_current(&self, mark: &Mark, now: Reading) -> bool {
        mark.session % 2 == 1
            && mark.session == self.session.load(Ordering::Acquire)
            && mark.changes == self.changes(mark.stripe)
            && self.is_young(mark.read_at, now)
    }

    fn is_young(&self, read_at: Reading, now: Reading) -> bool {
        now.since(read_at) < self.max_age
    }

    /// Whether a replica may still be behind a write of then; a clock that is set does not bring it up.
    fn is_recent(&self, written_at: Reading, now: Reading) -> bool {
        now.monotonic_since(written_at) < self.max_age
    }

    fn changes(&self, stripe: usize) -> u64 {
        self.stripes[stripe].changes.load(Ordering::Acquire)
    }

    fn mark_of(&self, stripe: usize, session: u64, changes: u64, read_at: Reading) -> Mark {
        Mark { read_at, session, stripe, changes, doubts: self.doubts(stripe), keeps: self.keeps(stripe) }
    }

    fn keeps(&self, stripe: usize) -> u64 {
        self.stripes[stripe].keeps.load(Ordering::Acquire)
    }

    fn doubts(&self, stripe: usize) -> u64 {
        self.stripes[stripe].doubts.load(Ordering::Acquire)
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, ()> {
        self.stripes[stripe].writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("entries", &self.kept.len()).finish_non_exhaustive()
    }
}

fn stripe_of(digest: &[u8; 32]) -> usize {
    usize::from(u16::from_le_bytes([digest[0], digest[1]])) % STRIPES
}
