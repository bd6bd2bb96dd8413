//! The vault's reference storage backend: everything in this process's memory.
//!
//! ```
//! use vault_core::id::{ConnectorId, Owner, TenantId};
//! use vault_core::store::{ConnectionFilter, Page, Stores};
//! use vault_memory::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stores = Stores::from_backend(MemoryStore::new());
//!
//! let everything_of_gmail = ConnectionFilter {
//!     tenant: TenantId::default(),
//!     owner: None::<Owner>,
//!     connector: Some(ConnectorId::new("gmail")?),
//! };
//! let listed = stores.connections.list(&everything_of_gmail, &Page::first(50)).await?;
//! assert!(listed.items.is_empty() && listed.next.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! [`MemoryStore`] is for tests, examples and the first afternoon. It is also the yardstick: where the traits' words
//! leave a question, the answer is what this backend does, and the conformance suite of `vault-testkit` holds every
//! other backend to it.
//!
//! # Guarantees
//! - Every method is one critical section: atomic, and done at its first poll, so dropping a future changes nothing.
//! - Leases run on a monotonic clock and do not notice when the wall clock jumps. [`MemoryStore::with_clock`] lets a
//!   test drive it.
//! - Clones share one store.
//! - It is a [`ConnectionWatch`](vault_core::store::ConnectionWatch): several vaults on one store hear of each other's
//!   changes.
//!
//! # What it does not do
//! - Survive the process: when the last clone is dropped, the tokens are gone.
//! - Serve a second process: leases protect the tasks of this one only.
//! - Scale: flows are counted, cancelled and purged by a look at each, and one mutex guards each kind.
//!
//! # Features
//! None.

mod connections;
mod connectors;
mod flows;
mod keys;
mod owed;
mod table;
mod watch;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use vault_core::clock::{Clock, SystemClock, Timestamp};
use vault_core::store::Change;

use self::connections::Connections;
use self::connectors::Connectors;
use self::flows::Flows;
use self::keys::Keys;

/// All four stores in memory. Clones share one store.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    /// What the monotonic clock must be counted from to look like the time of day.
    epoch: Timestamp,
    connectors: Mutex<Connectors>,
    connections: Mutex<Connections>,
    flows: Mutex<Flows>,
    keys: Mutex<Keys>,
    /// Says which connections change.
    changes: broadcast::Sender<Change>,
}

impl MemoryStore {
    /// An empty store whose leases run on the system's monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// An empty store whose leases run on `clock`'s monotonic time. [`Lease::granted_at`](vault_core::store::Lease) is
    /// that time too, counted from the wall clock's reading of now.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let epoch = Timestamp::from(clock.now()).saturating_sub(clock.monotonic());
        Self {
            shared: Arc::new(Shared {
                clock,
                epoch,
                connectors: Mutex::default(),
                connections: Mutex::default(),
                flows: Mutex::default(),
                keys: Mutex::default(),
                changes: broadcast::Sender::new(watch::BACKLOG),
            }),
        }
    }

    /// The store's own clock, which leases run on.
    fn time(&self) -> Timestamp {
        self.shared.epoch.saturating_add(self.shared.clock.monotonic())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

/// No critical section panics half way, so a poisoned table is still whole.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
