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

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::Notify;
use vault_core::store::{Bytes, StoreError, StoreErrorKind};

use self::lead::Lead;
use self::queue::{Open, Queue, Turn};
use self::select::Select;
use super::PostgresOptions;
use super::error::fault;
use super::hosts::{Hosts, opener};
use crate::engine::Dialect;
use crate::record::Fields as _;
use crate::record::connection::credential;

/// What names a connection of the vault: its key's digest.
type Id = [u8; 32];
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
            return Err(fault(DOING)(sqlx::Error::PoolClosed));
        }
        match self.0.queue.turn(id) {
            Turn::Now(open) => {
                let rows = Lead::by_caller(&self.0, open).ask(&[id]).await?;
                rows.first().map(credential).transpose()
            }
            Turn::Later { answer, unopened } => {
                if unopened {
                    tokio::spawn(Lead::by_task(&self.0).serve());
                }
                let gone =
                    |_| Err(StoreError::new(StoreErrorKind::Unavailable, "whoever was reading is gone"));
                answer.await.unwrap_or_else(gone)
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
                let _ = tokio::time::timeout(PARTING, open.connection.close()).await;
            }
            if all_are_here {
                return;
            }
            returned.await;
        }
    }
}

impl Shared {
    /// A connection to the primary: the one that is there, or a new one in its place.
    async fn opened<'a>(&self, open: &'a mut Option<Open>) -> Result<&'a mut Open, StoreError> {
        let host = self.hosts.primary_index().await?;
        match open.take().filter(|open| open.host == host) {
            Some(there) => Ok(open.insert(there)),
            None => {
                let connection = self.connect(host).await.map_err(fault(DOING));
                self.hosts.observe(connection.as_ref().err());
                let patience = Box::pin(tokio::time::sleep(self.response_timeout));
                Ok(open.insert(Open { connection: connection?, host, patience }))
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

fn by_id(rows: &[PgRow]) -> HashMap<Id, Answer> {
    let id = |row: &PgRow| row.bytes("id").ok()?.try_into().ok();
    rows.iter().filter_map(|row| Some((id(row)?, credential(row).map(Some)))).collect()
}
