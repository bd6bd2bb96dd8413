mod engine;
mod error;
mod file;
mod schema;
mod seat;

use std::path::{self, Path};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlitePool};
use vault_core::store::{StoreError, StoreErrorKind};

pub use self::engine::Sqlite;
use self::error::fault;
use self::seat::Seat;
use crate::SqlStore;

/// All four stores in one SQLite database. Clones share its connections.
///
/// Writes go through one connection, where they queue in order instead of polling for SQLite's lock; reads go through
/// others and wait for nobody, token reads through one that they have at hand.
///
/// # Time
/// Leases run on the machine's wall clock, as SQLite reads it: the one clock that all processes on a machine share. If
/// somebody sets it, leases end by so much early or late; fences are not affected.
pub type SqliteStore = SqlStore<Sqlite>;

/// How long to wait for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS: u32 = 4;

impl SqliteStore {
    /// Opens the database file, creating it (mode 0600) if it is not there, and brings its schema up to date.
    ///
    /// The database is in WAL mode with `synchronous=FULL`: a write that returned survives a crash and a power cut, as
    /// far as the disk keeps its word.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] when others than its owner can open the file, when the path cannot be used, or
    /// when the file system does not support WAL; the source names the path. Else as [`migrate`](Self::migrate).
    pub async fn open(path: impl AsRef<Path> + Send) -> Result<Self, StoreError> {
        // Absolute, so that no name (":memory:", "file:...") means anything else to SQLite.
        let path = path::absolute(path).map_err(|error| {
            StoreError::new(StoreErrorKind::Misconfigured, "the path of the database").with_source(error)
        })?;
        file::prepare(&path)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full);
        let writer = pool(1).connect_lazy_with(options.clone());
        let readers = pool(READERS).connect_lazy_with(options);
        let store = Self::over(Sqlite::new(readers, Seat::vacant(), writer), &Sqlite::dialect());
        store.enable_wal().await?;
        store.migrate().await?;
        Ok(store)
    }

    /// On the host's own pool. Call [`migrate`](Self::migrate) once before use, or apply the files of `schema/sqlite`.
    ///
    /// The pool should have a busy timeout, and its database be in WAL mode with `synchronous=FULL`. The database should
    /// be a file: one in memory ends with its connection, and a pool may close that whenever a future is dropped.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self::over(Sqlite::new(pool.clone(), Seat::closed(), pool), &Sqlite::dialect())
    }

    /// Closes all connections, waiting for those in use; only a token read under way on the one that is kept for these
    /// closes it by itself when it ends. Later calls fail as [`StoreErrorKind::Unavailable`].
    pub async fn close(&self) {
        if let Some(connection) = self.engine.seat.close() {
            // It is gone in any case, and has nothing to write.
            let _ = connection.close().await;
        }
        self.engine.readers.close().await;
        self.engine.writer.close().await;
    }

    /// Changing to WAL takes an exclusive lock, for which SQLite does not wait by itself.
    async fn enable_wal(&self) -> Result<(), StoreError> {
        let deadline = Instant::now() + BUSY_TIMEOUT;
        loop {
            let mode = sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL")
                .fetch_one(&self.engine.writer)
                .await
                .map_err(fault("enabling the write-ahead log"));
            match mode {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(_) => {
                    let message = "the file system does not support a write-ahead log";
                    return Err(StoreError::new(StoreErrorKind::Misconfigured, message));
                }
                Err(error) if error.kind() == StoreErrorKind::Busy && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// No ping before use: the file does not go away. No idle or lifetime limit either: caches would be lost.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}
