//! The storage seam: four traits that a backend implements, and the records they carry.
//!
//! A backend stores opaque sealed bytes and the few clear columns that its queries need. It holds no key and sees no
//! secret. What holds for all four traits:
//!
//! # Contract
//! - Identifiers are literal: nothing is quoted, folded, trimmed or pattern-matched.
//! - Expected outcomes (absent, conflict, held) are values; `Err` is a fault of the store.
//! - A write that returned is durable to the degree that the backend's documentation states.
//! - [`Version`]s are drawn by the writer, at random. A backend stores and compares them, and makes none up.
//! - Records implement serde's traits, for a backend that stores them whole. What it may then read back is its own
//!   concern: a later version of this crate may add fields.
//!
//! # Atomicity
//! Each method is one atomic step and one round trip: one statement, one command, one script.
//!
//! # Time
//! Leases, and flows where the storage expires them by itself, run on the store's own clock. Every other time is an
//! argument, and is stored as given. Where times are compared, all of ±2^53 ms are told apart; beyond that a store may
//! round.
//!
//! # Errors
//! [`StoreError`]; see its kinds. A store that is down is an error, never "absent".
//!
//! # Cancel safety
//! Dropping a future at any await leaves either the whole effect or none, and no pooled connection in a bad state.

mod error;
mod forward;
mod record;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
/// Bytes that are cheap to share: a backend that keeps them in memory need not copy them for each read.
pub use bytes::Bytes;

pub use self::error::{StoreError, StoreErrorKind};
pub use self::record::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStatus, ConnectorRecord, Cursor, Finish,
    FlowInsert, FlowRecord, KeyRecord, KeyScope, Lease, LeaseAcquire, LeaseHeld, LeaseHolder,
    ListedConnection, NamedPut, Page, Paged, Put, RevocationRecord, Version,
};
pub use self::watch::{Change, Changes, ConnectionWatch};
use crate::clock::Timestamp;
use crate::id::{AttemptId, ConnectionKey, ConnectorId, Owner, RevocationId, TenantId};

/// Registered connectors. Durable, compare-and-swap, one name per tenant.
#[async_trait]
pub trait ConnectorStore: fmt::Debug + Send + Sync + 'static {
    /// The connector, if this tenant has it.
    async fn get(&self, tenant: &TenantId, id: &ConnectorId) -> Result<Option<ConnectorRecord>, StoreError>;

    /// The connector of that name, if this tenant has it. Names compare byte for byte.
    async fn find(&self, tenant: &TenantId, name: &str) -> Result<Option<ConnectorRecord>, StoreError>;

    /// Writes if `condition` holds and no other connector of the tenant has the name.
    async fn put(&self, record: &ConnectorRecord, condition: Condition) -> Result<NamedPut, StoreError>;

    /// Removes it if it stands at `version`; answers whether it did.
    async fn delete(&self, tenant: &TenantId, id: &ConnectorId, version: Version)
    -> Result<bool, StoreError>;

    /// The tenant's connectors, a page at a time, in an order that inserts and deletes do not disturb.
    async fn list(&self, tenant: &TenantId, page: &Page) -> Result<Paged<ConnectorRecord>, StoreError>;
}

