mod engine;
mod error;
mod hosts;
mod literal;
mod options;
mod read;
mod schema;
mod watch;

pub use self::engine::Postgres;
pub use self::options::PostgresOptions;
use crate::SqlStore;
use sqlx::PgPool;
use vault_core::store::StoreError;

/// All four stores in one PostgreSQL database. Clones share its connections.
///
/// # Connections
/// Reads of credentials have a few connections of their own ([`PostgresOptions::read_connections`]), and each
/// [`watch`](vault_core::store::ConnectionWatch::watch) has one; all else takes connections of the pool. Reads that come
/// while all of theirs are in use are answered together, by one statement. One that finds its connection closed by the
/// server (after a restart, say) is made again on a new one.
///
/// # Time
/// Leases run on the server's clock (`clock_timestamp()`), which all processes share, whatever theirs say.
///
/// # Transactions
/// Each operation is one statement, and so its own transaction, at whatever `default_transaction_isolation` says. What
/// fails for another transaction's sake (serialization failure, deadlock) is tried again here, a bounded number of times.
///
/// # Errors
/// By `SQLSTATE`. A statement that `statement_timeout` or `lock_timeout` ended wrote nothing and is
/// [`Busy`](vault_core::store::StoreErrorKind::Busy); a server that is down, starting or stopping, or that does not
/// answer in time, and a connection that broke, are [`Unavailable`](vault_core::store::StoreErrorKind::Unavailable); a
/// write on a standby is [`ReadOnly`](vault_core::store::StoreErrorKind::ReadOnly). All three are worth another try later.
pub type PostgresStore = SqlStore<Postgres>;

impl PostgresStore {
    /// On the host's own pool, with tables named `vault_*` in the schema that the pool's `search_path` names first.
    ///
    /// Call [`migrate`](Self::migrate) once before use, or apply the files of `schema/postgres`. For other names, and for
    /// a pooler in between, see [`PostgresOptions`].
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        PostgresOptions::new().on(pool)
    }

    /// Connects to `postgres://user@host:port/database`, or to the primary of several servers,
    /// `postgres://user@host:port,host:port/database`, and brings the schema up to date. As
    /// [`PostgresOptions::connect`] with nothing changed.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        PostgresOptions::new().connect(url).await
    }

    /// Closes all connections, waiting for those in use. Later calls fail as
    /// [`Unavailable`](vault_core::store::StoreErrorKind::Unavailable).
    pub async fn close(&self) {
        self.engine.hosts.close().await;
        if let Some(listened) = &self.engine.listened {
            listened.close().await;
        }
        if let Some(reader) = &self.engine.reader {
            reader.close().await;
        }
    }
}
