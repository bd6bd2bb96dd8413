//! Tokens that a store does not take, kept sealed elsewhere until it does: so that a process may end meanwhile.

use serde::{Deserialize, Serialize};

use super::decide::Spent;
use super::keep::{Issued, Kept, end_orphan};
use super::spill::{EXTENSION, Spilled};
use crate::clock::Timestamp;
use crate::connection::Credential;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::ConnectionKey;
use crate::seal::{Context, Purpose};

/// The format that is written. Another needs another number.
const FORM: u8 = 1;
/// Conflicting writes before an entry is left for the next time.
const TRIES: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: ConnectionKey,
    spent: Spent,
    due_at: Option<Timestamp>,
    sealed: Vec<u8>,
}

impl Entry {
    fn context(&self) -> Context<'_> {
        Context {
            incarnation: Some(self.spent.incarnation),
            generation: Some(self.spent.generation),
            subject: Some(self.spent.attempt.as_bytes()),
            ..Context::of_connection(Purpose::Spill, &self.key)
        }
    }

    async fn seal(core: &Core, issued: &Issued) -> Result<Spilled, Error> {
        let Issued { key, spent, due_at, tokens, .. } = issued;
        let mut entry = Self { key: key.clone(), spent: *spent, due_at: *due_at, sealed: Vec::new() };
        let plain = Credential::encode(tokens)?;
        entry.sealed = core.sealer.seal(&entry.context(), plain.expose_secret()).await?;
        let name = format!("{:032x}.{EXTENSION}", u128::from_be_bytes(*spent.attempt.as_bytes()));
        let bytes = postcard::to_extend(&entry, vec![FORM]).map_err(|error| {
            Error::new(ErrorKind::CorruptRecord, "tokens to spill cannot be encoded").with_source(error)
        })?;
        Ok(Spilled { name, bytes })
    }

    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let corrupt = || Error::new(ErrorKind::CorruptRecord, "a spilled entry is not ours");
        let rest = bytes.strip_prefix(&[FORM]).ok_or_else(corrupt)?;
        postcard::from_bytes(rest).map_err(|error| corrupt().with_source(error))
    }

    async fn open(self, core: &Core) -> Result<Issued, Error> {
        let plain = core.sealer.open(&self.context(), &self.sealed).await?;
        let tokens = Credential::from_bytes(plain.expose_secret())?.into_tokens();
        let Self { key, spent, due_at, .. } = self;
        Ok(Issued { key, spent, tokens, due_at, release: None })
    }
}

/// Spills what the store does not take. The name of the entry, if there is one now.
pub(super) async fn put(core: &Core, issued: &Issued) -> Option<String> {
    let spill = core.spill.as_ref()?;
    let spilled = match Entry::seal(core, issued).await {
        Ok(spilled) => spilled,
        Err(error) => {
            tracing::error!(%error, "refreshed tokens can neither be stored nor spilled");
            return None;
        }
    };
    if let Err(error) = spill.put(&spilled).await {
        tracing::error!(%error, "refreshed tokens can neither be stored nor spilled");
        return None;
    }
    Some(spilled.name)
}

/// What was spilled is in the store now. An entry that stays is brought in once more, which changes nothing.
pub(super) async fn remove(core: &Core, name: &str) {
    if let Some(spill) = &core.spill
        && let Err(error) = spill.remove(name).await
    {
        tracing::warn!(%error, "a spilled entry was not removed");
    }
}

/// Brings what was spilled into the store. What cannot be brought in stays where it is.
pub(crate) async fn import(core: &Core) {
    bring_in(core, None).await;
}

/// The same for one connection.
pub(super) async fn import_of(core: &Core, key: &ConnectionKey) {
    bring_in(core, Some(key)).await;
}

async fn bring_in(core: &Core, only: Option<&ConnectionKey>) {
    let Some(spill) = &core.spill else { return };
    let entries = match spill.list().await {
        Ok(entries) => entries,
        Err(error) => return tracing::error!(%error, "spilled tokens cannot be read"),
    };
    for Spilled { name, bytes } in entries {
        let brought = match Entry::parse(&bytes) {
            Ok(entry) if only.is_some_and(|key| *key != entry.key) => continue,
            Ok(entry) => bring_in_one(core, entry).await,
            Err(error) => Err(error),
        };
        match brought {
            Ok(()) => remove(core, &name).await,
            Err(error) => tracing::warn!(%error, entry = name, "spilled tokens stay where they are"),
        }
    }
}

async fn bring_in_one(core: &Core, entry: Entry) -> Result<(), Error> {
    let issued = entry.open(core).await?;
    for _ in 0..TRIES {
        if let Some(kept) = issued.try_keep(core, None).await? {
            issued.report(core, &kept).await?;
            if matches!(kept, Kept::Orphan(None)) {
                match core.registered(&issued.key.tenant, &issued.key.connector).await {
                    Ok(registered) => end_orphan(core, &registered, &issued).await,
                    Err(error) => tracing::warn!(%error, "spilled tokens of nobody are not revoked"),
                }
            }
            if !matches!(kept, Kept::Applied(_)) {
                core.report(&Event::SpillImported { key: issued.key.clone() });
            }
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Contended, format!("{} kept changing", issued.key)))
}
