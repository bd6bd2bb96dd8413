//! Where tokens go that a store does not take.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

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

    /// All entries that can be read.
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

pub(super) const EXTENSION: &str = "spill";

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
                    // It stays, and keeps no other from being brought in.
                    Err(error) => tracing::error!(%error, entry = name, "a spilled entry cannot be read"),
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
