//! Disconnect: local at once, at the provider at least once.
//!
//! One write takes the connection out of reach and records what is owed to the provider. The [revocation](crate::revocation)
//! itself may fail and be tried again by maintenance; nothing about it can bring the connection back.

use std::sync::Arc;

use crate::core::Core;
use crate::ending::Outcome;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::{ConnectionKey, Incarnation};
use crate::revocation::{owe, settle, settle_soon};
use crate::store::{ConnectionRecord, Put, RevocationRecord, Version};

const TRIES: usize = 8;

/// What a disconnect did. Locally the connection is gone in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnected {
    /// There was nothing to disconnect.
    NotConnected,
    /// The provider could not be reached or did not agree yet; maintenance keeps trying.
    Pending,
    /// The provider confirmed that the tokens are dead.
    Revoked,
    /// The grant lives on: another connection of the same owner shares it, and revoking would end that one too. Where that
    /// is not certain, since an account is not known, an [`Event::RevocationAbandoned`] tells so.
    StillShared,
    /// This provider has no way to revoke. The user can remove the app in their account there.
    Unsupported,
}

impl From<Outcome> for Disconnected {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pending => Self::Pending,
            Outcome::Revoked => Self::Revoked,
            Outcome::MaybeShared | Outcome::StillShared => Self::StillShared,
            Outcome::Unsupported => Self::Unsupported,
        }
    }
}

pub(crate) async fn disconnect(core: &Arc<Core>, key: ConnectionKey) -> Result<Disconnected, Error> {
    let outcome = end_connection(core, key).await?;
    Ok(outcome.map_or(Disconnected::NotConnected, Disconnected::from))
}

/// Answers what has become of its grant; `None` if there was nothing to disconnect.
pub(crate) async fn end_connection(core: &Arc<Core>, key: ConnectionKey) -> Result<Option<Outcome>, Error> {
    let task = Arc::clone(core);
    core.detached(async move {
        // First the flows: one that completes after this finds its connection gone, and stops.
        task.stores.flows.cancel(&key.tenant, &key.owner, Some(&key.connector)).await?;
        let removed = take_away(&task, &key).await?;
        if matches!(removed, Removed::Nothing) {
            return Ok(None);
        }
        let audited = task.audit(Event::Disconnected { key }).await;
        // Whatever the audit trail has: what is owed is paid.
        let outcome = match removed {
            Removed::Owing(owed) => settle(&task, *owed).await.outcome,
            Removed::Nothing | Removed::Unrevocable => Outcome::Unsupported,
        };
        audited.map(|()| Some(outcome))
    })
    .await
}

/// What taking a connection away came to.
pub(crate) enum Removed {
    Nothing,
    /// It is gone, and this is owed for it now.
    Owing(Box<RevocationRecord>),
    /// It is gone, and its grant lives on: its tokens do not open, or its connector is gone.
    Unrevocable,
}

/// Takes the connection out of reach. That it did, the caller reports.
pub(crate) async fn take_away(core: &Core, key: &ConnectionKey) -> Result<Removed, Error> {
    let removed = remove(core, key).await?;
    if matches!(removed, Removed::Unrevocable) {
        core.report(&Event::RevocationAbandoned { key: key.clone(), attempts: 0 });
    }
    Ok(removed)
}

async fn remove(core: &Core, key: &ConnectionKey) -> Result<Removed, Error> {
    for _ in 0..TRIES {
        let Some(record) = core.stores.connections.get(key).await? else {
            return Ok(Removed::Nothing);
        };
        let version = record.version;
        let owed = owed_for(core, key, record).await?;
        match delete(core, key, version, owed.as_ref()).await? {
            Put::Written => {
                return Ok(owed.map_or(Removed::Unrevocable, |owed| Removed::Owing(Box::new(owed))));
            }
            Put::Conflict(None) => return Ok(Removed::Nothing),
            Put::Conflict(Some(_)) => {}
        }
    }
    Err(contended(key))
}

/// Removes what a connect has just stored and should not have, if it is still there. The caller has its tokens in hand, unless
/// somebody has refreshed them already: answers whether a revocation is owed for that, as it is if the user `disconnected`.
pub(crate) async fn withdraw(
    core: &Arc<Core>,
    key: &ConnectionKey,
    incarnation: Incarnation,
    disconnected: bool,
) -> Result<bool, Error> {
    for _ in 0..TRIES {
        let record = match core.stores.connections.get(key).await? {
            Some(record) if record.incarnation == incarnation => record,
            _ => return Ok(false),
        };
        let version = record.version;
        let owed =
            if disconnected && record.generation > 1 { owed_for(core, key, record).await? } else { None };
        if delete(core, key, version, owed.as_ref()).await? == Put::Written {
            let is_owed = owed.is_some();
            if let Some(owed) = owed {
                settle_soon(core, owed);
            }
            return Ok(is_owed);
        }
    }
    Err(contended(key))
}

/// What cannot be opened cannot be revoked, but it can and must be removed.
async fn owed_for(
    core: &Core,
    key: &ConnectionKey,
    record: ConnectionRecord,
) -> Result<Option<RevocationRecord>, Error> {
    match core.open_record(key, record).await {
        Ok(loaded) => match owe(core, &loaded, None).await {
            // The user is being erased, and nothing can be kept for later.
            Err(error) if *error.kind() == ErrorKind::Shredded => Ok(None),
            owed => owed,
        },
        Err(error) if error.is_retryable() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "disconnecting a connection that does not open");
            Ok(None)
        }
    }
}

fn contended(key: &ConnectionKey) -> Error {
    Error::new(ErrorKind::Contended, format!("{key} kept changing"))
}

/// When the acknowledgement is lost, a look at the store tells: gone is gone.
async fn delete(
    core: &Core,
    key: &ConnectionKey,
    version: Version,
    owed: Option<&RevocationRecord>,
) -> Result<Put, Error> {
    let error = match core.stores.connections.delete(key, version, owed).await {
        Err(error) if error.is_retryable() => error,
        done => return Ok(done?),
    };
    match core.stores.connections.get(key).await {
        Ok(None) => Ok(Put::Written),
        _ => Err(error.into()),
    }
}
