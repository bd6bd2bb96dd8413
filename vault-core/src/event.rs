//! Lifecycle events, for the host's audit log and alarms. They carry ids and reasons, never secrets.

use std::fmt;

use crate::error::{ErrorKind, ReauthReason};
use crate::id::{ConnectionKey, ConnectorId, Owner, TenantId};

/// Receives events, in the task where they happen.
///
/// # Contract
/// `event` returns quickly: hand the event to a channel rather than write it somewhere. A panic in it ends the operation
/// that reported the event.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &Event);
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The audit sink failed to keep an entry, or took too long.
    AuditFailed {
        /// What it should have kept.
        event: Box<Self>,
    },
    /// A user connected an account; the connection is stored.
    Connected {
        /// The connection.
        key: ConnectionKey,
    },
    /// An authorization did not end in a connection.
    ConnectFailed {
        /// Whose tenant.
        tenant: TenantId,
        /// Whose.
        owner: Owner,
        /// To what.
        connector: ConnectorId,
        /// Why. [`ErrorKind::SessionMismatch`] and [`ErrorKind::IssuerMismatch`] suggest an attack.
        kind: ErrorKind,
    },
    /// A connection is gone locally.
    Disconnected {
        /// The connection.
        key: ConnectionKey,
    },
    /// An owner was erased: nothing of theirs is stored any more.
    Erased {
        /// Whose tenant.
        tenant: TenantId,
        /// Whose.
        owner: Owner,
    },
    /// Everything of a connector, a tenant or the vault was disconnected, as far as that went. Each connection was reported
    /// as [`Disconnected`](Self::Disconnected) before.
    MassRevoked {
        /// Of this tenant; of all, if none.
        tenant: Option<TenantId>,
        /// Through this connector; through all, if none.
        connector: Option<ConnectorId>,
        /// How many connections are gone.
        disconnected: usize,
    },
    /// Only the user can make the connection work again.
    NeedsReauthorization {
        /// The connection.
        key: ConnectionKey,
        /// Why.
        reason: ReauthReason,
    },
    /// A refresh brought tokens for a connection that is gone or was connected anew; they were not stored.
    OrphanedTokens {
        /// The connection as it was.
        key: ConnectionKey,
    },
    /// New tokens are in memory and could not be stored yet; the vault keeps trying.
    PersistPending {
        /// The connection.
        key: ConnectionKey,
        /// Its new generation.
        generation: u64,
    },
    /// A refresh failed. The old tokens stay.
    RefreshFailed {
        /// The connection.
        key: ConnectionKey,
        /// Why.
        kind: ErrorKind,
    },
    /// New tokens are stored.
    Refreshed {
        /// The connection.
        key: ConnectionKey,
        /// Its new generation.
        generation: u64,
    },
    /// A revocation did not get through; maintenance tries again.
    RevocationPending {
        /// The connection as it was.
        key: ConnectionKey,
        /// How often it was tried.
        attempts: u32,
    },
    /// The vault gives up on a revocation: the provider cannot revoke, or did not within the time allowed.
    RevocationAbandoned {
        /// The connection as it was.
        key: ConnectionKey,
        /// How often it was tried.
        attempts: u32,
    },
    /// The provider confirmed that the tokens are dead.
    Revoked {
        /// The connection as it was.
        key: ConnectionKey,
    },
    /// Maintenance finds the vault's own key gone from the storage, which was emptied or replaced while this process ran:
    /// users whose connections were in it are not connected any more. The vault goes on with a new key.
    StorageEmptied,
    /// A bug, in the vault or in something that was passed in: a task of the vault panicked. It alone ended; what it was
    /// about is tried again where the vault tries again.
    TaskPanicked {
        /// The path of its code. What the panic said is left out, since it may hold secrets.
        task: &'static str,
    },
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct NoObserver;

impl Observer for NoObserver {
    fn event(&self, _: &Event) {}
}
