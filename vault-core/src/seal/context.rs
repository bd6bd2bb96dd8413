use std::fmt;

use super::envelope::HEADER_BYTES;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, ConnectorId, Incarnation, MAX_ID_BYTES, Owner, Slot, TenantId};
use crate::store::KeyScope;

/// What a sealed value is for. Values of different purposes never share a key, so none opens in another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A connector's configuration and client secrets.
    Connector,
    /// The tokens of a connection.
    Credential,
    /// A data key, sealed under a key-encryption key.
    DataKey,
    /// What a pending authorization remembers.
    Flow,
    /// The tokens that are owed a revocation.
    Revocation,
    /// Refreshed tokens that the store did not take yet.
    Spill,
    /// What listings show of a connection.
    Summary,
}

impl Purpose {
    /// Part of the format; below 0x20, so that no purpose is taken for the letters that begin a salt's input.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Credential => 0x01,
            Self::Summary => 0x02,
            Self::Flow => 0x03,
            Self::Connector => 0x04,
            Self::Revocation => 0x05,
            Self::DataKey => 0x06,
            Self::Spill => 0x07,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connector => "connector",
            Self::Credential => "credential",
            Self::DataKey => "data key",
            Self::Flow => "flow",
            Self::Revocation => "revocation",
            Self::Spill => "spill",
            Self::Summary => "summary",
        })
    }
}

/// What a sealed value is bound to: it opens under exactly the context that it was sealed under.
///
/// ```
/// use vault_core::id::{ConnectionKey, Incarnation};
/// use vault_core::seal::{Context, Purpose};
///
/// fn credential(key: &ConnectionKey, incarnation: Incarnation, generation: u64) -> Context<'_> {
///     Context {
///         incarnation: Some(incarnation),
///         generation: Some(generation),
///         ..Context::of_connection(Purpose::Credential, key)
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made for struct update syntax; another field would be another format"
)]
pub struct Context<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// Whose; also chooses the data key.
    pub tenant: &'a TenantId,
    /// Whose; chooses the data key where each user has one.
    pub owner: Option<&'a Owner>,
    /// Through which OAuth application.
    pub connector: Option<&'a ConnectorId>,
    /// Which of the owner's accounts.
    pub slot: Option<&'a Slot>,
    /// Which successful connect.
    pub incarnation: Option<Incarnation>,
    /// Which token set.
    pub generation: Option<u64>,
    /// Whatever else names the record, such as a flow's state hash or a revocation's id: at most 255 bytes.
    pub subject: Option<&'a [u8]>,
}

impl<'a> Context<'a> {
    /// Bound to a purpose and a tenant, and to nothing else yet.
    #[must_use]
    pub const fn new(purpose: Purpose, tenant: &'a TenantId) -> Self {
        Self {
            purpose,
            tenant,
            owner: None,
            connector: None,
            slot: None,
            incarnation: None,
            generation: None,
            subject: None,
        }
    }

    /// Bound to all four parts of a connection's key.
    #[must_use]
    pub const fn of_connection(purpose: Purpose, key: &'a ConnectionKey) -> Self {
        Self {
            owner: Some(&key.owner),
            connector: Some(&key.connector),
            slot: Some(&key.slot),
            ..Self::new(purpose, &key.tenant)
        }
    }
}

/// Names the record for an error message; a subject is left out, for it may be a hash of something secret.
impl fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.purpose)?;
        if let Some(owner) = self.owner {
            write!(f, " of {owner}")?;
        }
        if let Some(connector) = self.connector {
            write!(f, " to {connector}")?;
        }
        if let Some(slot) = self.slot {
            write!(f, " (slot {slot}, tenant {})", self.tenant)
        } else {
            write!(f, " (tenant {})", self.tenant)
        }
    }
}

mod tag {
    pub(super) const PURPOSE: u8 = 1;
    pub(super) const TENANT: u8 = 2;
    pub(super) const OWNER: u8 = 3;
    pub(super) const CONNECTOR: u8 = 4;
    pub(super) const SLOT: u8 = 5;
    pub(super) const INCARNATION: u8 = 6;
    pub(super) const GENERATION: u8 = 7;
    pub(super) const SUBJECT: u8 = 8;
}

