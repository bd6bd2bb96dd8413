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
//! with [`TokenCache::max_age`], counted from before the read, by the monotonic clock.

mod follow;
#[cfg(test)]
mod tests;
mod told;

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache as Bounded;
use quick_cache::{Equivalent, Weighter};

pub(crate) use self::follow::look_after;
pub(crate) use self::told::Told;
use crate::connection::{Held, Opened};
use crate::id::{ConnectionKey, Incarnation};
use crate::store::ConnectionWatch;

/// Keeps opened tokens in memory, for [`VaultBuilder::token_cache`](crate::VaultBuilder::token_cache): a read that finds
/// one costs neither a store call nor a decryption.
///
/// # What is given up
/// Without a [watch](Self::watch), a connection that **another process** disconnects, marks or refreshes is served as it
/// was for at most [`max_age`](Self::max_age). This vault's own writes count at once, and
/// [`report_rejected`](crate::Vault::report_rejected) and [`fresh`](crate::TokenRequest::fresh) never look in here.
///
/// With a watch, other processes' changes count as soon as they are told. While nobody tells, because the channel is not
/// up yet or broke, nothing is served from here, and whatever is kept is dropped.
///
/// # Memory
/// Access tokens lie in this process in clear, for as long as [`max_age`](Self::max_age); refresh tokens do not. They are
/// wiped when they leave, or when the last [`AccessToken`](crate::AccessToken) that shares them is dropped.
///
/// ```
/// use std::time::Duration;
/// use vault_core::{TokenCache, VaultBuilder};
/// use vault_core::store::ConnectionWatch;
///
/// fn with_cache(builder: VaultBuilder, watch: impl ConnectionWatch) -> VaultBuilder {
///     builder.token_cache(TokenCache::new().max_age(Duration::from_secs(10)).watch(watch))
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TokenCache {
    pub(crate) entries: u32,
    pub(crate) bytes: u64,
    pub(crate) max_age: Duration,
    pub(crate) watch: Option<Arc<dyn ConnectionWatch>>,
}

impl TokenCache {
    /// At most 10,000 tokens in 32 MiB, for 30 s, without a watch.
    pub const fn new() -> Self {
        Self { entries: 10_000, bytes: 32 << 20, max_age: Duration::from_secs(30), watch: None }
    }

    /// At most so many tokens.
    pub const fn entries(mut self, entries: u32) -> Self {
        self.entries = entries;
        self
    }

    /// At most so many bytes, as far as they can be counted. What is too large to share them is not kept.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// For so long after the store was asked, whatever happens; 30 s by default. Also how often expired entries are
    /// looked for and wiped.
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Listens for other processes' changes, as backends that can push offer it. It must tell of the store that the vault
    /// reads from.
    pub fn watch(mut self, watch: impl ConnectionWatch) -> Self {
        self.watch = Some(Arc::new(watch));
        self
    }
}

impl Default for TokenCache {
    fn default() -> Self {
        Self::new()
    }
}

/// How many connections share a counter of changes: a change of one makes reads of the others ask the store once more.
const STRIPES: usize = 1024;
/// What an entry takes beside its token.
const OVERHEAD: usize = 256;
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
    /// Held while an entry is compared with what it replaces.
    writing: Mutex<()>,
}

/// Stands for all that was known when a read began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    read_at: Duration,
    session: u64,
    stripe: usize,
    changes: u64,
    doubts: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    mark: Mark,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Token(Arc<Opened>),
    /// This vault wrote that generation: what a lagging replica still has of earlier ones is not kept.
    Written(Incarnation, u64),
    /// This vault removed the connection.
    Removed,
}

impl What {
    /// Whether `new`, which was read, may take this one's place.
    fn yields_to(&self, new: &Opened) -> bool {
        match self {
            Self::Token(old) => old.incarnation != new.incarnation || old.generation <= new.generation,
            Self::Written(incarnation, generation) => {
                *incarnation == new.incarnation && *generation <= new.generation
            }
            Self::Removed => false,
        }
    }

    /// Whether that is what was found.
    fn is(&self, found: Option<&Opened>) -> bool {
        let found = found.map(|found| (found.incarnation, found.generation, found.status));
        match self {
            Self::Token(kept) => found == Some((kept.incarnation, kept.generation, kept.status)),
            Self::Written(incarnation, generation) => {
                found.is_some_and(|found| (found.0, found.1) == (*incarnation, *generation))
            }
            Self::Removed => found.is_none(),
        }
    }
}

/// Whether these differ, and do not say which of them is newer.
fn contradict(one: &Opened, other: &Opened) -> bool {
    one.incarnation != other.incarnation || one.generation == other.generation && one.status != other.status
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
        now: Duration,
    ) -> Option<Arc<Opened>> {
        let entry = self.kept.get(key).filter(|entry| self.is_current(&entry.mark, now))?;
        match entry.what {
            What::Token(opened) => Some(opened),
            What::Written(..) | What::Removed => None,
        }
    }

    /// To be called before the store is asked.
    pub(crate) fn mark(&self, key: &ConnectionKey, now: Duration) -> Mark {
        let stripe = stripe_of(&key.digest());
        let session = self.session.load(Ordering::Acquire);
        Mark { read_at: now, session, stripe, changes: self.changes(stripe), doubts: self.doubts(stripe) }
    }

    /// Keeps what was read since `mark`, unless something has happened meanwhile.
    pub(crate) fn keep(&self, key: &ConnectionKey, mark: Mark, opened: Opened) -> Held {
        let _writing = self.lock(mark.stripe);
        let old = self.kept.peek(key).filter(|old| match old.what {
            What::Token(_) => true,
            What::Written(..) | What::Removed => self.is_young(old.mark.read_at, mark.read_at),
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
        let overtaken = in_doubt || old.is_some_and(|old| !old.what.yields_to(&opened));
        if overtaken {
            return Held::Own(Box::new(opened));
        }
        let opened = opened.shared();
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
    fn wrote(&self, key: &ConnectionKey, what: What, now: Duration) {
        self.change(key, Some((what, now)));
    }

    fn change(&self, key: &ConnectionKey, left: Option<(What, Duration)>) {
        let stripe = stripe_of(&key.digest());
        let _writing = self.lock(stripe);
        let changes = self.stripes[stripe].changes.fetch_add(1, Ordering::AcqRel) + 1;
        match left {
            Some((what, now)) => {
                let session = self.session.load(Ordering::Acquire);
                let mark = Mark { read_at: now, session, stripe, changes, doubts: self.doubts(stripe) };
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
    fn sweep(&self, now: Duration) {
        self.kept.retain(|_, entry| match entry.what {
            What::Token(_) => self.is_current(&entry.mark, now),
            What::Written(..) | What::Removed => self.is_young(entry.mark.read_at, now),
        });
    }

    fn is_current(&self, mark: &Mark, now: Duration) -> bool {
        mark.session % 2 == 1
            && mark.session == self.session.load(Ordering::Acquire)
            && mark.changes == self.changes(mark.stripe)
            && self.is_young(mark.read_at, now)
    }

    fn is_young(&self, read_at: Duration, now: Duration) -> bool {
        now.saturating_sub(read_at) < self.max_age
    }

    fn changes(&self, stripe: usize) -> u64 {
        self.stripes[stripe].changes.load(Ordering::Acquire)
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

/// An entry's bytes, and no less than an equal share, so that one bound keeps both.
#[derive(Debug, Clone)]
struct Weight {
    least: u64,
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
