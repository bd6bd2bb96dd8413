//! Records as bytes: one byte that names the form, then postcard.

use serde::{Deserialize, Serialize};
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, ConnectorId, Incarnation, Owner, RevocationId, Slot, TenantId};
use vault_core::store::{
    ConnectionRecord, ConnectionStatus, ConnectorRecord, FlowRecord, KeyRecord, KeyScope, ListedConnection,
    RevocationRecord, StoreError, StoreErrorKind, Version,
};

type Result<T> = std::result::Result<T, StoreError>;

/// The form that this version writes. A newer one is refused and left alone.
const FORM: u8 = 1;

/// What is stored is not what this crate writes.
pub(crate) const fn corrupt(what: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, what)
}

fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    postcard::to_extend(body, vec![FORM]).expect("plain values in growing memory")
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    match bytes {
        [FORM, body @ ..] => match postcard::take_from_bytes(body) {
            Ok((body, [])) => Ok(body),
            Ok(_) => Err(corrupt("a record with bytes after its end")),
            Err(error) => Err(corrupt("decoding a record").with_source(error)),
        },
        [form, ..] if *form > FORM => {
            Err(StoreError::new(StoreErrorKind::SchemaTooNew, "a record of a newer version of vault-redis"))
        }
        _ => Err(corrupt("not a record")),
    }
}

/// All of a connection but what listings must not show.
#[derive(Serialize, Deserialize)]
struct Connection<'a> {
    key: ConnectionKey,
    version: i64,
    incarnation: Incarnation,
    generation: u64,
    status: u8,
    due_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    summary: &'a [u8],
}

impl Connection<'_> {
    fn status(&self) -> Result<ConnectionStatus> {
        ConnectionStatus::from_code(self.status).ok_or(corrupt("unknown status"))
    }
}

pub(crate) fn from_connection(record: &ConnectionRecord) -> Vec<u8> {
    encode(&Connection {
        key: record.key.clone(),
        version: record.version.as_i64(),
        incarnation: record.incarnation,
        generation: record.generation,
        status: record.status.code(),
        due_at: record.due_at,
        expires_at: record.expires_at,
        created_at: record.created_at,
        updated_at: record.updated_at,
        summary: &record.summary,
    })
}

pub(crate) fn connection(record: &[u8], credential: Vec<u8>, refresh: Vec<u8>) -> Result<ConnectionRecord> {
    let body: Connection<'_> = decode(record)?;
    Ok(ConnectionRecord {
        version: Version::from_i64(body.version),
        incarnation: body.incarnation,
        generation: body.generation,
        status: body.status()?,
        due_at: body.due_at,
        expires_at: body.expires_at,
        created_at: body.created_at,
        updated_at: body.updated_at,
        summary: body.summary.to_vec(),
        key: body.key,
        credential: credential.into(),
        refresh,
    })
}

pub(crate) fn listed_connection(record: &[u8]) -> Result<ListedConnection> {
    connection(record, Vec::new(), Vec::new()).map(ListedConnection::from)
}

pub(crate) fn connection_key(record: &[u8]) -> Result<ConnectionKey> {
    decode::<Connection<'_>>(record).map(|body| body.key)
}

#[derive(Serialize, Deserialize)]
struct Owed<'a> {
    id: RevocationId,
    key: ConnectionKey,
    incarnation: Incarnation,
    version: i64,
    due_at: Timestamp,
    attempts: u32,
    created_at: Timestamp,
    sealed: &'a [u8],
}

pub(crate) fn from_revocation(record: &RevocationRecord) -> Vec<u8> {
    encode(&Owed {
        id: record.id,
        key: record.key.clone(),
        incarnation: record.incarnation,
        version: record.version.as_i64(),
        due_at: record.due_at,
        attempts: record.attempts,
        created_at: record.created_at,
        sealed: &record.sealed,
    })
}

pub(crate) fn revocation(record: &[u8]) -> Result<RevocationRecord> {
    let body: Owed<'_> = decode(record)?;
    Ok(RevocationRecord {
        id: body.id,
        key: body.key,
        incarnation: body.incarnation,
        version: Version::from_i64(body.version),
        due_at: body.due_at,
        attempts: body.attempts,
        created_at: body.created_at,
        sealed: body.sealed.to_vec(),
    })
}

#[derive(Serialize, Deserialize)]
struct Connector<'a> {
    tenant: TenantId,
    id: ConnectorId,
    name: &'a str,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    sealed: &'a [u8],
}

pub(crate) fn from_connector(record: &ConnectorRecord) -> Vec<u8> {
    encode(&Connector {
        tenant: record.tenant.clone(),
        id: record.id.clone(),
        name: &record.name,
        version: record.version.as_i64(),
        created_at: record.created_at,
        updated_at: record.updated_at,
        sealed: &record.sealed,
    })
}

pub(crate) fn connector(record: &[u8]) -> Result<ConnectorRecord> {
    let body: Connector<'_> = decode(record)?;
    Ok(ConnectorRecord {
        tenant: body.tenant,
        id: body.id,
        name: body.name.to_owned(),
        version: Version::from_i64(body.version),
        created_at: body.created_at,
        updated_at: body.updated_at,
        sealed: body.sealed.to_vec(),
    })
}

#[derive(Serialize, Deserialize)]
struct Flow<'a> {
    state_hash: [u8; 32],
    tenant: TenantId,
    owner: Owner,
    connector: ConnectorId,
    slot: Slot,
    created_at: Timestamp,
    expires_at: Timestamp,
    sealed: &'a [u8],
}

pub(crate) fn from_flow(record: &FlowRecord) -> Vec<u8> {
    encode(&Flow {
        state_hash: record.state_hash,
        tenant: record.tenant.clone(),
        owner: record.owner.clone(),
        connector: record.connector.clone(),
        slot: record.slot.clone(),
        created_at: record.created_at,
        expires_at: record.expires_at,
        sealed: &record.sealed,
    })
}

pub(crate) fn flow(record: &[u8]) -> Result<FlowRecord> {
    let body: Flow<'_> = decode(record)?;
    Ok(FlowRecord {
        state_hash: body.state_hash,
        tenant: body.tenant,
        owner: body.owner,
        connector: body.connector,
        slot: body.slot,
        created_at: body.created_at,
        expires_at: body.expires_at,
        sealed: body.sealed.to_vec(),
    })
}

#[derive(Serialize, Deserialize)]
struct Key<'a> {
    scope: KeyScope,
    version: i64,
    wrapped: &'a [u8],
}

pub(crate) fn from_key(record: &KeyRecord) -> Vec<u8> {
    encode(&Key { scope: record.scope.clone(), version: record.version.as_i64(), wrapped: &record.wrapped })
}

pub(crate) fn key(record: &[u8]) -> Result<KeyRecord> {
    let body: Key<'_> = decode(record)?;
    Ok(KeyRecord {
        scope: body.scope,
        version: Version::from_i64(body.version),
        wrapped: body.wrapped.to_vec(),
    })
}
