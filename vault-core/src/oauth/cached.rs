//! Public documents of providers, kept in memory: fresh for an hour, shared while they are being fetched, and better old
//! than missing.

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::clock::Clock;
use crate::error::Error;

/// How long a document is used without asking again.
pub(crate) const FRESH: Duration = Duration::from_secs(60 * 60);
/// How long a failure stands before the next attempt.
pub(crate) const FAILURE: Duration = Duration::from_secs(30);
/// How often a document may be fetched again before its time, because something was missing in it.
pub(crate) const REFETCH: Duration = Duration::from_secs(5 * 60);

/// A bounded cache of documents of type `T`.
///
/// - One request per key at a time; whoever asks meanwhile waits for its outcome, be it a document or an error.
/// - When fetching again fails, the last good document is used however old it is.
/// - A failure is remembered for [`FAILURE`], so that a provider that is down is not stormed.
///
/// # Cancel safety
/// Dropping a lookup that fetches abandons the request; the next one in line starts its own.
pub(crate) struct Cached<K, T> {
    entries: Cache<K, Arc<Entry<T>>>,
    clock: Arc<dyn Clock>,
}

struct Entry<T> {
    /// Held while fetching. It guards no data: fresh documents are read past it.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Known<T>>,
}

struct Known<T> {
    good: Option<At<Arc<T>>>,
    /// The outcome of the latest attempt, when that failed.
    failure: Option<At<Error>>,
    refetched: Option<Duration>,
}

/// A value and the monotonic time at which it was had.
struct At<V>(Duration, V);

impl<K: Hash + Eq + Clone, T> Cached<K, T> {
    /// Holds about `capacity` documents; those used least make room.
    pub(crate) fn new(clock: Arc<dyn Clock>, capacity: usize) -> Self {
        Self { entries: Cache::new(capacity), clock }
    }

    /// The document of `key`, from `fetch` unless a fresh one is known.
    ///
    /// # Errors
    /// Those of `fetch`, now or within the last [`FAILURE`], when no document is known at all.
    pub(crate) async fn get<F>(&self, key: &K, fetch: impl FnOnce() -> F + Send) -> Result<Arc<T>, Error>
    where
        K: Send + Sync,
        T: Send + Sync,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let entry = self.entry(key);
        if let Some(answer) = entry.known().answer(self.clock.monotonic()) {
            return answer;
        }
        let _turn = entry.turn.lock().await;
        // Somebody may have fetched it while this lookup was in line.
        if let Some(answer) = entry.known().answer(self.clock.monotonic()) {
            return answer;
        }
        match self.fetch(&entry, fetch()).await {
            Ok(document) => Ok(document),
            Err(error) => entry.known().last_good().ok_or(error),
        }
    }

    /// A document newer than `seen`, which lacks something. `seen` itself comes back when there was such a refetch
    /// within the last [`REFETCH`].
    ///
    /// # Errors
    /// Those of `fetch`, now or within the last [`FAILURE`].
    pub(crate) async fn refetch<F>(
        &self,
        key: &K,
        seen: &Arc<T>,
        fetch: impl FnOnce() -> F + Send,
    ) -> Result<Arc<T>, Error>
    where
        K: Send + Sync,
        T: Send + Sync,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let entry = self.entry(key);
        let _turn = entry.turn.lock().await;
        if let Some(answer) = entry.known().newer(seen, self.clock.monotonic()) {
            return answer;
        }
        self.fetch(&entry, fetch()).await
    }

    async fn fetch<F>(&self, entry: &Entry<T>, fetching: F) -> Result<Arc<T>, Error>
    where
        K: Send + Sync,
        T: Send + Sync,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let outcome = fetching.await.map(Arc::new);
        let now = self.clock.monotonic();
        let mut known = entry.known();
        match &outcome {
            Ok(document) => {
                known.good = Some(At(now, Arc::clone(document)));
                known.failure = None;
            }
            Err(error) => {
                tracing::warn!(%error, last_good = known.good.is_some(), "could not fetch a provider's document");
                known.failure = Some(At(now, error.clone()));
            }
        }
        outcome
    }

    fn entry(&self, key: &K) -> Arc<Entry<T>> {
        let fresh = || {
            let known = Mutex::new(Known { good: None, failure: None, refetched: None });
            let turn = tokio::sync::Mutex::new(());
            Ok::<_, std::convert::Infallible>(Arc::new(Entry { turn, known }))
        };
        match self.entries.get_or_insert_with(key, fresh) {
            Ok(entry) => entry,
            Err(never) => match never {},
        }
    }
}

