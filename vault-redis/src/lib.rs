//! The vault's storage in Redis or Valkey: one server, a server behind Sentinels, or a Cluster.
//!
//! ```no_run
//! use vault_core::id::{ConnectorId, Owner, TenantId, UserId};
//! use vault_core::store::{ConnectionFilter, Page, Stores};
//! use vault_redis::RedisStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::builder().prefix("app").connect("redis://127.0.0.1/").await?;
//! let stores = Stores::from_backend(store);
//!
//! let connections_of_alice = ConnectionFilter {
//!     tenant: TenantId::default(),
//!     owner: Some(Owner::User(UserId::new("alice")?)),
//!     connector: None::<ConnectorId>,
//! };
//! let listed = stores.connections.list(&connections_of_alice, &Page::first(50)).await?;
//! assert!(listed.items.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Choose [`RedisStore`] where Redis is already run as a database, with an append-only file and somebody who watches its
//! memory. Where there is a SQL database, the records are better off there, and only the flows, which live for minutes,
//! gain from Redis: put one store's `flows` into another's [`Stores`](vault_core::store::Stores). [`redis`] is
//! re-exported for the types that addresses may be given as.
//!
//! # Guarantees
//! - Every write is one script or one command: the record, its index entries, its lease and the revocation that it owes
//!   change together or not at all. Flows are the exception, and it does not show: see *Keys*.
//! - Leases run on the server's clock. Taking one never makes a record.
//! - Versions, generations and times are compared as text, exactly, over all of 64 bits.
//! - Identifiers are hashed into the names of keys and stored inside the records: `{`, `:`, spaces and emoji mean nothing.
//! - A command whose connection broke is never sent again by itself. The call fails as
//!   [`Unavailable`](vault_core::store::StoreErrorKind::Unavailable), and whether it ran is unknown; a write of the
//!   caller's own shows by its version. The next call goes over a new connection, with no restart of the host.
//! - Every call ends in bounded time: see [`RedisStoreBuilder::response_timeout`].
//! - Dropping a future lets its command run or not; replies never reach another caller.
//!
//! # Persistence
//! A server that may lose records by itself is refused at the start, on every master: its `maxmemory-policy` must be
//! `noeviction`, and `appendonly` must be `yes`. RDB snapshots alone lose minutes. `INFO` is asked, since managed services
//! refuse `CONFIG`; where even that is refused, or the risk is taken knowingly,
//! [`danger_accept_eviction`](RedisStoreBuilder::danger_accept_eviction) and
//! [`danger_accept_no_persistence`](RedisStoreBuilder::danger_accept_no_persistence) say so. A store for flows alone needs
//! neither setting: what it loses, users start again.
//!
//! With `appendfsync always` a write that returned is on the disk. With `everysec`, the server's default, a crash of the
//! machine loses up to two seconds of them; a crash of the server alone loses nothing.
//!
//! # Failover
//! Redis replicates asynchronously. When a replica takes over, in a Cluster or by Sentinel, **the acknowledged writes of
//! the last moments may be gone**, a second's worth at worst if the old master was cut off rather than dead. Then:
//! - A refresh that was acknowledged and lost leaves the refresh token of before. With providers that rotate refresh
//!   tokens **and detect reuse** (strict rotation), it is dead, and the user must connect again. Providers that keep
//!   refresh tokens, or accept the former one for a while, do not mind.
//! - A connection made or removed in those moments is missing or back; a revocation owed for it is lost with it.
//! - A flow that was taken can be there again and be taken twice. The provider still takes its code only once.
//! - A lease that was taken is free again: two processes may refresh one connection at once, as after any lost lease.
//!
//! [`wait`](RedisStoreBuilder::wait) narrows this: a write returns when so many replicas have it in memory. It
//! does not close it, since a replica without the write may still be the one that is promoted, and it costs a trip to the
//! replicas per write. `min-replicas-to-write` on the servers ends the writes to a master that was cut off. Where no
//! rotation may ever be lost, keep connections in PostgreSQL with a synchronous standby.
//!
//! # Keys
//! Records are split into shards, 64 unless [`shards`](RedisStoreBuilder::shards) says otherwise, by owner or,
//! for connectors, by tenant. All keys of a shard have one hash tag and so one slot:
//!
//! | key | type | what |
//! | --- | --- | --- |
//! | `{vault:N}:c:ID` | hash | connection: `version`, `record`, `credential`, `refresh`; its lease: `holder`, `until`, `fence` |
//! | `{vault:N}:o:ID` | hash | owed revocation |
//! | `{vault:N}:a:ID` | hash | connector |
//! | `{vault:N}:k:ID` | hash | data key |
//! | `{vault:N}:i` | sorted set | the shard's index: listings, due times, names of connectors |
//! | `{vault:N}:p:ID` | sorted set, expires | the places of an owner's flows |
//! | `vault:f:ID` | string, expires | flow |
//! | `vault:meta` | hash | layout and number of shards, compared at each start |
//!
//! An owner's listing asks one shard, a tenant's all of them, sixteen at a time. `due` asks all at once. Nothing uses
//! `KEYS` or `SCAN`. A flow's key and its place are on different nodes of a Cluster: the place is reserved first and goes
//! first, and a flow without one is of no use. So an owner never has more flows than the cap, and what a crash leaves of one
//! expires when the flow would.
//!
//! A connection takes about 1.5 KB beside its own bytes. A shard moves between nodes as one slot, so take enough of them
//! that none holds more than some ten thousand connections.
//!
//! # Cluster
//! Commands go to the masters, after `MOVED` and `ASK` to where these say; while a slot has no master, is moving, or is
//! loading, they are sent again within the response timeout, and no longer. Reads and leases work all through a resharding.
//! A write needs the record and its index on one node: while that one slot is being moved it may have to wait, and past
//! the timeout it fails as [`Busy`](vault_core::store::StoreErrorKind::Busy), with nothing written. List several nodes:
//! those given are where the masters are asked for first.
//!
//! # Changes of other processes
//! The store is a [`ConnectionWatch`](vault_core::store::ConnectionWatch): the script that changes or removes a credential
//! publishes the connection's id, which is in its key too, on a channel called as the shard's index. Who listens has a
//! connection to each master, hears of a shard from the master that has it, and asks all of them every four seconds
//! whether they would still take a write to their shards. So a lost node, a failover, a moved slot and a line that went
//! dead end the channel; while a slot is moving there may be none. A master that was cut off and knows nothing of it is
//! found out in a Cluster once it stops taking writes, behind Sentinels by `min-replicas-to-write`.
//!
//! **What the store did not do is not told**: `FLUSHALL`, `DEL`, a record evicted. There the age bound of whoever keeps
//! something in memory is what holds.
//!
//! # RESP3
//! Always spoken, because the driver then tells of a connection that the server closed (idle, restarted), and the next call
//! goes over a new one instead of failing; and changes are told over it. Client-side caching is not used: it would show others' writes late.
//!
//! # What it does not do
//! - Keep several databases apart in a Cluster: use prefixes.
//! - Change the number of shards of a store.
//! - Read from replicas.
//! - Run on servers that want all keys of a script declared (Dragonfly, by default) or rewrite commands (proxies).
//!
//! # Features
//! - `tls`: `rediss://` addresses, by rustls with the system's certificates. Where the process has no default crypto
//!   provider for rustls yet, *ring* becomes it.
//!
//! # Versions
//! Redis 6.2 or later (`GETDEL`), or Valkey. A user of limited rights needs `~vault:* ~{vault:* &{vault:* +@read +@write
//! +@scripting +publish +hello +info +time`, to listen to changes also `+subscribe`, with
//! [`wait`](RedisStoreBuilder::wait) `+wait`, and in a Cluster `+cluster|slots +asking`.

