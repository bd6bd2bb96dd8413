//! What things are called in Redis: keys, shards, and the entries of a shard's index.
//!
//! Identifiers are hashed, so that no byte of theirs means anything in a name. All of it is printable ASCII.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, ConnectorId, Owner, RevocationId, TenantId};
use vault_core::store::KeyScope;

/// Length of an id that names a record: 32 bytes in base64.
pub(crate) const ID: usize = 43;
/// Length of a group: 16 bytes in base64.
const GROUP: usize = 22;

/// Kinds of record, as keys spell them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Connection,
    Connector,
    Key,
    Owed,
}

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Connection => 'c',
            Self::Connector => 'a',
            Self::Key => 'k',
            Self::Owed => 'o',
        }
    }

    /// The length of the id that ends the record's key and its index entries.
    pub(crate) const fn id_length(self) -> usize {
        match self {
            Self::Owed => ID + GROUP,
            _ => ID,
        }
    }
}

/// The names of one store.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) prefix: String,
    pub(crate) shards: u16,
}

impl Names {
    pub(crate) fn meta(&self) -> String {
        format!("{}:meta", self.prefix)
    }

    /// A flow's key is in no shard: it is found by its hash alone.
    pub(crate) fn flow(&self, state_hash: &[u8; 32]) -> String {
        self.flow_by_id(&text(state_hash))
    }

    /// The same by the id that ends a place.
    pub(crate) fn flow_by_id(&self, id: &str) -> String {
        format!("{}:f:{id}", self.prefix)
    }

    pub(crate) fn index(&self, shard: u16) -> String {
        self.in_shard(shard, 'i')
    }

    /// Of all shards.
    pub(crate) fn indexes(&self) -> Vec<String> {
        (0..self.shards).map(|shard| self.index(shard)).collect()
    }

    /// What the keys of a shard's records of that kind begin with.
    pub(crate) fn records(&self, shard: u16, kind: Kind) -> String {
        let mut key = self.in_shard(shard, kind.letter());
        key.push(':');
        key
    }

    pub(crate) fn record(&self, shard: u16, kind: Kind, id: &str) -> String {
        self.records(shard, kind) + id
    }

    /// As [`record`](Self::record), made at once: each token read needs it.
    pub(crate) fn connection(&self, key: &ConnectionKey) -> String {
        let mut name = self.records(self.shard_of(&key.tenant, &key.owner), Kind::Connection);
        BASE64_URL_SAFE_NO_PAD.encode_string(key.digest(), &mut name);
        name
    }

    /// Where the flows of an owner are counted.
    pub(crate) fn places(&self, tenant: &TenantId, owner: &Owner) -> String {
        let shard = self.shard_of(tenant, owner);
        format!("{}:{}", self.in_shard(shard, 'p'), owner_group(tenant, owner))
    }

    /// The braces make the cluster put all keys of a shard on one node.
    fn in_shard(&self, shard: u16, what: char) -> String {
        // With room for an id behind it.
        let mut key = String::with_capacity(self.prefix.len() + 16 + ID);
        // Writing to a string does not fail.
        let _ = write!(key, "{{{}:{shard}}}:{what}", self.prefix);
        key
    }

    pub(crate) fn shard_of(&self, tenant: &TenantId, owner: &Owner) -> u16 {
        self.shard(digest("shard of owner", &owner_parts(tenant, owner)))
    }

    pub(crate) fn shard_of_tenant(&self, tenant: &TenantId) -> u16 {
        self.shard(digest("shard of tenant", &[tenant.as_str()]))
    }

    pub(crate) fn shard_of_scope(&self, scope: &KeyScope) -> u16 {
        self.shard(scope_digest(scope))
    }

    fn shard(&self, digest: [u8; 32]) -> u16 {
        let [high, low, ..] = digest;
        // 65536 values over at most 1024 shards: the first few get 1.6 % more, which is nothing.
        u16::from_be_bytes([high, low]) % self.shards
    }
}

pub(crate) fn connection_id(key: &ConnectionKey) -> String {
    text(&key.digest())
}

pub(crate) fn owed_id(key: &ConnectionKey, id: RevocationId) -> String {
    connection_id(key) + &text(id.as_bytes())
}

pub(crate) fn connector_id(tenant: &TenantId, id: &ConnectorId) -> String {
    text(&digest("connector", &[tenant.as_str(), id.as_str()]))
}

pub(crate) fn key_id(scope: &KeyScope) -> String {
    text(&scope_digest(scope))
}

/// Index entries: a letter, what they are sorted and found by, and the id of the record.
pub(crate) mod entry {
    use super::{ConnectionKey, ConnectorId, KeyScope, Owner, RevocationId, TenantId, Timestamp};
    use super::{connection_id, connector_id, group, key_id, moment, owed_id, owner_group};

    pub(crate) const DUE: &str = "d";
    pub(crate) const KEYS: &str = "k";
    pub(crate) const OWED_DUE: &str = "r";

    pub(crate) fn of_tenant(tenant: &TenantId, connector: Option<&ConnectorId>) -> String {
        let connector = connector.map(|id| group("connector", &[id.as_str()])).unwrap_or_default();
        format!("t{}{connector}", group("tenant", &[tenant.as_str()]))
    }