impl<T> Entry<T> {
    fn known(&self) -> MutexGuard<'_, Known<T>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Known<T> {
    /// What can be said without asking the provider.
    fn answer(&self, now: Duration) -> Option<Result<Arc<T>, Error>> {
        if let Some(At(at, document)) = &self.good
            && within(FRESH, *at, now)
        {
            return Some(Ok(Arc::clone(document)));
        }
        let failure = self.recent_failure(now)?;
        Some(self.last_good().ok_or(failure))
    }

    /// As `answer`, for somebody to whom `seen` is not enough. `None` grants the refetch.
    fn newer(&mut self, seen: &Arc<T>, now: Duration) -> Option<Result<Arc<T>, Error>> {
        if let Some(document) = self.last_good()
            && !Arc::ptr_eq(&document, seen)
        {
            return Some(Ok(document));
        }
        if let Some(failure) = self.recent_failure(now) {
            return Some(Err(failure));
        }
        if self.refetched.is_some_and(|at| within(REFETCH, at, now)) {
            return Some(Ok(Arc::clone(seen)));
        }
        self.refetched = Some(now);
        None
    }

    fn last_good(&self) -> Option<Arc<T>> {
        self.good.as_ref().map(|At(_, document)| Arc::clone(document))
    }

    fn recent_failure(&self, now: Duration) -> Option<Error> {
        let At(at, error) = self.failure.as_ref()?;
        within(FAILURE, *at, now).then(|| error.clone())
    }
}

fn within(span: Duration, at: Duration, now: Duration) -> bool {
    now.saturating_sub(at) < span
}

impl<K, T> fmt::Debug for Cached<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::ManualClock;
    use super::*;
    use crate::error::ErrorKind;

    fn cached(capacity: usize) -> (Arc<ManualClock>, Cached<u32, u32>) {
        let clock = ManualClock::new();
        let cached = Cached::new(Arc::clone(&clock) as Arc<dyn Clock>, capacity);
        (clock, cached)
    }

    async fn fail() -> Result<u32, Error> {
        Err(Error::new(ErrorKind::ProviderUnavailable, "down"))
    }

    #[tokio::test]
    async fn the_number_of_documents_is_bounded() {
        let (_, cached) = cached(100);
        for key in 0..10_000 {
            let document = cached.get(&key, || async move { Ok(key) }).await.expect("fetched");
            assert_eq!(*document, key);
        }
        // The capacity is kept per shard, and rounded up there.
        assert!(cached.entries.len() <= 200, "{}", cached.entries.len());
    }

    #[tokio::test]
    async fn a_failed_fetch_is_repeated_after_half_a_minute() {
        let (clock, cached) = cached(10);
        cached.get(&1, || async { Ok(1) }).await.expect("fetched");
        clock.advance(FRESH);
        assert_eq!(*cached.get(&1, fail).await.expect("the last good one"), 1);
        clock.advance(FAILURE - Duration::from_millis(1));
        assert_eq!(*cached.get(&1, || async { Ok(2) }).await.expect("the last good one"), 1);
        clock.advance(Duration::from_millis(1));
        assert_eq!(*cached.get(&1, || async { Ok(2) }).await.expect("fetched"), 2);
    }

    #[tokio::test]
    async fn a_failed_refetch_is_an_error_and_leaves_the_document() {
        let (_, cached) = cached(10);
        let seen = cached.get(&1, || async { Ok(1) }).await.expect("fetched");
        cached.refetch(&1, &seen, fail).await.expect_err("down");
        assert_eq!(*cached.get(&1, fail).await.expect("still fresh"), 1);
    }
}
