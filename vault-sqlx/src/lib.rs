//! The vault's storage in a SQL database.
//!
//! ```
//! use vault_core::id::{ConnectorId, Owner, TenantId, UserId};
//! use vault_core::store::{ConnectionFilter, Page, Stores};
//! use vault_sqlx::SqliteStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! // Creates the file for this user alone, or opens it and brings its schema up to date.
//! let store = SqliteStore::open("vault.db").await?;
//! let stores = Stores::from_backend(store.clone());
//!
//! let connections_of_alice = ConnectionFilter {
//!     tenant: TenantId::default(),
//!     owner: Some(Owner::User(UserId::new("alice")?)),
//!     connector: None::<ConnectorId>,
//! };
//! let listed = stores.connections.list(&connections_of_alice, &Page::first(50)).await?;
//! assert!(listed.items.is_empty());
//!
//! store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`SqliteStore`] is for one machine: one process or several of them, on one file. To run on a pool of the host's, give
//! it to [`SqliteStore::new`], and call [`SqliteStore::migrate`] once; [`sqlx`] is re-exported for that.
//!
//! # Guarantees
//! - Every write is one statement or one `BEGIN IMMEDIATE` transaction: a crash, a full disk or a dropped future leaves
//!   it whole or undone.
//! - A write that returned is on the disk: WAL mode, `synchronous=FULL`.
//! - The file that [`SqliteStore::open`] makes has mode 0600, and so have SQLite's `-wal` and `-shm` beside it. A file
//!   that others can open is refused.
//! - Identifiers are parameters of statements and are compared byte for byte; no text of the host's is ever part of SQL.
//! - The tables are named `vault_*` and have a ledger of their own, `vault_schema`. The plain `.sql` files are in
//!   `schema/`, for hosts who migrate themselves. A schema from a newer version is refused and left as it is.
//!
//! # What it does not do
//! - Share a file over a network file system: WAL needs one machine's memory, and locks there are not to be trusted.
//! - Encrypt the file. What must not be read is sealed before it comes here; identifiers, times and statuses are not.
//! - Wait forever: a lock that another process keeps for five seconds is
//!   [`StoreErrorKind::Busy`](vault_core::store::StoreErrorKind::Busy).
//! - Keep an in-memory database: that ends with its connection, which a pool may close whenever a future is dropped.
//!   There is `vault-memory` for that.
//!
//! # Features
//! - `sqlite` (default): [`SqliteStore`], with SQLite compiled in.
//!
//! # Versions
//! SQLite 3.42 or later (`unixepoch` with `subsec`); the one compiled in is.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod engine;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod fault;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod record;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod store;

pub use sqlx;

#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresOptions, PostgresStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;

/// All four stores in one SQL database: a [`SqliteStore`] or a [`PostgresStore`]. Clones share its connections.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[derive(Debug, Clone)]
pub struct SqlStore<E: engine::Engine> {
    engine: E,
    sql: std::sync::Arc<store::Statements>,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl<E: engine::Engine> SqlStore<E> {
    fn over(engine: E, dialect: &engine::Dialect) -> Self {
        Self { engine, sql: std::sync::Arc::new(store::Statements::new(dialect)) }
    }
}