/// Connections, their refresh leases, and the revocations owed for those that are gone.
///
/// # Contract
/// - `put` leaves the lease of the record as it is, unless it is told to release it; the lease methods leave everything
///   else, [`Version`] included.
/// - `acquire_lease` never creates a record. The one that it answers with is the record at the moment of the grant: as
///   [`get`](Self::get) would have answered then, from the primary.
/// - Fences of one record start at 1 and only rise, across releases, expiries and restarts. They start again after a
///   delete, and only then.
/// - `owed` given to `put` or `delete` is stored in the same atomic step, and only when the write happens.
///
/// # Time
/// `acquire_lease`, `renew_lease`, `lease` and `due` judge leases by the store's clock.
#[async_trait]
pub trait ConnectionStore: fmt::Debug + Send + Sync + 'static {
    /// The token read: [`ConnectionRecord::credential`] alone. The one read that a replica may answer.
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>, StoreError>;

    /// The same at once, from a store that has everything in memory: a future costs about as much as such a read. `None`
    /// says that this one has to be waited for. Fails as [`read`](Self::read) does, and must not block.
    fn read_at_once(&self, _key: &ConnectionKey) -> Option<Result<Option<Bytes>, StoreError>> {
        None
    }

    /// The whole record, from the primary: it reflects every write that was acknowledged before the call.
    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>, StoreError>;

    /// Writes the record, and `owed` with it, if `condition` holds.
    ///
    /// Frees the lease in the same atomic step if `release` still has it, as [`release_lease`](Self::release_lease)
    /// would. A write that does not happen releases nothing, and another's lease is left alone by one that does.
    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Result<Put, StoreError>;

    /// As [`put`](Self::put) that releases nothing, with the end of the flow that this connection comes of: in the same
    /// atomic step, and only if that is there as [`FlowStore::take`] answered with it. Whoever
    /// [cancels](FlowStore::cancel) it thus either keeps the record from being written, or finds it. The two are of one
    /// owner. A flow that has expired since may count as there or not.
    ///
    /// Called only [where one value is both](Stores::finish_in_one_step) the [`ConnectionStore`] and the [`FlowStore`].
    /// `None`, and nothing else, from a store that cannot do both in one step, and from a wrapper of several stores where
    /// theirs are apart: the flow is [finished](FlowStore::finish) by itself then.
    async fn put_and_finish(
        &self,
        _record: &ConnectionRecord,
        _condition: Condition,
        _owed: Option<&RevocationRecord>,
        _taken: &FlowRecord,
    ) -> Result<Option<Finish>, StoreError> {
        Ok(None)
    }

    /// Removes the record and its lease, and stores `owed`, if the record stands at `version`.
    /// [`Put::Written`] when it did, [`Put::Conflict`] with what is there otherwise.
    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put, StoreError>;

    /// Matching connections without their credentials, a page at a time, in an order that inserts and deletes do not
    /// disturb: whatever exists during the whole listing is listed exactly once.
    async fn list(
        &self,
        filter: &ConnectionFilter,
        page: &Page,
    ) -> Result<Paged<ListedConnection>, StoreError>;

    /// Keys of active connections of all tenants whose `due_at` is at or before `before` and whose lease is free,
    /// longest due first, at most `limit`.
    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>, StoreError>;

    /// Takes the lease for `ttl` if it is free, has lapsed, or is `holder`'s already, and answers with the record too. The
    /// fence rises by one each time.
    ///
    /// A record that cannot be read is an error, and the lease may be taken all the same.
    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire, StoreError>;

    /// Extends the lease to `ttl` from now if `holder` still has it under `fence` and it has not lapsed; answers
    /// whether it did.
    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool, StoreError>;

    /// Frees the lease if `holder` still has it under `fence`; otherwise does nothing.
    async fn release_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
    ) -> Result<(), StoreError>;

    /// Who has the lease, from the primary; `None` when it is free or has lapsed, or there is no such connection.
    async fn lease(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>, StoreError>;

    /// The store's clock, the one that leases run on. A store of several servers may have as many clocks, and answers
    /// with that of one of them, always the same while the servers stay what they are.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Owed revocations of all tenants with `due_at` at or before `before`, longest due first, at most `limit`.
    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>, StoreError>;

    /// Owed revocations of a tenant, or of one of its owners, a page at a time in a stable order.
    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>, StoreError>;

    /// Rewrites an owed revocation if it stands at `version`; answers whether it did. Never creates one.
    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool, StoreError>;

    /// Removes an owed revocation; absent is fine.
    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<(), StoreError>;
}

