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
    /// A refresh token was refused, and an older one that may be the live one is tried in its place.
    AlternateTried {
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
    /// A connection that needed reauthorization works again: tokens arrived after it was marked.
    Healed {
        /// The connection.
        key: ConnectionKey,
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
    /// A connect failed after the provider had issued tokens: nobody has them, and they live on there until they end or the user
    /// removes the app in their account.
    GrantUnclaimed {
        /// What would have been connected.
        key: ConnectionKey,
    },
    /// New tokens are in memory and could not be stored yet; the vault keeps trying.
    PersistPending {
        /// The connection.
        key: ConnectionKey,
        /// Its new generation.
        generation: u64,
    },
    /// A refresh token was sent by somebody who did not write how that ended; this process goes on once it must have
    /// ended.
    RefreshTakenOver {
        /// The connection.
        key: ConnectionKey,
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
    /// The vault gives up on a revocation: the provider cannot revoke, or did not within the time allowed, or another
    /// connection, of an account that is not known, may need the grant.
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
    /// Why a connection needs reauthorization with
    /// [`ReauthReason::LostRotation`]: its refresh token was sent, the answer never arrived or was never stored, and the
    /// provider refuses that token now. The tokens that it may have issued are lost.
    RotationLost {
        /// The connection.
        key: ConnectionKey,
        /// How often the token was sent, the refused one included.
        sends: u32,
    },
    /// Two token sets were issued for one refresh token; both refresh tokens are kept until one has proven to live.
    SiblingKept {
        /// The connection.
        key: ConnectionKey,
    },
    /// Tokens that were spilled while the store was down are in the store.
    SpillImported {
        /// The connection.
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