mod builder;
mod check;
mod connections;
mod connectors;
mod error;
mod flows;
mod join;
mod keys;
mod layout;
mod leases;
mod link;
mod names;
mod record;
mod script;
mod store;
mod watch;

use std::fmt;
use std::sync::Arc;

pub use redis;
use redis::IntoConnectionInfo;
use vault_core::store::StoreError;

pub use self::builder::RedisStoreBuilder;
use self::link::Link;
use self::names::Names;

/// All four stores in Redis. Clones share the connections.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    names: Names,
}

impl RedisStore {
    /// For anything that is not as usual: prefix, number of shards, connections that read, timeouts, `WAIT`.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::new()
    }

    /// One server, as [`RedisStoreBuilder::connect`] with nothing set.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Cancel safety
    /// See there.
    pub async fn connect(server: impl IntoConnectionInfo) -> Result<Self, StoreError> {
        Self::builder().connect(server).await
    }

    /// A cluster, by some of its nodes, as [`RedisStoreBuilder::cluster`] with nothing set.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Cancel safety
    /// See there.
    pub async fn cluster<N: IntoConnectionInfo>(
        nodes: impl IntoIterator<Item = N>,
    ) -> Result<Self, StoreError> {
        Self::builder().cluster(nodes).await
    }

    /// The master that the sentinels name for `service`, as [`RedisStoreBuilder::sentinel`] with nothing set.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Cancel safety
    /// See there.
    pub async fn sentinel<N: IntoConnectionInfo>(
        sentinels: impl IntoIterator<Item = N>,
        service: &str,
    ) -> Result<Self, StoreError> {
        Self::builder().sentinel(sentinels, service).await
    }
}

/// Shows neither address nor password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("names", &self.shared.names).finish_non_exhaustive()
    }
}
