//! A store that fails when told to.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vault_core::clock::{Clock, SystemClock, Timestamp};
use vault_core::store::{Lease, LeaseAcquire, StoreError, StoreErrorKind, Stores};

mod wrap;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call takes so much longer, then succeeds.
    Delay(Duration),
    /// The call fails and does nothing.
    Fail(StoreErrorKind),
    /// The call never answers and does nothing.
    Hang,
    /// The call takes effect and never answers.
    HangAfter,
    /// The call takes effect, and fails as [`StoreErrorKind::Unavailable`].
    LoseAck,
}

/// Is told of the calls that a [`FaultStore`] makes, in the task that makes them.
pub trait Watch: fmt::Debug + Send + Sync + 'static {
    /// A call is about to be made.
    fn before(&self, method: &'static str);

    /// A call was answered, and nobody has seen the answer yet.
    fn after(&self, method: &'static str);
}

/// Wraps [`Stores`] and counts every call; the calls that a test names go wrong. Clones share counts and faults.
///
/// Methods are named `connectors.get`, `connections.put`, `flows.take`, `keys.list` and so on: field of [`Stores`], dot,
/// method of its trait.
///
/// ```
/// use vault_core::id::TenantId;
/// use vault_core::store::{ConnectorStore, Page, StoreErrorKind, Stores};
/// use vault_testkit::faults::{Fault, FaultStore};
///
/// # async fn example(stores: Stores) -> Result<(), vault_core::store::StoreError> {
/// let faulty = FaultStore::new(stores);
/// let stores = faulty.stores(); // for the vault under test
///
/// // Fail the first call, then the second, and so on, until one run is through before the fault.
/// for n in 1.. {
///     faulty.reset();
///     faulty.on_call(n, Fault::Fail(StoreErrorKind::Unavailable));
///     let outcome = stores.connectors.list(&TenantId::default(), &Page::first(10)).await;
///     if faulty.total_calls() < n {
///         break;
///     }
///     assert!(outcome.is_err());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Stores,
    clock: Arc<dyn Clock>,
    /// Whether that is the store's clock too.
    tells_time: bool,
    watch: Option<Arc<dyn Watch>>,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    total: u64,
    calls: HashMap<&'static str, u64>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Every method, if none.
    method: Option<&'static str>,
    /// Which matching call is the first that goes wrong, counted from 1.
    first: u64,
    /// Whether all after it go wrong too.
    lasting: bool,
    seen: u64,
    fault: Fault,
}

impl FaultStore {
    /// Without faults, until told otherwise. [`Fault::Delay`] waits by the system's clock.
    #[must_use]
    pub fn new(inner: Stores) -> Self {
        let clock = Arc::new(SystemClock::new());
        Self { tells_time: false, ..Self::with_clock(inner, clock) }
    }

    /// Without faults, until told otherwise, in a world whose only clock is `clock`: [`Fault::Delay`] waits by it, and it
    /// is what the store says that its time is. Leases still lapse by the clock of the store inside.
    #[must_use]
    pub fn with_clock(inner: Stores, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, tells_time: true, watch: None, script: Arc::default() }
    }

    /// Tells `watch` of every call from now on.
    #[must_use]
    pub fn watched_by(mut self, watch: impl Watch) -> Self {
        self.watch = Some(Arc::new(watch));
        self
    }

    /// This wrapper as the four stores.
    #[must_use]
    pub fn stores(&self) -> Stores {
        Stores::from_backend(self.clone())
    }

    /// The `nth` call from now goes wrong, whichever method it is. The next call is the first.
    pub fn on_call(&self, nth: u64, fault: Fault) {
        self.add(None, nth, false, fault);
    }

    /// The `nth` call from now of that method goes wrong. The next is the first.
    ///
    /// # Panics
    /// When no method has that name.
    pub fn on_method(&self, method: &'static str, nth: u64, fault: Fault) {
        self.add(Some(method), nth, false, fault);
    }

    /// Every call goes wrong until [`heal`](Self::heal).
    pub fn always(&self, fault: Fault) {
        self.add(None, 1, true, fault);
    }

    /// Every call of that method goes wrong until [`heal`](Self::heal).
    ///
    /// # Panics
    /// When no method has that name.
    pub fn always_on_method(&self, method: &'static str, fault: Fault) {
        self.add(Some(method), 1, true, fault);
    }

    /// Forgets all faults. A call that hangs already hangs on.
    pub fn heal(&self) {
        self.script().rules.clear();
    }

    /// Forgets all faults and counts.
    pub fn reset(&self) {
        *self.script() = Script::default();
    }

    /// How often that method was called since the start or the last [`reset`](Self::reset).
    ///
    /// # Panics
    /// When no method has that name.
    #[must_use]
    pub fn calls(&self, method: &str) -> u64 {
        known(method);
        self.script().calls.get(method).copied().unwrap_or(0)
    }

    /// How many calls there were since the start or the last [`reset`](Self::reset).
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.script().total
    }

    fn add(&self, method: Option<&'static str>, first: u64, lasting: bool, fault: Fault) {
        method.inspect(|method| known(method));
        self.script().rules.push(Rule { method, first, lasting, seen: 0, fault });
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn granted(&self, answer: LeaseAcquire) -> LeaseAcquire {
        match answer {
            LeaseAcquire::Acquired(lease, record) => {
                LeaseAcquire::Acquired(Lease { granted_at: self.time(lease.granted_at), ..lease }, record)
            }
            other => other,
        }
    }

    fn time(&self, said: Timestamp) -> Timestamp {
        if self.tells_time { self.clock.now().into() } else { said }
    }

    /// Makes one call, with what the script has in store for it.
    async fn call<T: Send>(
        &self,
        method: &'static str,
        act: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let fault = self.script().count(method);
        let act = async {
            if let Some(watch) = &self.watch {
                watch.before(method);
            }
            let answer = act.await;
            if let Some(watch) = &self.watch {
                watch.after(method);
            }
            answer
        };
        match fault {
            None => act.await,
            Some(Fault::Delay(span)) => {
                self.clock.sleep(span).await;
                act.await
            }
            Some(Fault::Fail(kind)) => Err(StoreError::new(kind, "injected fault")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::HangAfter) => {
                act.await?;
                std::future::pending().await
            }
            Some(Fault::LoseAck) => {
                act.await?;
                Err(StoreError::new(StoreErrorKind::Unavailable, "injected loss of the acknowledgement"))
            }
        }
    }
}

