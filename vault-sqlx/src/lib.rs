//! The vault's storage in a SQL database: [`SqliteStore`] and [`PostgresStore`].
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
//! Or in the host's PostgreSQL, on the host's pool:
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example(pool: vault_sqlx::sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! use vault_core::store::Stores;
//! use vault_sqlx::PostgresStore;
//!
//! let store = PostgresStore::new(pool);
//! store.migrate().await?; // or apply the files of schema/postgres
//! let stores = Stores::from_backend(store);
//! # Ok(())
//! # }
//! ```
//!
//! [`SqliteStore`] is for one machine: one process or several of them, on one file. [`PostgresStore`] is for any number of
//! machines. Both take the host's own pool, for which [`sqlx`] is re-exported.
//!
//! # Guarantees
//! - Every operation is one statement (PostgreSQL) or one `BEGIN IMMEDIATE` transaction (SQLite): a crash, a full disk, a
//!   broken connection or a dropped future leaves it whole or undone.
//! - A write that returned is on the disk: SQLite in WAL mode with `synchronous=FULL`, PostgreSQL as its
//!   `synchronous_commit` says (`on` unless somebody changed it).
//! - The file that [`SqliteStore::open`] makes has mode 0600, and so have SQLite's `-wal` and `-shm` beside it. A file
//!   that others can open is refused.
//! - Identifiers are parameters of statements, or hexadecimal digits behind a pooler, and are compared byte for byte,
//!   whatever the database's collation; no text of the host's is ever part of SQL.
//! - The tables are named `vault_*` and have a ledger of their own, `vault_schema`. The plain `.sql` files are in
//!   `schema/`, for hosts who migrate themselves. A schema from a newer version is refused and left as it is.
//!
//! # PostgreSQL in awkward places
//! - **Behind PgBouncer in transaction mode** say so: [`PostgresOptions::transaction_pooler`]. To be told of changes there,
//!   give [`PostgresOptions::direct_url`].
//! - **With few connections to spare**: a process has two more than its pool, for reads
//!   ([`PostgresOptions::read_connections`]), and one more for each watch.
//! - **After a failover.** [`PostgresStore::connect`] takes a URL with several servers, finds the one that takes writes, and
//!   looks again when a call failed because it is gone. Streaming replication is asynchronous unless
//!   `synchronous_standby_names` is set: the last moments before a failover may be lost, acknowledged or not. For a provider
//!   that rotates refresh tokens and revokes the grant when an old one is used, such a loss can end a connection.
//! - **On a read-only standby** reads work and writes are [`ReadOnly`](vault_core::store::StoreErrorKind::ReadOnly).
//! - **With `default_transaction_isolation` of another level** nothing changes but the speed under contention.
//!
//! # Changes that other processes make
//! [`PostgresStore`] is a [`ConnectionWatch`](vault_core::store::ConnectionWatch), by `LISTEN` and `NOTIFY`. The triggers that
//! tell are off until somebody watches, or
//! [`PostgresStore::enable_notifications`](PostgresStore#method.enable_notifications) was called: PostgreSQL orders
//! notifications by making their transactions commit one after another, in the whole cluster. Refreshes then commit one per
//! flush of the disk's: 300 a second where 2,300 were committed together (8 clients, `fsync=on`). Leases, and writes that
//! leave the credential as it is, notify nobody.
//!
//! # What it does not do
//! - Share a SQLite file over a network file system: WAL needs one machine's memory, and locks there are not to be trusted.
//! - Encrypt. What must not be read is sealed before it comes here; identifiers, times and statuses are not.
//! - Wait forever: a lock that another process keeps for five seconds (SQLite), or longer than `statement_timeout`
//!   (PostgreSQL), is [`StoreErrorKind::Busy`](vault_core::store::StoreErrorKind::Busy). A PostgreSQL server that does not
//!   answer within [`PostgresOptions::response_timeout`] is
//!   [`Unavailable`](vault_core::store::StoreErrorKind::Unavailable).
//! - Keep an in-memory database: that ends with its connection, which a pool may close whenever a future is dropped.
//!   There is `vault-memory` for that.
//! - Bring TLS: the host turns on the feature of `sqlx` that it wants.
//!
//! # Features
//! - `sqlite` (default): [`SqliteStore`], with SQLite compiled in.
//! - `postgres`: [`PostgresStore`].
//!
//! # Versions
//! SQLite 3.42 or later (`unixepoch` with `subsec`); the one compiled in is. PostgreSQL 13 or later; tested on 15.

#![cfg_attr(
    any(feature = "postgres", feature = "sqlite"),
    expect(
        unnameable_types,
        unreachable_pub,
        reason = "the engines are sealed: public for `SqlStore` alone"
    )
)]

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