/// Pending authorizations: inserted once, taken at most once, short-lived.
///
/// The state that names a flow is 256 random bits and reaches the store only as a hash, so `take` needs no tenant.
///
/// # Contract
/// A flow that was taken stays behind as taken: under its hash, counted for the cap, until its taker finishes it or it is
/// cancelled or expires. A `cancel` thus reaches what is still being done for it, and `finish`, or
/// [`ConnectionStore::put_and_finish`], tells its taker.
///
/// # Time
/// A flow lives for `expires_at - now` from its insert, both as the caller gave them; that may be longer than the
/// storage can express, and counts as its longest then. Storage that expires entries by itself (Redis) measures this
/// span on its own clock; storage that does not keeps the flow until a purge whose `now` is at or after `expires_at`.
/// So it does with what `take` leaves, from the take. What has expired may thus be gone at any time; an unexpired flow
/// goes only by `cancel`, and by `finish` or `put_and_finish` after a `take`.
#[async_trait]
pub trait FlowStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a flow if no other has its hash and there are fewer than `cap` unexpired flows (`expires_at` after `now`) of
    /// the same tenant and owner, pending or taken. One that has expired already (`expires_at` at or before `now`) is answered
    /// for like any other, and need not be kept.
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert, StoreError>;

    /// Takes the flow: of all callers, at most one ever gets it. In the same step it is left behind as taken, and its
    /// `expires_at` becomes `until`, as in the answer; its own end, if past, is no obstacle, and the caller's to check.
    async fn take(
        &self,
        state_hash: &[u8; 32],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<FlowRecord>, StoreError>;

    /// Removes what [`take`](Self::take) left behind when it answered with `taken`; answers whether it was there. A flow
    /// that nobody has taken is left alone.
    async fn finish(&self, taken: &FlowRecord) -> Result<bool, StoreError>;

    /// Removes the flows of an owner, pending or taken, or only those to one connector; answers how many. Expired ones
    /// count while they are there.
    async fn cancel(
        &self,
        tenant: &TenantId,
        owner: &Owner,
        connector: Option<&ConnectorId>,
    ) -> Result<u64, StoreError>;

    /// Removes at most `limit` flows that expired at or before `now`; answers how many. Does nothing, and answers 0,
    /// where the storage expires them by itself.
    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// Wrapped data keys: one record per scope. Deleting a record makes everything sealed under it unreadable for good.
#[async_trait]
pub trait KeyStore: fmt::Debug + Send + Sync + 'static {
    /// The record of that scope.
    async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>, StoreError>;

    /// Writes if `condition` holds.
    async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put, StoreError>;

    /// Removes the record; answers whether there was one.
    async fn delete(&self, scope: &KeyScope) -> Result<bool, StoreError>;

    /// All records, a page at a time in a stable order.
    async fn list(&self, page: &Page) -> Result<Paged<KeyRecord>, StoreError>;
}

/// The four stores a vault works on. They may be one backend or several.
///
/// ```
/// # use vault_core::store::{FlowStore, Stores};
/// # use std::sync::Arc;
/// # fn mix(all_in_one: Stores, other: Arc<dyn FlowStore>) -> Stores {
/// Stores { flows: other, ..all_in_one }
/// # }
/// ```
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "made for struct update syntax")]
pub struct Stores {
    /// Registered connectors.
    pub connectors: Arc<dyn ConnectorStore>,
    /// Connections, leases and owed revocations.
    pub connections: Arc<dyn ConnectionStore>,
    /// Pending authorizations.
    pub flows: Arc<dyn FlowStore>,
    /// Wrapped data keys.
    pub keys: Arc<dyn KeyStore>,
}

impl Stores {
    /// Whether flows and connections are one value, which may then [change both in one step](ConnectionStore::put_and_finish).
    #[must_use]
    pub fn finish_in_one_step(&self) -> bool {
        Arc::as_ptr(&self.flows).addr() == Arc::as_ptr(&self.connections).addr()
    }

    /// One backend for all four.
    pub fn from_backend<B: ConnectorStore + ConnectionStore + FlowStore + KeyStore>(backend: B) -> Self {
        let backend = Arc::new(backend);
        Self {
            connectors: Arc::<B>::clone(&backend),
            connections: Arc::<B>::clone(&backend),
            flows: Arc::<B>::clone(&backend),
            keys: backend,
        }
    }
}
