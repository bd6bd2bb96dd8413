use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::entropy::{Entropy, EntropyError};
use crate::error::ReauthReason;
use crate::id::{
    AttemptId, ConnectionKey, ConnectorId, Incarnation, Owner, RevocationId, Slot, TenantId, UserId,
};

/// Stamps one write of a record: drawn at random by the writer, so it never repeats, not even when a record is deleted
/// and made again, and a writer whose acknowledgement was lost recognises its own write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Version(i64);

impl Version {
    /// Draws a new one.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes)?;
        Ok(Self(i64::from_le_bytes(bytes)))
    }

    /// As stored.
    #[must_use]
    pub const fn from_i64(value: i64) -> Self {
        Self(value)
    }

    /// For storing.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

/// When a `put` may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "backends must handle every condition")]
pub enum Condition {
    /// There is no such record.
    Absent,
    /// The record stands at this version.
    Version(Version),
}

/// How a conditional write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "callers must handle every outcome")]
pub enum Put {
    /// The condition did not hold and nothing was written; the version that is there, if any.
    Conflict(Option<Version>),
    /// Written.
    Written,
}

/// How a conditional write that ends a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "callers must handle every outcome")]
pub enum Finish {
    /// The flow is not there as it was taken, whatever else is. Nothing was written.
    Gone,
    /// The condition did not hold: nothing was written, and the flow is still there. The version that is there, if any.
    Conflict(Option<Version>),
    /// Written, and the flow has ended.
    Written,
}

/// How a conditional write of a record with a unique name ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "callers must handle every outcome")]
pub enum NamedPut {
    /// The condition did not hold and nothing was written; the version that is there, if any.
    Conflict(Option<Version>),
    /// Another record has the name; nothing was written.
    NameTaken,
    /// Written.
    Written,
}

/// Where the next page starts: bytes that only the backend that made them understands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "opaque bytes")]
pub struct Cursor(pub Vec<u8>);

/// Which part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends read both fields")]
pub struct Page {
    /// From here on; `None` is the start.
    pub after: Option<Cursor>,
    /// At most so many, and at least one when there is any.
    pub limit: u32,
}

impl Page {
    /// The first page.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends build it")]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; `None` when this is the last.
    pub next: Option<Cursor>,
}

/// Whether a connection works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[non_exhaustive]
pub enum ConnectionStatus {
    /// It does.
    Active,
    /// Only after the user authorizes it again.
    NeedsReauthorization(ReauthReason),
}

impl ConnectionStatus {
    /// For storing: 0 is active, other numbers are reasons to reauthorize.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Active => 0,
            Self::NeedsReauthorization(ReauthReason::GrantRevoked) => 1,
            Self::NeedsReauthorization(ReauthReason::LostRotation) => 2,
            Self::NeedsReauthorization(ReauthReason::NoRefreshToken) => 3,
            Self::NeedsReauthorization(ReauthReason::InteractionRequired) => 4,
        }
    }

    /// As stored; `None` for a number that [`code`](Self::code) never gives.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Active,
            1 => Self::NeedsReauthorization(ReauthReason::GrantRevoked),
            2 => Self::NeedsReauthorization(ReauthReason::LostRotation),
            3 => Self::NeedsReauthorization(ReauthReason::NoRefreshToken),
            4 => Self::NeedsReauthorization(ReauthReason::InteractionRequired),
            _ => return None,
        })
    }
}

impl From<ConnectionStatus> for u8 {
    fn from(status: ConnectionStatus) -> Self {
        status.code()
    }
}

impl TryFrom<u8> for ConnectionStatus {
    type Error = &'static str;

    fn try_from(code: u8) -> Result<Self, Self::Error> {
        Self::from_code(code).ok_or("not the code of a connection status")
    }
}

/// A registered connector as stored: everything but its name and times is sealed, so that an edited row can send no
/// secret to an edited endpoint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends build and store every field")]
pub struct ConnectorRecord {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: ConnectorId,
    /// Unique within the tenant, compared byte for byte.
    pub name: String,
    /// Stamp of the last write.
    pub version: Version,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its configuration and client secrets, sealed.
    pub sealed: Vec<u8>,
}

/// A connection as stored. The lease lives in the same row but is not part of this: only the lease methods touch it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends build and store every field")]
pub struct ConnectionRecord {
    /// Which.
    pub key: ConnectionKey,
    /// Stamp of the last write.
    pub version: Version,
    /// Which successful connect it comes from.
    pub incarnation: Incarnation,
    /// Counts token sets within the incarnation, from 1. At most `i64::MAX`.
    pub generation: u64,
    /// Whether it works.
    pub status: ConnectionStatus,
    /// When maintenance should refresh it; `None` for never.
    pub due_at: Option<Timestamp>,
    /// When the access token ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When this incarnation was connected.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What listings show (account, scopes, connection config), sealed.
    pub summary: Vec<u8>,
    /// What a token read needs, in one value: status, incarnation, generation and the sealed tokens.
    pub credential: Bytes,
    /// What the refresh protocol remembers between steps. Opaque; no secret in it.
    pub refresh: Vec<u8>,
}