    pub(crate) fn of_owner(tenant: &TenantId, owner: &Owner, connector: Option<&ConnectorId>) -> String {
        let connector = connector.map(|id| group("connector", &[id.as_str()])).unwrap_or_default();
        format!("o{}{connector}", owner_group(tenant, owner))
    }

    /// Both listings that a connection is in.
    pub(crate) fn connection(key: &ConnectionKey) -> Vec<String> {
        let (id, connector) = (connection_id(key), Some(&key.connector));
        vec![of_tenant(&key.tenant, connector) + &id, of_owner(&key.tenant, &key.owner, connector) + &id]
    }

    pub(crate) fn due(at: Timestamp, key: &ConnectionKey) -> String {
        format!("{DUE}{}{}", moment(at), connection_id(key))
    }

    pub(crate) fn owed_of(tenant: &TenantId, owner: Option<&Owner>) -> String {
        let owner = owner.map(|owner| owner_group(tenant, owner)).unwrap_or_default();
        format!("u{}{owner}", group("tenant", &[tenant.as_str()]))
    }

    pub(crate) fn owed(key: &ConnectionKey, id: RevocationId) -> Vec<String> {
        vec![owed_of(&key.tenant, Some(&key.owner)) + &owed_id(key, id)]
    }

    pub(crate) fn owed_due(at: Timestamp, key: &ConnectionKey, id: RevocationId) -> String {
        format!("{OWED_DUE}{}{}", moment(at), owed_id(key, id))
    }

    pub(crate) fn connectors_of(tenant: &TenantId) -> String {
        format!("c{}", group("tenant", &[tenant.as_str()]))
    }

    pub(crate) fn connector(tenant: &TenantId, id: &ConnectorId) -> Vec<String> {
        vec![connectors_of(tenant) + &connector_id(tenant, id)]
    }

    /// What the entry of the connector of that name begins with.
    pub(crate) fn connector_name(tenant: &TenantId, name: &str) -> String {
        format!("n{}", super::text(&super::digest("connector name", &[tenant.as_str(), name])))
    }

    pub(crate) fn key(scope: &KeyScope) -> Vec<String> {
        vec![format!("{KEYS}{}", key_id(scope))]
    }
}

/// A flow's place among its owner's: sorts by expiry, tells the connector, ends with the flow's id.
pub(crate) fn place(expires_at: Timestamp, connector: &ConnectorId, state_hash: &[u8; 32]) -> String {
    format!("{}{}{}", moment(expires_at), group("connector", &[connector.as_str()]), text(state_hash))
}

/// The same of one that was taken. There is no other record of that.
pub(crate) fn taken_place(expires_at: Timestamp, connector: &ConnectorId, state_hash: &[u8; 32]) -> String {
    format!("{}{}+{}", moment(expires_at), group("connector", &[connector.as_str()]), text(state_hash))
}

/// At which character of a place its connector stands, counted from 1, and how that is spelt there: nothing for any.
pub(crate) fn connector_in_place(connector: Option<&ConnectorId>) -> (usize, String) {
    (MOMENT + 1, connector.map(|id| group("connector", &[id.as_str()])).unwrap_or_default())
}

const MOMENT: usize = 16;

/// A time in sixteen characters that sort as the times do, earliest first.
pub(crate) fn moment(at: Timestamp) -> String {
    format!("{:016x}", at.as_millis().cast_unsigned() ^ (1 << 63))
}

fn owner_parts<'a>(tenant: &'a TenantId, owner: &'a Owner) -> Vec<&'a str> {
    match owner {
        Owner::Shared => vec![tenant.as_str()],
        Owner::User(user) => vec![tenant.as_str(), user.as_str()],
    }
}

fn owner_group(tenant: &TenantId, owner: &Owner) -> String {
    group("owner", &owner_parts(tenant, owner))
}

fn scope_digest(scope: &KeyScope) -> [u8; 32] {
    match scope {
        KeyScope::Tenant(tenant) => digest("key of tenant", &[tenant.as_str()]),
        KeyScope::User(tenant, user) => digest("key of user", &[tenant.as_str(), user.as_str()]),
        KeyScope::Vault => digest("key of vault", &[]),
    }
}

/// Half a digest: enough to keep groups apart, and an index holds very many of them.
fn group(what: &str, parts: &[&str]) -> String {
    text(&digest(what, parts)[..16])
}

fn digest(what: &str, parts: &[&str]) -> [u8; 32] {
    static CONTEXT: LazyLock<ContextKey> =
        LazyLock::new(|| hash_derive_key_context("token-vault 2026 redis names v1"));
    let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT);
    // One call of the hasher, for all parts.
    let mut input = Vec::with_capacity(192);
    for part in [what].iter().chain(parts) {
        input.extend_from_slice(&(part.len() as u64).to_le_bytes());
        input.extend_from_slice(part.as_bytes());
    }
    hasher.update(&input).finalize().into()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The digest that the id of a connection spells.
pub(crate) fn id_digest(id: &[u8]) -> Option<[u8; 32]> {
    BASE64_URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()
}
