use std::sync::Arc;

use super::complete::{New, cancelled};
use super::flow::Flow;
use crate::connection::Loaded;
use crate::connector::{AccountPolicy, Registered};
use crate::core::Core;
use crate::disconnect;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation, Slot};
use crate::provider::spec::Spec;
use crate::refresh::schedule;
use crate::store::{Condition, ConnectionRecord, ConnectionStatus, Put, RevocationRecord, Version};

const TRIES: usize = 8;

/// Writes the connection. What stood in its place goes in the same step.
pub(super) async fn keep(
    core: &Arc<Core>,
    registered: &Registered,
    flow: &Flow,
    mut key: ConnectionKey,
    new: &New,
) -> Result<ConnectionKey, Error> {
    let asked = key.slot.clone();
    for _ in 0..TRIES {
        let old = load_leniently(core, &key).await?;
        if flow.replaces.is_some() && old.is_none() && key.slot == asked {
            return Err(cancelled("the user disconnected while at the provider"));
        }
        let mut owed = None;
        if let Some(Old::Opened(old)) = &old
            && let (Some(before), Some(now)) = (&old.tokens.grant.account, &new.summary.account)
            && *before != now.id
        {
            match registered.registration.policy {
                AccountPolicy::NewSlot if key.slot.as_str() != now.id => {
                    key.slot = Slot::new(&now.id)?;
                    continue;
                }
                AccountPolicy::NewSlot | AccountPolicy::Reject => {
                    let message = format!("{key} belongs to another account");
                    return Err(Error::new(ErrorKind::AccountMismatch, message));
                }
                AccountPolicy::Replace if disconnect::shares_grant(core, old).await? => {}
                AccountPolicy::Replace => owed = disconnect::owe(core, old, Some(registered)).await?,
            }
        }
        let record = build(core, registered.provider.spec(), &key, new).await?;
        let condition = old.as_ref().map_or(Condition::Absent, |old| Condition::Version(old.version()));
        if write(core, &record, condition, owed.as_ref()).await? {
            if let Some(owed) = owed {
                disconnect::settle_soon(core, owed);
            }
            return Ok(key);
        }
    }
    Err(Error::new(ErrorKind::Contended, format!("{key} kept changing")))
}

/// Whether the record was written. A fault may have struck after the write: what is there then decides.
async fn write(
    core: &Core,
    record: &ConnectionRecord,
    condition: Condition,
    owed: Option<&RevocationRecord>,
) -> Result<bool, Error> {
    match core.stores.connections.put(record, condition, owed).await {
        Ok(put) => Ok(put == Put::Written),
        Err(fault) => match core.stores.connections.get(&record.key).await {
            Ok(Some(stored)) if stored.version == record.version => Ok(true),
            _ => Err(fault.into()),
        },
    }
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
    match core.open_record(record).await {
        Ok(loaded) => Ok(Some(Old::Opened(Box::new(loaded)))),
        Err(error) if error.is_retryable() => Err(error),
        Err(_) => Ok(Some(Old::Sealed(version))),
    }
}

async fn build(core: &Core, spec: &Spec, key: &ConnectionKey, new: &New) -> Result<ConnectionRecord, Error> {
    let New { tokens, summary } = new;
    let incarnation = Incarnation::random(&*core.entropy)?;
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
        credential: Vec::new(),
        refresh: Vec::new(),
    };
    core.seal_tokens(&mut record, tokens).await?;
    Ok(record)
}
