//! A storage backend of one's own: the vault's four storage traits on [`redb`], an embedded key-value store.
//!
//! # How to write one
//! Implement the four traits of [`vault_core::store`]; their documentation is the contract. A backend sees sealed bytes
//! and the few clear fields that its queries need. Four ideas carry it:
//! - *Each method is one transaction*: it reads, compares the version, writes. A conflict is an answer, not an error.
//! - *Keys are literal.* Here they are the parts of an identifier, each ended by NUL, which no identifier contains. So
//!   what belongs together is a range, and a page starts after the last key of the page before.
//! - *Dropping a future stops nothing half way.* What blocks runs on a thread of its own, to its end.
//! - *Leases run on the store's clock* and outlive the process: they stand in the row of the record that they guard.
//!
//! To stay short, `due` looks at every connection, and a new flow at every flow. Index them where there are many.
//!
//! # How to prove it
//! `tests/conformance.rs` is all it takes: a function that makes an empty store and says how to open it again, for
//! `vault_testkit::conformance!`, which makes a test of each clause of the contract; and a call of
//! `vault_testkit::differential::agree`, which runs random operations on this store and on the reference backend,
//! `MemoryStore`, and demands the same answers.

mod connections;
mod connectors;
mod flows;
mod keys;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::{ConcurrencyMode, Database, Error, ReadableDatabase, ReadableTable, Table, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vault_core::store::{Condition, Cursor, Page, Paged, Put, StoreError, StoreErrorKind, Version};

/// All four stores in one file, which several processes may share. Clones share one handle.
#[derive(Debug, Clone)]
pub struct RedbStore(Arc<Database>);

type Result<T> = std::result::Result<T, StoreError>;
type Fallible<T> = std::result::Result<T, Error>;
type Rows<'tx> = Table<'tx, &'static [u8], &'static [u8]>;

/// Everything, by path.
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("vault");

impl RedbStore {
    /// Opens the file, and creates it if it is absent.
    ///
    /// # Errors
    /// When the file cannot be opened or is not a redb database.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let db = Database::builder().set_concurrency_mode(ConcurrencyMode::MultiWriter).create(path);
        let db = db.map_err(|error| fault(error.into()))?;
        transaction(&db, |_| Ok(())).map_err(fault)?; // so that the table exists
        Ok(Self(Arc::new(db)))
    }

    /// Blocking work, which goes on to its end even if the caller goes away.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Fallible<T> + Send + 'static,
    ) -> Result<T> {
        let db = Arc::clone(&self.0);
        let lost =
            |error| StoreError::new(StoreErrorKind::Unavailable, "the runtime ended").with_source(error);
        tokio::task::spawn_blocking(move || work(&db)).await.map_err(lost)?.map_err(fault)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Rows<'_>) -> Fallible<T> + Send + 'static,
    ) -> Result<T> {
        self.run(move |db| transaction(db, work)).await
    }

    async fn row<R: DeserializeOwned + Send + 'static>(&self, path: Vec<u8>) -> Result<Option<R>> {
        self.run(move |db| get(&db.begin_read()?.open_table(ROWS)?, &path)).await
    }

    /// One page of the rows under `prefix` that `pick` picks.
    async fn rows<R: DeserializeOwned + Send + 'static>(
        &self,
        prefix: Vec<u8>,
        page: &Page,
        pick: impl Fn(&R) -> bool + Send + 'static,
    ) -> Result<Paged<R>> {
        let page = page.clone();
        self.run(move |db| list(&db.begin_read()?.open_table(ROWS)?, &prefix, &page, pick)).await
    }
}

fn transaction<T>(db: &Database, work: impl FnOnce(&mut Rows<'_>) -> Fallible<T>) -> Fallible<T> {
    let tx = db.begin_write()?;
    let answer = work(&mut tx.open_table(ROWS)?)?;
    tx.commit()?;
    Ok(answer)
}

fn fault(error: Error) -> StoreError {
    let corrupt = matches!(error, Error::Corrupted(_) | Error::TableTypeMismatch { .. });
    let kind = if corrupt { StoreErrorKind::Corrupt } else { StoreErrorKind::Unavailable };
    StoreError::new(kind, "redb failed").with_source(error)
}

fn garbled(error: postcard::Error) -> Error {
    Error::Corrupted(error.to_string())
}

/// Where a row is, or what is under a prefix: a kind of row, and parts of an identifier.
fn path<const N: usize>(kind: char, parts: [&str; N]) -> Vec<u8> {
    let parts = parts.iter().flat_map(|part| part.bytes().chain([0]));
    [kind as u8].into_iter().chain(parts).collect()
}

fn get<R: DeserializeOwned>(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    path: &[u8],
) -> Fallible<Option<R>> {
    rows.get(path)?.map(|row| postcard::from_bytes(row.value()).map_err(garbled)).transpose()
}

fn list<R: DeserializeOwned>(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: &[u8],
    page: &Page,
    pick: impl Fn(&R) -> bool,
) -> Fallible<Paged<R>> {
    let start = match &page.after {
        Some(Cursor(after)) if after.as_slice() > prefix => Bound::Excluded(after.as_slice()),
        _ => Bound::Included(prefix),
    };
    let (mut items, mut last) = (Vec::new(), Vec::new());
    for entry in rows.range::<&[u8]>((start, Bound::Unbounded))? {
        let (path, row) = entry?;
        if !path.value().starts_with(prefix) {
            break;
        }
        let row = postcard::from_bytes(row.value()).map_err(garbled)?;
        if pick(&row) {
            if items.len() == page.limit.max(1) as usize {
                return Ok(Paged { items, next: Some(Cursor(last)) });
            }
            items.push(row);
            last = path.value().to_vec();
        }
    }
    Ok(Paged { items, next: None })
}

fn set(rows: &mut Rows<'_>, path: &[u8], row: &impl Serialize) -> Fallible<()> {
    rows.insert(path, &*postcard::to_allocvec(row).map_err(garbled)?)?;
    Ok(())
}

/// Compare-and-swap: if the row's version satisfies `condition`, puts what `new` makes of the row in its place.
fn swap<R: DeserializeOwned + Serialize>(
    rows: &mut Rows<'_>,
    path: &[u8],
    condition: Condition,
    version: impl Fn(&R) -> Version,
    new: impl FnOnce(Option<R>) -> Option<R>,
) -> Fallible<Put> {
    let old = get(rows, path)?;
    let current = old.as_ref().map(version);
    let holds = match condition {
        Condition::Absent => current.is_none(),
        Condition::Version(version) => current == Some(version),
    };
    if !holds {
        return Ok(Put::Conflict(current));
    }
    match new(old) {
        Some(row) => set(rows, path, &row)?,
        None => drop(rows.remove(path)?),
    }
    Ok(Put::Written)
}
