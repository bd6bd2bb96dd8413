use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool};
use std::time::Duration;
use vault_core::store::{StoreError, StoreErrorKind};

use super::engine::{Mode, Postgres};
use super::hosts::Hosts;
use super::{PostgresStore, hosts};
use crate::SqlStore;

/// PostgreSQL allows 63 bytes for a name; the longest of ours takes 30 beside the prefix.
const LONGEST_NAME: usize = 32;
/// How long a call of [`PostgresOptions::connect`]'s pools waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// How a [`PostgresStore`] names its tables and talks to the server.
///
/// ```no_run
/// # async fn example(pool: sqlx::PgPool) -> Result<(), vault_core::store::StoreError> {
/// use vault_sqlx::PostgresOptions;
///
/// let store = PostgresOptions::new().schema("auth")?.prefix("tokens_")?.on(pool);
/// store.migrate().await?; // auth.tokens_connections, ...
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct PostgresOptions {
    pub(super) schema: Option<String>,
    pub(super) prefix: String,
    pub(super) mode: Mode,
    pub(super) response_timeout: Duration,
    pub(super) read_connections: u32,
    direct: Vec<PgConnectOptions>,
    pool: PgPoolOptions,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl PostgresOptions {
    /// Tables named `vault_*`, where the `search_path` leads; prepared statements; a pool of sqlx's default size.
    pub fn new() -> Self {
        Self {
            schema: None,
            prefix: "vault_".to_owned(),
            mode: Mode::Prepared,
            response_timeout: Duration::from_secs(10),
            read_connections: 2,
            direct: Vec::new(),
            pool: PgPoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT),
        }
    }

    /// Tables in this schema, which [`migrate`](PostgresStore::migrate) creates when it is not there.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] for anything but up to 32 lower case letters, digits and underscores, a letter or
    /// underscore first.
    pub fn schema(mut self, name: &str) -> Result<Self, StoreError> {
        self.schema =
            Some(plain_name(name, "the name of the schema is not plain: lower case letters, digits, _")?);
        Ok(self)
    }

    /// Another prefix than `vault_` for the names of tables and indexes.
    ///
    /// # Errors
    /// As [`schema`](Self::schema).
    pub fn prefix(mut self, prefix: &str) -> Result<Self, StoreError> {
        self.prefix =
            plain_name(prefix, "the prefix of the tables is not plain: lower case letters, digits, _")?;
        Ok(self)
    }

    /// For a pooler between us and the server that gives each transaction another connection, such as PgBouncer with
    /// `pool_mode = transaction`.
    ///
    /// A prepared statement belongs to a connection, so behind such a pooler it is missing, or is somebody else's. With
    /// this, each operation is one message with its values inside, as hexadecimal digits. It costs the server parsing and
    /// planning each time, and the driver would log slow statements with their values (identifiers and sealed bytes):
    /// [`connect`](Self::connect) turns that off, a host's own pool should (`disable_statement_logging`). PgBouncer needs
    /// `ignore_startup_parameters = extra_float_digits`.
    pub const fn transaction_pooler(mut self) -> Self {
        self.mode = Mode::Simple;
        self
    }

    /// Where the server, or several of them, can be reached past the pooler, to [`watch`](vault_core::store::ConnectionWatch::watch): a pooler
    /// does not pass notifications on. The URL is as for [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] for a URL that is none.
    pub fn direct_url(mut self, url: &str) -> Result<Self, StoreError> {
        self.direct = hosts::parse(url)?;
        Ok(self)
    }

    /// How long to wait for the answer to a statement, once there is a connection for it; 10 s when not set.
    ///
    /// A server that hangs, or that a cut network keeps away, ends no connection. Past this time the call fails as
    /// [`StoreErrorKind::Unavailable`], and whether a write happens is unknown. A `statement_timeout` below it ends a
    /// statement that waits for a lock for certain.
    pub const fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// How many connections of its own the store reads credentials on; 2 when not set.
    ///
    /// They are opened as they are needed, as the pool opens its own (address, settings, hooks, timeouts), and come on top
    /// of those. One that is older, or was idle longer, than the pool allows is replaced when it is needed next. Reads that
    /// are made while all of them are in use wait, and are then answered together, by one statement on one connection, so
    /// many at once take few round trips. With 0 each read takes a connection of the pool, like all else.
    pub const fn read_connections(mut self, connections: u32) -> Self {
        self.read_connections = connections;
        self
    }

    /// For [`connect`](Self::connect): size, timeouts and hooks of the pool that it makes for each server.
    ///
    /// sqlx asks a connection whether it is alive before each use, a round trip more, unless `test_before_acquire(false)`.
    /// Then a call whose connection was closed meanwhile fails as [`StoreErrorKind::Unavailable`]. Token reads do without
    /// either way.
    pub fn pool(mut self, options: PgPoolOptions) -> Self {
        self.pool = options;
        self
    }

    /// A store on the host's pool.
    #[must_use]
    pub fn on(self, pool: PgPool) -> PostgresStore {
        self.over(Hosts::one(pool))
    }

    /// Connects, and brings the schema up to date.
    ///
    /// The URL is one of sqlx's, and may name several servers, as libpq allows:
    /// `postgres://user@first:5432,second:5432/database`. Then the one that takes writes is used, and looked for again
    /// after a call failed because it was gone or had become a standby. The call that failed says so; the next one finds
    /// the new primary.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] for a URL that is none; [`StoreErrorKind::Unavailable`] or
    /// [`StoreErrorKind::ReadOnly`] when no server takes writes; else as [`migrate`](PostgresStore::migrate).
    ///
    /// # Cancel safety
    /// Dropped, it leaves the schema up to date or as it was.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, StoreError> {
        let hosts = hosts::parse(url)?.into_iter().map(|host| match self.mode {
            Mode::Prepared => host,
            // The driver logs slow statements, and these have values inside.
            Mode::Simple => host.disable_statement_logging(),
        });
        let pools = hosts.map(|host| self.pool.clone().connect_lazy_with(host));
        let store = self.clone().over(Hosts::several(pools.collect()));
        store.migrate().await?;
        Ok(store)
    }

    fn over(self, hosts: Hosts) -> PostgresStore {
        let dialect = Postgres::dialect(self.schema.as_deref(), &self.prefix);
        let listened = self.listened(&hosts);
        SqlStore::over(Postgres::new(hosts, listened, self, &dialect), &dialect)
    }

    /// The servers that can be listened to.
    fn listened(&self, hosts: &Hosts) -> Option<Hosts> {
        if self.direct.is_empty() {
            return (self.mode == Mode::Prepared).then(|| hosts.clone());
        }
        let lazy = |options: &PgConnectOptions| {
            let pool = self.pool.clone().min_connections(0).max_connections(1);
            pool.idle_timeout(None).max_lifetime(None).connect_lazy_with(options.clone())
        };
        Some(Hosts::several(self.direct.iter().map(lazy).collect()))
    }
}

/// Names that mean the same with quotes and without, and have no quote inside.
fn plain_name(name: &str, refusal: &'static str) -> Result<String, StoreError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match name.as_bytes() {
        [b'a'..=b'z' | b'_', rest @ ..]
            if rest.len() < LONGEST_NAME && rest.iter().all(|byte| is_plain(*byte)) =>
        {
            Ok(name.to_owned())
        }
        _ => Err(StoreError::new(StoreErrorKind::Misconfigured, refusal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["vault_", "_", "a1", "abcdefghijklmnopqrstuvwxyz012345"] {
            assert!(PostgresOptions::new().prefix(name).is_ok(), "{name}");
        }
        for name in ["", "1a", "Vault_", "a b", "a\"b", "a;--", "é", "abcdefghijklmnopqrstuvwxyz0123456"] {
            let error = PostgresOptions::new().schema(name).expect_err(name);
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
        }
    }
}
