use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;

use vault_core::store::Stores;

/// A backend under test: a handle, how to get another one, and what must live as long as they do.
///
/// ```
/// # use vault_core::store::Stores;
/// # use vault_memory::MemoryStore;
/// use vault_testkit::conformance::Fixture;
///
/// # async fn open(url: &str) -> Stores { Stores::from_backend(MemoryStore::new()) }
/// async fn my_store() -> Fixture {
///     let url = "my://server";
///     Fixture::new(open(url).await).reopen(move || open(url))
/// }
/// ```
#[non_exhaustive]
pub struct Fixture {
    /// The backend.
    pub stores: Stores,
    open: Open,
    alone: bool,
    /// Behind a lock only to be `Sync`.
    guard: Mutex<Box<dyn Any + Send>>,
}

type Open = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Stores> + Send>> + Send + Sync>;

impl Fixture {
    /// A backend that lives in this process alone: another handle is a clone, and so is what a restart comes back
    /// with. For all others say more with [`reopen`](Self::reopen).
    #[must_use]
    pub fn new(stores: Stores) -> Self {
        let same = stores.clone();
        let open: Open = Box::new(move || Box::pin(std::future::ready(same.clone())));
        Self { stores, open, alone: false, guard: Mutex::new(Box::new(())) }
    }

    /// How another process would open the same data, be it beside this one or after it ended. The first handle is
    /// dropped, not closed, before a restart.
    #[must_use]
    pub fn reopen<F>(mut self, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Stores> + Send + 'static,
    {
        self.open = Box::new(move || Box::pin(open()));
        self.alone = false;
        self
    }

    /// As [`reopen`](Self::reopen), for data that one process has to itself: `open` is called only when every other
    /// handle is gone, and two handles at once are clones.
    #[must_use]
    pub fn reopen_alone<F>(mut self, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Stores> + Send + 'static,
    {
        self = self.reopen(open);
        self.alone = true;
        self
    }

    /// Keeps `guard`, such as a temporary folder, until the test is over.
    #[must_use]
    pub fn keep(mut self, guard: impl Any + Send) -> Self {
        self.guard = Mutex::new(Box::new((self.guard, guard)));
        self
    }

    /// Another handle on the same data.
    pub(super) async fn another(&self) -> Stores {
        if self.alone { self.stores.clone() } else { (self.open)().await }
    }

    /// The same data after the process ended and was started again.
    pub(super) async fn restart(self) -> Self {
        let Self { stores, open, alone, guard } = self;
        drop(stores);
        Self { stores: open().await, open, alone, guard }
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stores.fmt(f)
    }
}

impl From<Stores> for Fixture {
    fn from(stores: Stores) -> Self {
        Self::new(stores)
    }
}

impl<G: Any + Send> From<(Stores, G)> for Fixture {
    fn from((stores, guard): (Stores, G)) -> Self {
        Self::new(stores).keep(guard)
    }
}
