//! What stands already where a connection is to go, and what becomes of it.

use crate::connection::Loaded;
use crate::connector::{AccountPolicy, Registered};
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Slot};
use crate::oauth::Account;
use crate::revocation;
use crate::store::{RevocationRecord, Version};

/// A record that no longer opens must not keep the user from connecting again.
pub(super) enum Standing {
    Opened(Box<Loaded>),
    Sealed(Version),
}

/// What becomes of it.
pub(super) enum Fate {
    /// The revocation is then owed for it.
    Goes(Option<RevocationRecord>),
    /// It is another account's; the new one has this slot.
    Stays(Slot),
}

impl Standing {
    pub(super) async fn load(core: &Core, key: &ConnectionKey) -> Result<Option<Self>, Error> {
        let Some(record) = core.stores.connections.get(key).await? else {
            return Ok(None);
        };
        let version = record.version;
        match core.open_record(key, record).await {
            Ok(loaded) => Ok(Some(Self::Opened(Box::new(loaded)))),
            Err(error) if error.is_retryable() => Err(error),
            Err(_) => Ok(Some(Self::Sealed(version))),
        }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::Opened(loaded) => loaded.record.version,
            Self::Sealed(version) => *version,
        }
    }

    /// Beside what is to go to `key`, for that account if it is known.
    pub(super) async fn fate(
        &self,
        core: &Core,
        registered: &Registered,
        key: &ConnectionKey,
        account: Option<&Account>,
    ) -> Result<Fate, Error> {
        let Self::Opened(old) = self else { return Ok(Fate::Goes(None)) };
        let (Some(before), Some(now)) = (&old.tokens.grant.account, account) else {
            return Ok(Fate::Goes(None));
        };
        if *before == now.id {
            return Ok(Fate::Goes(None));
        }
        match registered.registration.policy {
            AccountPolicy::NewSlot if key.slot.as_str() != now.id => {
                Slot::new(&now.id).map(Fate::Stays).map_err(Error::from)
            }
            AccountPolicy::NewSlot | AccountPolicy::Reject => {
                let message = format!("{key} belongs to another account");
                Err(Error::new(ErrorKind::AccountMismatch, message))
            }
            AccountPolicy::Replace => revocation::owe(core, old, Some(registered)).await.map(Fate::Goes),
        }
    }
}
