//! Reads of credentials, on a few connections of their own.
//!
//! A connection is in nobody's hands, or one caller or task *leads* it. A caller who finds a free one leads it and asks for
//! itself, on the spot. One who finds none queues. Who leaves a connection looks at the queue: if somebody waits, a task
//! takes the connection over, asks for all who wait in one statement, and does so again until nobody waits. Nobody waits
//! while a connection is free, and nothing waits for a clock.
//!
//! Only a task asks for others, and a task is not dropped half way. A caller who is dropped while it asks leaves an answer
//! in the connection that nobody wants: a task takes it out before anybody else uses the connection.

mod lead;
mod queue;
mod select;

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;
use vault_core::store::{Bytes, StoreError, StoreErrorKind};

use self::lead::Lead;
use self::queue::{Open, Queue, Turn};
use self::select::Select;
use super::PostgresOptions;
use super::error::fault;
use super::hosts::{Hosts, opener};
use crate::engine::Dialect;

/// What names a connection of the vault: its key's digest.
type Id = [u8; 32];
/// What is there under an id.
type Found = (Id, Result<Bytes, StoreError>);
type Answer = Result<Option<Bytes>, StoreError>;

const DOING: &str = "reading a credential";
/// How long the end of a connection may take.
const PARTING: Duration = Duration::from_secs(1);

/// Reads credentials. Clones share its connections.
#[derive(Debug, Clone)]
pub(super) struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    hosts: Hosts,
    /// One for each host: they open connections as the host's pools do, and hold none.
    openers: Vec<PgPool>,
    select: Select,
    response_timeout: Duration,
    queue: Queue,
    /// A connection came back after the end.
    returned: Notify,
}

impl Reader {
    /// `None` when the host wants no such connections.
    pub(super) fn new(hosts: &Hosts, options: &PostgresOptions, dialect: &Dialect) -> Option<Self> {
        let connections = NonZero::new(options.read_connections)?.get();
        Some(Self(Arc::new(Shared {
            hosts: hosts.clone(),
            openers: hosts.pools().iter().map(|pool| opener(pool, connections)).collect(),
            select: Select::new(options.mode, dialect),
            response_timeout: options.response_timeout,
            queue: Queue::new(usize::try_from(connections).unwrap_or(usize::MAX)),
            returned: Notify::new(),
        })))
    }

    pub(super) async fn read(&self, id: Id) -> Answer {
        if self.0.hosts.is_closed() {
            // The host may have closed its own pool, and these with it.
            drop(self.0.queue.clear());
            return Err(fault(DOING)(sqlx::Error::PoolClosed));
        }
        let runtime = Handle::current();
        match self.0.queue.turn(id, &runtime) {
            Turn::Now(open) => {
                let mut found = Lead::by_caller(&self.0, open, runtime).ask(&[id]).await?;
                found.pop().map(|(_, credential)| credential).transpose()
            }
            Turn::Later { answer, unopened } => {
                if unopened {
                    runtime.spawn(Lead::by_task(&self.0).serve());
                }
                let unavailable = |message| Err(StoreError::new(StoreErrorKind::Unavailable, message));
                match timeout(self.0.patience(), answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => unavailable("whoever was reading is gone"),
                    Err(_) => unavailable("nobody read it in time"),
                }
            }
        }
    }

    /// Closes the connections, waiting for those in use, after the pools of the hosts were closed.
    pub(super) async fn close(&self) {
        for opener in &self.0.openers {
            opener.close().await;
        }
        loop {
            let returned = self.0.returned.notified();
            let (free, all_are_here) = self.0.queue.clear();
            for open in free {
                // It is closed in any case; the server may not hear of it.
                let _ = timeout(PARTING, open.connection.close()).await;
            }
            if all_are_here {
                return;
            }
            returned.await;
        }
    }
}

impl Shared {
    /// How long to queue: enough to open a connection, for the statement under way and one's own, each made twice.
    fn patience(&self) -> Duration {
        let opening = self.hosts.pools().iter().map(|pool| pool.options().get_acquire_timeout()).max();
        opening.unwrap_or_default().saturating_add(self.response_timeout.saturating_mul(4))
    }

    /// A connection to the primary: the one that is there, or a new one in its place.
    async fn opened<'a>(&self, open: &'a mut Option<Open>) -> Result<&'a mut Open, StoreError> {
        let host = self.hosts.primary_index().await?;
        let options = self.hosts.pools()[host].options();
        match open.take().filter(|open| open.host == host && !open.is_old(options)) {
            Some(there) => Ok(open.insert(there)),
            None => {
                // Boxed, so that what reads do is not as large as what connecting takes.
                let connection = Box::pin(self.connect(host)).await.map_err(fault(DOING));
                self.hosts.observe(connection.as_ref().err());
                Ok(open.insert(Open::new(connection?, host)))
            }
        }
    }

    async fn connect(&self, host: usize) -> sqlx::Result<PgConnection> {
        let (pool, opener) = (&self.hosts.pools()[host], &self.openers[host]);
        // The host may have changed the password.
        opener.set_connect_options(self.select.connect_options(pool));
        opener.acquire().await.map(PoolConnection::detach)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine as _, Statement};
    use crate::postgres::Postgres;

    /// Of a server that takes connections and never says a word.
    fn reader() -> (std::net::TcpListener, Reader) {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("postgres://me@{}/db", socket.local_addr().expect("bound"));
        let options = sqlx::postgres::PgPoolOptions::new().acquire_timeout(Duration::from_millis(100));
        let hosts = Hosts::one(options.connect_lazy(&url).expect("a URL"));
        let reader = Reader::new(&hosts, &PostgresOptions::new(), &Postgres::dialect(None, "vault_"));
        (socket, reader.expect("it has connections"))
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_without_end_for_others_who_read() {
        let (_socket, reader) = reader();
        let _leads = [1, 2].map(|n| reader.0.queue.turn([n; 32], &Handle::current()));
        let error = reader.read([3; 32]).await.expect_err("nobody leads the connections");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_read_outside_of_any_runtime_takes_no_connection_along() {
        let (_socket, reader) = reader();
        let other = reader.clone();
        let polled = std::thread::spawn(move || {
            let mut read = std::pin::pin!(other.read([1; 32]));
            read.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
        });
        polled.join().expect_err("there is no runtime to wait on");
        timeout(Duration::from_secs(30), reader.close()).await.expect("nobody has a connection");
    }

    /// Each read's future is moved once, whole.
    #[tokio::test]
    async fn a_read_is_quick_to_move() {
        let store =
            PostgresOptions::new().on(PgPool::connect_lazy("postgres://me@127.0.0.1/db").expect("a URL"));
        let statement = Statement { doing: DOING, sql: "".into() };
        let size = size_of_val(&store.engine.credential(&statement, &[0; 32]));
        assert!(size <= 1_200, "{size} bytes");
    }

    #[tokio::test]
    async fn closing_waits_for_no_connection_that_is_not_opened_after_all() {
        let (_socket, reader) = reader();
        let reading = tokio::spawn({
            let reader = reader.clone();
            async move { reader.read([1; 32]).await }
        });
        tokio::task::yield_now().await;
        timeout(Duration::from_secs(30), reader.close()).await.expect("in time");
        let error = reading.await.expect("no panic").expect_err("nobody answers");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }
}
