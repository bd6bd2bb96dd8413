//! Tokens that a store does not take, kept sealed elsewhere until it does: so that a process may end meanwhile.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::decide::Spent;
use super::persist::{Issued, Kept};
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

/// A place of last resort for refreshed tokens while the store is down: they are put there, sealed, before anybody gets
/// them, and brought into the store by whichever process next starts or runs maintenance on the same place.
///
/// # Contract
/// What `put` acknowledged survives the process, and the machine if it is to be of use there. Entries are opaque, a few
/// KiB each, and as many as refreshes fall into one outage of the store.
#[async_trait]
pub trait Spill: fmt::Debug + Send + Sync + 'static {
    /// Keeps an entry, in place of one of the same name.
    async fn put(&self, entry: &Spilled) -> io::Result<()>;

    /// All entries.
    async fn list(&self) -> io::Result<Vec<Spilled>>;

    /// Removes an entry; absent is fine.
    async fn remove(&self, name: &str) -> io::Result<()>;
}

/// One entry of a [`Spill`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "implementations of Spill make it")]
pub struct Spilled {
    /// Names it: letters, digits and a dot.
    pub name: String,
    /// Sealed tokens and where they belong.
    pub bytes: Vec<u8>,
}

/// A [`Spill`] in a folder of the file system, one file an entry, each synced to disk.
#[derive(Debug, Clone)]
pub struct SpillFolder {
    path: Arc<Path>,
}

const EXTENSION: &str = "spill";

impl SpillFolder {
    /// In that folder, which is made when it is first needed. Several processes may share it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into() }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = Arc::clone(&self.path);
        tokio::task::spawn_blocking(move || work(&path)).await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl Spill for SpillFolder {
    async fn put(&self, entry: &Spilled) -> io::Result<()> {
        let entry = entry.clone();
        self.blocking(move |folder| {
            use io::Write as _;
            std::fs::create_dir_all(folder)?;
            let (partial, whole) = (folder.join(format!("{}.part", entry.name)), folder.join(&entry.name));
            let mut file = std::fs::File::create(&partial)?;
            file.write_all(&entry.bytes)?;
            file.sync_all()?;
            std::fs::rename(partial, whole)?;
            // The name lives in the folder.
            std::fs::File::open(folder)?.sync_all()
        })
        .await
    }

    async fn list(&self) -> io::Result<Vec<Spilled>> {
        self.blocking(|folder| {
            let files = match std::fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                files => files?,
            };
            let mut entries = Vec::new();
            for file in files {
                let path = file?.path();
                let name = path.file_name().and_then(|name| name.to_str());
                let Some(name) = name.filter(|_| path.extension().is_some_and(|found| found == EXTENSION))
                else {
                    continue;
                };
                match std::fs::read(&path) {
                    Ok(bytes) => entries.push(Spilled { name: name.to_owned(), bytes }),
                    // Another process has just brought it in.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        })
        .await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.blocking(move |folder| match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        })
        .await
    }
}

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
        let Issued { key, spent, due_at, tokens } = issued;
        let mut entry = Self { key: key.clone(), spent: *spent, due_at: *due_at, sealed: Vec::new() };
        let plain = Credential::encode(tokens)?;
        entry.sealed = core.sealer.seal(&entry.context(), plain.expose_secret()).await?;
        let name = format!("{:032x}.{EXTENSION}", u128::from_be_bytes(*spent.attempt.as_bytes()));
        let bytes = postcard::to_extend(&entry, vec![FORM]).map_err(|error| {
            Error::new(ErrorKind::CorruptRecord, "tokens to spill cannot be encoded").with_source(error)
        })?;
        Ok(Spilled { name, bytes })
    }

    async fn open(core: &Core, spilled: &Spilled) -> Result<Issued, Error> {
        let corrupt = || Error::new(ErrorKind::CorruptRecord, "a spilled entry is not ours");
        let rest = spilled.bytes.strip_prefix(&[FORM]).ok_or_else(corrupt)?;
        let entry: Self = postcard::from_bytes(rest).map_err(|error| corrupt().with_source(error))?;
        let plain = core.sealer.open(&entry.context(), &entry.sealed).await?;
        let tokens = Credential::from_bytes(plain.expose_secret())?.into_tokens();
        let Self { key, spent, due_at, .. } = entry;
        Ok(Issued { key, spent, tokens, due_at })
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
    let Some(spill) = &core.spill else { return };
    let entries = match spill.list().await {
        Ok(entries) => entries,
        Err(error) => return tracing::error!(%error, "spilled tokens cannot be read"),
    };
    for spilled in entries {
        match import_one(core, &spilled).await {
            Ok(()) => remove(core, &spilled.name).await,
            Err(error) => tracing::warn!(%error, entry = spilled.name, "spilled tokens stay where they are"),
        }
    }
}

async fn import_one(core: &Core, spilled: &Spilled) -> Result<(), Error> {
    let issued = Entry::open(core, spilled).await?;
    for _ in 0..TRIES {
        if let Some(kept) = issued.try_keep(core, None).await? {
            issued.report(core, &kept).await?;
            if !matches!(kept, Kept::Applied(_)) {
                core.report(&Event::SpillImported { key: issued.key.clone() });
            }
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Contended, format!("{} kept changing", issued.key)))
}
