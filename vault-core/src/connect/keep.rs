use std::sync::Arc;

use super::complete::New;
use crate::connection::Loaded;
use crate::connector::{AccountPolicy, Registered};
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation, Slot};
use crate::provider::spec::Spec;
use crate::refresh::schedule;
use crate::revocation;
use crate::store::{Condition, ConnectionRecord, ConnectionStatus, Put, Version};

const TRIES: usize = 8;

/// A connection that was written.
pub(super) struct Kept {
    pub(super) key: ConnectionKey,
    pub(super) incarnation: Incarnation,
}

/// Writes the connection. What stood in its place goes in the same step.
pub(super) async fn keep(
    core: &Arc<Core>,
    registered: &Registered,
    mut key: ConnectionKey,
    new: &New,
) -> Result<Kept, Error> {
    let incarnation = Incarnation::random(&*core.entropy)?;
    core.confirm_data_key(&key, incarnation).await?;
    // Mostly nothing stands there, and the write finds out for nothing.
    let mut there = None;
    for _ in 0..TRIES {
        let mut owed = None;
        if let Some(Old::Opened(old)) = &there
            && let (Some(before), Some(now)) = (&old.tokens.grant.account, &new.summary.account)
            && *before != now.id
        {
            match registered.registration.policy {
                AccountPolicy::NewSlot if key.slot.as_str() != now.id => {
                    key.slot = Slot::new(&now.id)?;
                    there = None;
                    continue;
                }
                AccountPolicy::NewSlot | AccountPolicy::Reject => {
                    let message = format!("{key} belongs to another account");
                    return Err(Error::new(ErrorKind::AccountMismatch, message));
                }
                AccountPolicy::Replace => owed = revocation::owe(core, old, Some(registered)).await?,
            }
        }
        let record = build(core, registered.provider.spec(), &key, incarnation, new).await?;
        let condition = there.as_ref().map_or(Condition::Absent, |old| Condition::Version(old.version()));
        match core.put(&record, condition, owed.as_ref()).await? {
            Put::Written => {
                if let Some(owed) = owed {
                    revocation::settle_soon(core, owed);
                }
                return Ok(Kept { key, incarnation: record.incarnation });
            }
            Put::Conflict(None) => there = None,
            Put::Conflict(Some(_)) => there = load_leniently(core, &key).await?,
        }
    }
    Err(Error::new(ErrorKind::Contended, format!("{key} kept changing")))
}

/// What stands in the slot. A record that no longer opens must not keep the user from connecting again.
enum Old {
    Opened(Box<Loaded>),
    Sealed(Version),
}

impl Old {
    fn version(&self) -> Version {
        match self {
            Self::Opened(loaded) => loaded.record.version,
            Self::Sealed(version) => *version,
        }
    }
}

async fn load_leniently(core: &Core, key: &ConnectionKey) -> Result<Option<Old>, Error> {
    let Some(record) = core.stores.connections.get(key).await? else {
        return Ok(None);
    };
    let version = record.version;
    match core.open_record(key, record).await {
        Ok(loaded) => Ok(Some(Old::Opened(Box::new(loaded)))),
        Err(error) if error.is_retryable() => Err(error),
        Err(_) => Ok(Some(Old::Sealed(version))),
    }
}

async fn build(
    core: &Core,
    spec: &Spec,
    key: &ConnectionKey,
    incarnation: Incarnation,
    new: &New,
) -> Result<ConnectionRecord, Error> {
    let New { tokens, summary } = new;
    let now = core.now();
    let expires_at = tokens.default_access().and_then(|access| access.expires_at);
    let mut record = ConnectionRecord {
        key: key.clone(),
        version: Version::random(&*core.entropy)?,
        incarnation,
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: schedule::due_at(core, spec, tokens, now)?,
        expires_at,
        created_at: now,
        updated_at: now,
        summary: core.seal_summary(key, incarnation, summary).await?,
        credential: bytes::Bytes::new(),
        refresh: Vec::new(),
    };
    core.seal_tokens(&mut record, tokens).await?;
    Ok(record)
}