/// Eight fields with five bytes of tag and length each; an owner is one byte more than an identifier.
const CAPACITY: usize = HEADER_BYTES + 8 * 5 + 1 + 5 * MAX_ID_BYTES + 1 + 16 + 8;

/// The associated data, built on the stack: room for the envelope's header, then the fields of the context.
pub(super) struct AssociatedData {
    purpose: u8,
    len: usize,
    bytes: [u8; CAPACITY],
}

impl AssociatedData {
    /// Of nothing yet. What is as large as this is filled in place, not handed around.
    pub(super) const fn new() -> Self {
        Self { purpose: 0, len: HEADER_BYTES, bytes: [0; CAPACITY] }
    }

    /// # Errors
    /// When the subject is too long; everything else in a context is bounded by its type.
    pub(super) fn fill(&mut self, context: &Context<'_>) -> Result<(), Error> {
        if context.subject.is_some_and(|subject| subject.len() > MAX_ID_BYTES) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{context}: the subject is longer than {MAX_ID_BYTES} bytes"),
            ));
        }
        self.begin(context.purpose);
        self.push(tag::TENANT, &[], context.tenant.as_str().as_bytes());
        match context.owner {
            Some(Owner::Shared) => self.push(tag::OWNER, &[0], &[]),
            Some(Owner::User(user)) => self.push(tag::OWNER, &[1], user.as_str().as_bytes()),
            None => {}
        }
        if let Some(connector) = context.connector {
            self.push(tag::CONNECTOR, &[], connector.as_str().as_bytes());
        }
        if let Some(slot) = context.slot {
            self.push(tag::SLOT, &[], slot.as_str().as_bytes());
        }
        if let Some(incarnation) = &context.incarnation {
            self.push(tag::INCARNATION, &[], incarnation.as_bytes());
        }
        if let Some(generation) = context.generation {
            self.push(tag::GENERATION, &[], &generation.to_be_bytes());
        }
        if let Some(subject) = context.subject {
            self.push(tag::SUBJECT, &[], subject);
        }
        Ok(())
    }

    /// What a data key of `scope` is bound to.
    pub(super) fn of_scope(scope: &KeyScope) -> Self {
        let mut data = Self::new();
        data.begin(Purpose::DataKey);
        match scope {
            KeyScope::Tenant(tenant) => data.push(tag::TENANT, &[], tenant.as_str().as_bytes()),
            KeyScope::User(tenant, user) => {
                data.push(tag::TENANT, &[], tenant.as_str().as_bytes());
                data.push(tag::OWNER, &[1], user.as_str().as_bytes());
            }
            KeyScope::Vault => {}
        }
        data
    }

    /// The fields as [`of_scope`](Self::of_scope) made them; `None` when there are more than ever can be.
    pub(super) fn of_wrapping(fields: &[u8]) -> Option<Self> {
        let mut data = Self::new();
        data.begin(Purpose::DataKey);
        data.len = HEADER_BYTES + fields.len();
        data.bytes.get_mut(HEADER_BYTES..data.len)?.copy_from_slice(fields);
        Some(data)
    }

    pub(super) const fn purpose(&self) -> u8 {
        self.purpose
    }

    pub(super) fn fields(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..self.len]
    }

    /// The whole associated data of an envelope with that header.
    pub(super) fn behind(&mut self, header: &[u8; HEADER_BYTES]) -> &[u8] {
        self.bytes[..HEADER_BYTES].copy_from_slice(header);
        &self.bytes[..self.len]
    }

    fn begin(&mut self, purpose: Purpose) {
        self.purpose = purpose.code();
        self.len = HEADER_BYTES;
        self.push(tag::PURPOSE, &[], &[purpose.code()]);
    }

    /// Fits by the bounds that [`CAPACITY`] is made of.
    fn push(&mut self, tag: u8, prefix: &[u8], value: &[u8]) {
        let len = u32::try_from(prefix.len() + value.len()).unwrap_or(u32::MAX);
        for part in [&[tag], &len.to_be_bytes()[..], prefix, value] {
            let end = self.len + part.len();
            self.bytes[self.len..end].copy_from_slice(part);
            self.len = end;
        }
    }
}