/// A misspelt name would make a test pass for the wrong reason.
fn known(method: &str) {
    assert!(wrap::METHODS.contains(&method), "no store method {method:?}");
}

impl Script {
    fn count(&mut self, method: &'static str) -> Option<Fault> {
        self.total += 1;
        *self.calls.entry(method).or_default() += 1;
        let mut struck = None;
        for rule in &mut self.rules {
            if rule.method.is_some_and(|only| only != method) {
                continue;
            }
            rule.seen += 1;
            if rule.seen == rule.first || (rule.lasting && rule.seen > rule.first) {
                struck = struck.or(Some(rule.fault));
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use vault_core::id::TenantId;
    use vault_core::store::{Condition, KeyRecord, KeyScope, KeyStore, Put, Version};
    use vault_memory::MemoryStore;

    use super::*;
    use crate::clock::ManualClock;

    fn faulty() -> FaultStore {
        FaultStore::new(Stores::from_backend(MemoryStore::new()))
    }

    async fn put(store: &FaultStore) -> Result<Put, StoreError> {
        let record = KeyRecord {
            scope: KeyScope::Tenant(TenantId::default()),
            version: Version::from_i64(1),
            wrapped: Vec::new(),
        };
        store.keys().put(&record, Condition::Absent).await
    }

    async fn is_there(store: &FaultStore) -> bool {
        let scope = KeyScope::Tenant(TenantId::default());
        store.inner.keys.get(&scope).await.expect("healthy inside").is_some()
    }

    impl FaultStore {
        fn keys(&self) -> &dyn KeyStore {
            self
        }
    }

    #[tokio::test]
    async fn the_named_call_fails_and_only_that() {
        let store = faulty();
        store.on_method("keys.put", 2, Fault::Fail(StoreErrorKind::Busy));
        store.on_method("keys.get", 1, Fault::Fail(StoreErrorKind::Corrupt));
        assert_eq!(put(&store).await.expect("the first works"), Put::Written);
        assert_eq!(put(&store).await.expect_err("the second").kind(), StoreErrorKind::Busy);
        assert!(put(&store).await.is_ok());
        assert_eq!((store.calls("keys.put"), store.calls("keys.get")), (3, 0));
        assert_eq!(store.total_calls(), 3);
    }

    #[tokio::test]
    async fn an_outage_lasts_until_it_is_healed() {
        let store = faulty();
        store.always(Fault::Fail(StoreErrorKind::Unavailable));
        for _ in 0..3 {
            assert!(put(&store).await.is_err());
        }
        assert!(!is_there(&store).await);
        store.heal();
        assert_eq!(put(&store).await.expect("healed"), Put::Written);
    }

    #[tokio::test]
    async fn a_lost_acknowledgement_leaves_the_write() {
        let store = faulty();
        store.on_call(1, Fault::LoseAck);
        let lost = put(&store).await.expect_err("lost");
        assert_eq!(lost.kind(), StoreErrorKind::Unavailable);
        assert!(is_there(&store).await);
    }

    #[tokio::test]
    async fn a_hanging_call_never_answers() {
        for (fault, takes_effect) in [(Fault::Hang, false), (Fault::HangAfter, true)] {
            let store = faulty();
            store.on_call(1, fault);
            tokio::select! {
                biased;
                _ = put(&store) => panic!("{fault:?} answered"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(is_there(&store).await, takes_effect);
        }
    }

    #[tokio::test]
    async fn a_delay_waits_by_the_given_clock() {
        let clock = ManualClock::new();
        let inner = Stores::from_backend(MemoryStore::new());
        let store = FaultStore::with_clock(inner, Arc::new(clock.clone()));
        store.on_call(1, Fault::Delay(Duration::from_secs(5)));
        let (written, ()) = tokio::join!(put(&store), async {
            clock.wait_for_sleepers(1).await;
            assert!(!is_there(&store).await);
            clock.advance(Duration::from_secs(5));
        });
        assert_eq!(written.expect("late, but done"), Put::Written);
    }

    #[tokio::test]
    #[should_panic(expected = "no store method \"connection.put\"")]
    async fn a_misspelt_method_is_refused() {
        faulty().on_method("connection.put", 1, Fault::Hang);
    }
}
