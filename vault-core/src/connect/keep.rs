use std::sync::Arc;

use super::judge::New;
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

/// A connection that is written, or about to be.
pub(super) struct Kept {
    pub(super) key: ConnectionKey,
    pub(super) incarnation: Incarnation,
}

/// Writes the connection where nothing stands. Whether nothing did.
pub(super) async fn insert(
    core: &Core,
    registered: &Registered,
    kept: &Kept,
    new: &New,
) -> Result<bool, Error> {
    core.confirm_data_key(&kept.key, kept.incarnation).await?;
    let record = build(core, registered.provider.spec(), kept, new).await?;
    Ok(core.put(&record, Condition::Absent, None).await? == Put::Written)
}

/// Writes the connection in the place of another, which goes in the same step; if the account is not to replace that
/// one's, in a slot of its own. `false` when the other is gone: the user has disconnected.
pub(super) async fn replace(
    core: &Arc<Core>,
    registered: &Registered,
    kept: &mut Kept,
    new: &New,
) -> Result<bool, Error> {
    let asked = kept.key.slot.clone();
    for _ in 0..TRIES {
        let there = load_leniently(core, &kept.key).await?;
        let mut owed = None;
        if let Some(Old::Opened(old)) = &there
            && let (Some(before), Some(now)) = (&old.tokens.grant.account, &new.summary.account)
            && *before != now.id
        {
            match registered.registration.policy {
                AccountPolicy::NewSlot if kept.key.slot.as_str() != now.id => {
                    kept.key.slot = Slot::new(&now.id)?;
                    continue;
                }
                AccountPolicy::NewSlot | AccountPolicy::Reject => {
                    let message = format!("{} belongs to another account", kept.key);
                    return Err(Error::new(ErrorKind::AccountMismatch, message));
                }
                AccountPolicy::Replace => owed = revocation::owe(core, old, Some(registered)).await?,
            }
        }
        let condition = match &there {
            Some(old) => Condition::Version(old.version()),
            None if kept.key.slot == asked => return Ok(false),
            None => Condition::Absent,
        };
        let record = build(core, registered.provider.spec(), kept, new).await?;
        if core.put(&record, condition, owed.as_ref()).await? == Put::Written {
            if let Some(owed) = owed {
                revocation::settle_soon(core, owed);
            }
            return Ok(true);
        }
    }
    Err(Error::new(ErrorKind::Contended, format!("{} kept changing", kept.key)))
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

async fn build(core: &Core, spec: &Spec, kept: &Kept, new: &New) -> Result<ConnectionRecord, Error> {
    let (Kept { key, incarnation }, New { tokens, summary }) = (kept, new);
    let now = core.now();
    let expires_at = tokens.default_access().and_then(|access| access.expires_at);
    let mut record = ConnectionRecord {
        key: key.clone(),
        version: Version::random(&*core.entropy)?,
        incarnation: *incarnation,
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: schedule::due_at(core, spec, tokens, now)?,
        expires_at,
        created_at: now,
        updated_at: now,
        summary: core.seal_summary(key, *incarnation, summary).await?,
        credential: bytes::Bytes::new(),
        refresh: Vec::new(),
    };
    core.seal_tokens(&mut record, tokens).await?;
    Ok(record)
}
