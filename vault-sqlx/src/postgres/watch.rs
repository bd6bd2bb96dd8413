//! Changes that other processes make, by `LISTEN`.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgListener;
use sqlx::{Acquire as _, AssertSqlSafe, PgConnection, Row as _};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use vault_core::store::{Change, Changes, ConnectionWatch, StoreError, StoreErrorKind};

use super::error::fault;
use super::hosts::{Hosts, opener};
use super::{Postgres, PostgresStore};

/// How long to listen before the server is asked for a sign of life.
const SILENCE: Duration = Duration::from_secs(4);
/// How long it may take to give one. Together with [`SILENCE`] less than the ten seconds that the contract allows.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long writes may be held up until the triggers are on.
const LOCK_TIMEOUT: &str = "1s";

const LISTENING: &str = "listening for changes";
const TRIGGERS: [&str; 3] = ["connections_changed", "connections_gone", "connections_emptied"];

#[async_trait]
impl ConnectionWatch for PostgresStore {
    /// On a connection of its own, beside those of the pool and those that credentials are read on. The first call, in any
    /// process, does what [`enable_notifications`](PostgresStore::enable_notifications) does.
    ///
    /// What changes must be asked for again and again while it is listened to: the server keeps what nobody takes.
    async fn watch(&self) -> Result<Box<dyn Changes>, StoreError> {
        let Some(hosts) = &self.engine.listened else {
            let message =
                "LISTEN does not work through a transaction pooler: PostgresOptions::direct_url is needed";
            return Err(StoreError::new(StoreErrorKind::Misconfigured, message));
        };
        let host = hosts.primary_index().await?;
        let listening = timeout(self.engine.options.response_timeout, self.listen(hosts, host)).await;
        let listening = listening.unwrap_or_else(|_| Err(timed_out()));
        let listening = listening.map_err(fault(LISTENING));
        hosts.observe(listening.as_ref().err());
        Ok(Box::new(listening?))
    }
}

impl PostgresStore {
    /// Lets the server tell all who [`watch`](ConnectionWatch::watch) of every changed credential. It needs to be done
    /// once, and by the owner of the tables: where the user of a process that watches is another, by whoever migrates.
    ///
    /// The price: while it is on, transactions that change a credential commit one after another (PostgreSQL orders
    /// notifications in the whole cluster). `ALTER TABLE vault_connections DISABLE TRIGGER USER` turns it off: then whoever
    /// watches loses its channel within ten seconds. Whoever watches again, and may, turns it on again.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] when the user is not the owner, or the schema is not up to date;
    /// [`StoreErrorKind::Busy`] when transactions that write have not ended within a second.
    ///
    /// # Cancel safety
    /// Dropped, it has done everything or nothing.
    pub async fn enable_notifications(&self) -> Result<(), StoreError> {
        let pool = self.engine.hosts.primary().await?;
        let enabled = async { self.engine.notify(&mut *pool.acquire().await?).await };
        let enabled = enabled.await.map_err(fault("enabling notifications"));
        self.engine.hosts.observe(enabled.as_ref().err());
        enabled
    }

    async fn listen(&self, hosts: &Hosts, host: usize) -> sqlx::Result<Listening> {
        let mut listener = PgListener::connect_with(&opener(&hosts.pools()[host], 1)).await?;
        // It would go on as if nothing had been missed.
        listener.eager_reconnect(false);
        let connection = listener.acquire().await?;
        self.engine.notify(connection).await?;
        let channel = self.engine.channel(connection).await?;
        listener.listen(&channel).await?;
        let (listener, hosts) = (Some(listener), hosts.clone());
        Ok(Listening {
            listener,
            hosts,
            host,
            is_told: format!("SELECT NOT pg_is_in_recovery() AND ({})", self.engine.notifies()),
            runtime: Handle::current(),
            heard_at: Instant::now(),
            asked_at: None,
        })
    }
}

impl Postgres {
    /// Turns the triggers on, if they are not.
    async fn notify(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if !asked(connection, self.notifies()).await? {
            let (table, prefix) = (self.table(), &self.options.prefix);
            let enable = TRIGGERS.map(|name| format!("ENABLE ALWAYS TRIGGER {prefix}{name}")).join(", ");
            // One message, so one transaction. While it waits for the table, so do all who come to write after it.
            let enable = format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; ALTER TABLE {table} {enable}");
            sqlx::raw_sql(AssertSqlSafe(enable)).execute(connection).await?;
        }
        Ok(())
    }

