use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::sentinel::SentinelNodeConnectionInfo;
use redis::{IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use vault_core::store::{StoreError, StoreErrorKind};

use crate::check::{Waived, check, refused};
use crate::error::fault;
use crate::link::{Limits, Link, Wait};
use crate::names::Names;
use crate::{RedisStore, Shared, layout};

const MOST_SHARDS: u16 = 1024;

/// How to connect a [`RedisStore`], and to what: see [`RedisStore::builder`].
#[derive(Clone)]
#[must_use]
pub struct RedisStoreBuilder {
    prefix: String,
    shards: u16,
    limits: Limits,
    waived: Waived,
    master: SentinelNodeConnectionInfo,
    login: RedisConnectionInfo,
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("prefix", &self.prefix)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

impl RedisStoreBuilder {
    pub(crate) fn new() -> Self {
        Self {
            prefix: "vault".to_owned(),
            shards: 64,
            limits: Limits {
                connect: Duration::from_secs(2),
                response: Duration::from_secs(3),
                wait: None,
                read_connections: 4,
            },
            waived: Waived::default(),
            master: SentinelNodeConnectionInfo::default(),
            login: RedisConnectionInfo::default(),
        }
    }

    /// What all keys begin with, so that several stores can be on one server; `vault` when not set. One to 64 bytes
    /// without braces and control characters.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Into how many parts the records are split, 1 to 1024; 64 when not set. A part is never split between the nodes of
    /// a cluster, and it is chosen once: a store that has another number of them is refused.
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = shards;
        self
    }

    /// How long connecting may take, for each step of it; 2 s when not set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect = timeout;
        self
    }

    /// How long to wait for the server's answer to a command; 3 s when not set. A token read may have waited a tenth of a
    /// second before, for others to ask for it too. In a cluster also how long a command is sent again that the servers
    /// refuse to run because a slot moves or a master is being replaced.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.limits.response = timeout;
        self
    }

    /// On how many connections to each server tokens are read; 4 when not set.
    ///
    /// The first is the one that carries all other calls too; the others are opened as they are needed. Reads that are made
    /// while all of them are in use wait, and are then asked for together, in one pipeline, so many at once cost the server
    /// and this process less each. With 0 each read is sent by itself, over the one connection. More than 64 are not used.
    /// Behind Sentinels each of them also keeps a connection to each sentinel.
    pub const fn read_connections(mut self, connections: u8) -> Self {
        self.limits.read_connections = if connections < 64 { connections as usize } else { 64 };
        self
    }

    /// Waits after each write until so many replicas have it, by `WAIT`. A write that they do not have in time fails as
    /// [`Unavailable`](vault_core::store::StoreErrorKind::Unavailable): whether it is kept is unknown.
    ///
    /// Such writes go one after another, over a connection of their own, and each takes the time of a trip to the
    /// replicas. While there are too few of these, each takes `timeout`, so keep it short.
    pub fn wait(mut self, replicas: u32, timeout: Duration) -> Self {
        // Zero would be for ever.
        let timeout = timeout.max(Duration::from_millis(1));
        self.limits.wait = Some(Wait { replicas, timeout });
        self
    }

    /// For [`sentinel`](Self::sentinel): user, password and database of the master that the sentinels name.
    pub fn master_login(mut self, login: RedisConnectionInfo) -> Self {
        self.login = login;
        self
    }

    /// For [`sentinel`](Self::sentinel): how to connect to the master that the sentinels name, such as over TLS.
    pub fn master_connection(mut self, connection: SentinelNodeConnectionInfo) -> Self {
        self.master = connection;
        self
    }

    /// Takes a server that evicts keys when its memory is full. It may drop **any connection without a word**; users
    /// then have to connect again. Fit for tests, and for a store that only flows are kept in.
    pub const fn danger_accept_eviction(mut self) -> Self {
        self.waived.eviction = true;
        self
    }

    /// Takes a server without an append-only file. It may **lose all connections when it restarts**. Fit for tests, and
    /// for a store that only flows are kept in.
    pub const fn danger_accept_no_persistence(mut self) -> Self {
        self.waived.persistence = true;
        self
    }

    /// One server: `redis://`, `unix:`, with the feature `tls` also `rediss://`, or a
    /// [`ConnectionInfo`](redis::ConnectionInfo).
    ///
    /// # Errors
    /// - [`Misconfigured`](vault_core::store::StoreErrorKind::Misconfigured): the settings are not valid, the server
    ///   does not keep what it is given or is a node of a [`cluster`](Self::cluster), or the store in it has another number
    ///   of shards.
    /// - [`SchemaTooNew`](vault_core::store::StoreErrorKind::SchemaTooNew): a newer version of this crate wrote to it.
    /// - [`Unavailable`](vault_core::store::StoreErrorKind::Unavailable) and the like: it cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind but the store's two settings in the server.
    pub async fn connect(self, server: impl IntoConnectionInfo) -> Result<RedisStore, StoreError> {
        let link = Link::to_node(server, self.patient());
        self.open(link).await
    }

    /// A cluster, by some of its nodes.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// As [`connect`](Self::connect).
    pub async fn cluster<N: IntoConnectionInfo>(
        self,
        nodes: impl IntoIterator<Item = N>,
    ) -> Result<RedisStore, StoreError> {
        let link = Link::to_cluster(nodes, self.patient());
        self.open(link).await
    }

    /// The master that the sentinels name for `service`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// As [`connect`](Self::connect).
    pub async fn sentinel<N: IntoConnectionInfo>(
        self,
        sentinels: impl IntoIterator<Item = N>,
        service: &str,
    ) -> Result<RedisStore, StoreError> {
        let link = Link::by_sentinels(sentinels, service, &self.master, &self.login, self.patient());
        self.open(link).await
    }

    /// The limits with the time to wait for replicas on top of the time to answer.
    fn patient(&self) -> Limits {
        let waiting = self.limits.wait.map_or(Duration::ZERO, |wait| wait.timeout);
        Limits { response: self.limits.response.saturating_add(waiting), ..self.limits }
    }

    async fn open(self, link: RedisResult<Link>) -> Result<RedisStore, StoreError> {
        let braced = |c: char| c.is_control() || c == '{' || c == '}';
        if self.prefix.is_empty() || self.prefix.len() > 64 || self.prefix.contains(braced) {
            return Err(refused(
                "the key prefix must be 1 to 64 bytes without braces and control characters",
            ));
        }
        if !(1..=MOST_SHARDS).contains(&self.shards) {
            return Err(refused("the number of shards must be 1 to 1024"));
        }
        let link = link.map_err(fault("reading the address of the server"))?;
        accept(&link, self.waived).await?;
        let names = Names { prefix: self.prefix, shards: self.shards };
        layout::agree(&link, &names).await?;
        Ok(RedisStore { shared: Arc::new(Shared { link, names }) })
    }
}

async fn accept(link: &Link, waived: Waived) -> Result<(), StoreError> {
    match link.info().await {
        Ok(infos) => infos.iter().try_for_each(|info| check(info, waived)),
        // A user who may not ask, and need not.
        Err(error)
            if error.kind() == StoreErrorKind::Misconfigured && waived.eviction && waived.persistence =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