/// A connection as listed: everything of [`ConnectionRecord`] that can be shown, and no credential.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends build every field")]
pub struct ListedConnection {
    /// Which.
    pub key: ConnectionKey,
    /// Which successful connect it comes from.
    pub incarnation: Incarnation,
    /// Counts token sets within the incarnation.
    pub generation: u64,
    /// Whether it works.
    pub status: ConnectionStatus,
    /// When the access token ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When this incarnation was connected.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What listings show, sealed.
    pub summary: Vec<u8>,
}

impl From<ConnectionRecord> for ListedConnection {
    fn from(record: ConnectionRecord) -> Self {
        Self {
            key: record.key,
            incarnation: record.incarnation,
            generation: record.generation,
            status: record.status,
            expires_at: record.expires_at,
            created_at: record.created_at,
            updated_at: record.updated_at,
            summary: record.summary,
        }
    }
}

/// Which connections to list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends must honour every field")]
pub struct ConnectionFilter {
    /// Of this tenant.
    pub tenant: TenantId,
    /// Of this owner only.
    pub owner: Option<Owner>,
    /// Through this connector only.
    pub connector: Option<ConnectorId>,
}

/// The right to refresh one connection for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends build it")]
pub struct Lease {
    /// Rises with every acquire of this record.
    pub fence: u64,
    /// The store's clock when the lease was granted.
    pub granted_at: Timestamp,
}

/// How an attempt to take a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "callers must handle every outcome")]
pub enum LeaseAcquire {
    /// There is no such connection.
    Absent,
    /// It is the caller's, on the record as it stands under it.
    Acquired(Lease, Box<ConnectionRecord>),
    /// Somebody else has it, for so long at most unless they renew it.
    Held {
        /// Until it lapses, by the store's clock.
        remaining: Duration,
    },
}

/// Who has a lease, and since which acquire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends read both fields")]
pub struct LeaseHolder {
    /// Who.
    pub holder: AttemptId,
    /// Under which fence.
    pub fence: u64,
}

/// A lease that somebody has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "backends build it")]
pub struct LeaseHeld {
    /// Who.
    pub holder: AttemptId,
    /// Under which fence.
    pub fence: u64,
    /// Until it lapses, by the store's clock, unless they renew it.
    pub remaining: Duration,
}

/// A revocation that is still owed to a provider. It outlives its connection, and a reconnect does not touch it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends build and store every field")]
pub struct RevocationRecord {
    /// Which.
    pub id: RevocationId,
    /// The connection it was.
    pub key: ConnectionKey,
    /// Which successful connect it came from.
    pub incarnation: Incarnation,
    /// Stamp of the last write.
    pub version: Version,
    /// When to try next.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When the user disconnected.
    pub created_at: Timestamp,
    /// The tokens to revoke and where, sealed.
    pub sealed: Vec<u8>,
}

/// A pending authorization as stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends build and store every field")]
pub struct FlowRecord {
    /// Names it: a hash of the `state` parameter.
    pub state_hash: [u8; 32],
    /// Whose.
    pub tenant: TenantId,
    /// Whose.
    pub owner: Owner,
    /// To what.
    pub connector: ConnectorId,
    /// Into which slot.
    pub slot: Slot,
    /// When it began.
    pub created_at: Timestamp,
    /// From then on it may be gone, and must not be completed.
    pub expires_at: Timestamp,
    /// Verifier, nonce, binding and the rest, sealed.
    pub sealed: Vec<u8>,
}

/// How inserting a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "callers must handle every outcome")]
pub enum FlowInsert {
    /// A flow with that hash is there already.
    Exists,
    /// Stored.
    Inserted,
    /// The owner has as many pending flows as the cap allows.
    TooMany,
}

/// Whose data a data key seals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "backends must store every scope")]
pub enum KeyScope {
    /// Everything of one tenant.
    Tenant(TenantId),
    /// Everything of one user, where the host wants a key per user.
    User(TenantId, UserId),
    /// The vault's own canary.
    Vault,
}

/// The wrapped data keys of one scope.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "backends build and store every field")]
pub struct KeyRecord {
    /// Whose.
    pub scope: KeyScope,
    /// Stamp of the last write.
    pub version: Version,
    /// The keys, wrapped under a key-encryption key. Opaque.
    pub wrapped: Vec<u8>,
}