    /// Asks whether the triggers are on.
    fn notifies(&self) -> String {
        let (table, prefix) = (self.table(), &self.options.prefix);
        let names = TRIGGERS.map(|name| format!("'{prefix}{name}'")).join(", ");
        format!(
            "SELECT count(*) = {} FROM pg_trigger
             WHERE tgrelid = '{table}'::regclass AND tgenabled = 'A' AND tgname IN ({names})",
            TRIGGERS.len()
        )
    }

    /// The name that the triggers make up too.
    async fn channel(&self, connection: &mut PgConnection) -> sqlx::Result<String> {
        let table = self.table();
        let channel = format!(
            "SELECT 'connections_'
                 || left(encode(sha256(convert_to(nspname || '.' || relname, 'UTF8')), 'hex'), 40)
             FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
             WHERE pg_class.oid = '{table}'::regclass"
        );
        asked(connection, channel).await
    }

    fn table(&self) -> String {
        Self::dialect(self.options.schema.as_deref(), &self.options.prefix).table("connections")
    }
}

/// The one value that a query made of our own text and plain names answers with. Not prepared: there may be a pooler.
async fn asked<T>(connection: &mut PgConnection, sql: String) -> sqlx::Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await?.try_get(0)
}

/// An open channel.
#[derive(Debug)]
struct Listening {
    /// `None` once it broke.
    listener: Option<PgListener>,
    hosts: Hosts,
    host: usize,
    /// Asks whether the server takes writes and tells of them.
    is_told: String,
    /// The listener takes its leave in a task.
    runtime: Handle,
    heard_at: Instant,
    /// When a sign of life was asked for that has not come yet.
    asked_at: Option<Instant>,
}

#[async_trait]
impl Changes for Listening {
    async fn next(&mut self) -> Result<Change, StoreError> {
        let next = self.change().await.map_err(fault(LISTENING));
        if next.is_err() {
            self.hang_up();
        }
        next
    }
}

impl Listening {
    async fn change(&mut self) -> sqlx::Result<Change> {
        loop {
            let listener = self.listener.as_mut().ok_or_else(lost)?;
            let mut closing = self.hosts.pools()[self.host].close_event();
            let silent_at = self.heard_at + SILENCE;
            if self.asked_at.is_none() && Instant::now() < silent_at {
                match timeout_at(silent_at, closing.do_until(listener.try_recv())).await {
                    Ok(received) => return Ok(change(received??.ok_or_else(lost)?.payload())),
                    Err(_) => continue,
                }
            }
            let asked_at = *self.asked_at.get_or_insert_with(Instant::now);
            let is_told = self.is_told.clone();
            let is_told = async { asked::<bool>(listener.acquire().await?, is_told).await };
            let is_told = timeout_at(asked_at + PATIENCE, is_told).await.map_err(|_| timed_out())??;
            if !is_told || !self.hosts.is_primary(self.host) {
                // Others write elsewhere, or somebody turned the triggers off.
                return Err(lost());
            }
            (self.heard_at, self.asked_at) = (Instant::now(), None);
        }
    }

    fn hang_up(&mut self) {
        let _entered = self.runtime.enter();
        self.listener = None;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hang_up();
    }
}

fn lost() -> sqlx::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the channel of changes broke").into()
}

fn timed_out() -> sqlx::Error {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// What a trigger told: a digest, or nothing in particular.
fn change(payload: &str) -> Change {
    digest(payload).map_or(Change::Any, Change::Connection)
}

fn digest(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let pairs = digits.as_bytes().chunks_exact(2);
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_digest_may_be_anything() {
        let digits = "00ff".repeat(16);
        let Change::Connection(id) = change(&digits) else { panic!("a digest") };
        assert_eq!(id[..4], [0, 255, 0, 255]);
        for payload in ["", "00", &digits[1..], &digits.replace('f', "g"), &"é".repeat(32)] {
            assert_eq!(change(payload), Change::Any, "{payload}");
        }
    }
}
