#![doc = include_str!("../README.md")]

mod connections;
mod connectors;
mod flows;
mod keys;

use std::ops::Bound;
use std::sync::Arc;

use redb::{ConcurrencyMode, Database, Error, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};
use vault_core::store::{Condition, Cursor, Page, Paged, Put, StoreError, StoreErrorKind, Version};

/// All four stores in one file, which several processes may share. Clones share one handle.
#[derive(Debug, Clone)]
pub struct RedbStore(Arc<Database>);

type Result<T, E = StoreError> = std::result::Result<T, E>;
type Table<'tx> = redb::Table<'tx, &'static [u8], &'static [u8]>;

/// Every row, by its path.
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("vault");

trait Rows: ReadableTable<&'static [u8], &'static [u8]> {}
impl<T: ReadableTable<&'static [u8], &'static [u8]>> Rows for T {}

trait Row: Serialize + DeserializeOwned + Send + 'static {}
impl<T: Serialize + DeserializeOwned + Send + 'static> Row for T {}

impl RedbStore {
    /// Opens the file, and creates it if it is absent.
    ///
    /// # Errors
    /// When the file cannot be opened or is not a redb database.
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let db = Database::builder().set_concurrency_mode(ConcurrencyMode::MultiWriter).create(path);
        let db = db.map_err(|error| fault(error.into()))?;
        transaction(&db, |_| Ok(())).map_err(fault)?; // so that the table is there
        Ok(Self(Arc::new(db)))
    }

    /// Blocking work, which goes on to its end even if the caller goes away.
    async fn run<T: Send + 'static, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    {
        let db = Arc::clone(&self.0);
        let lost =
            |error| StoreError::new(StoreErrorKind::Unavailable, "the runtime ended").with_source(error);
        tokio::task::spawn_blocking(move || work(&db)).await.map_err(lost)?.map_err(fault)
    }

    async fn write<T: Send + 'static, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&mut Table<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.run(move |db| transaction(db, work)).await
    }

    async fn row<R: Row>(&self, path: Vec<u8>) -> Result<Option<R>> {
        self.run(move |db| get(&db.begin_read()?.open_table(ROWS)?, &path)).await
    }

    /// One page of the rows under `prefix` that `pick` picks.
    async fn rows<R: Row, F>(&self, prefix: Vec<u8>, page: &Page, pick: F) -> Result<Paged<R>>
    where
        F: Fn(&R) -> bool + Send + 'static,
    {
        let page = page.clone();
        self.run(move |db| list(&db.begin_read()?.open_table(ROWS)?, &prefix, &page, pick)).await
    }
}

fn transaction<T>(db: &Database, work: impl FnOnce(&mut Table<'_>) -> Result<T, Error>) -> Result<T, Error> {
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

/// Where a row is, or what rows have in common: their kind, and parts of an identifier.
fn path<const N: usize>(kind: char, parts: [&str; N]) -> Vec<u8> {
    let parts = parts.iter().flat_map(|part| part.bytes().chain([0]));
    [kind as u8].into_iter().chain(parts).collect()
}

fn decode<R: Row>(row: &[u8]) -> Result<R, Error> {
    postcard::from_bytes(row).map_err(|error| Error::Corrupted(error.to_string()))
}

fn get<R: Row>(rows: &impl Rows, path: &[u8]) -> Result<Option<R>, Error> {
    rows.get(path)?.map(|row| decode(row.value())).transpose()
}

fn set(rows: &mut Table<'_>, path: &[u8], row: &impl Row) -> Result<(), Error> {
    let row = postcard::to_allocvec(row).map_err(|error| Error::Corrupted(error.to_string()))?;
    rows.insert(path, &*row).map(drop).map_err(Error::from)
}

fn list<R: Row, F>(rows: &impl Rows, prefix: &[u8], page: &Page, pick: F) -> Result<Paged<R>, Error>
where
    F: Fn(&R) -> bool,
{
    let after = page.after.as_ref().map(|Cursor(path)| path.as_slice()).filter(|path| *path > prefix);
    let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
    let (mut items, mut last) = (Vec::new(), Vec::new());
    for entry in rows.range::<&[u8]>((start, Bound::Unbounded))? {
        let (path, row) = entry?;
        if !path.value().starts_with(prefix) {
            break;
        }
        let row = decode(row.value())?;
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

/// If the row's version is the one that `condition` wants, puts what `new` makes of the row in its place.
fn swap<R: Row>(
    rows: &mut Table<'_>,
    path: &[u8],
    condition: Condition,
    version: fn(&R) -> Version,
    new: impl FnOnce(Option<R>) -> Option<R>,
) -> Result<Put, Error> {
    let old = get(rows, path)?;
    let current = old.as_ref().map(version);
    if condition != current.map_or(Condition::Absent, Condition::Version) {
        return Ok(Put::Conflict(current));
    }
    match new(old) {
        Some(row) => set(rows, path, &row)?,
        None => drop(rows.remove(path)?),
    }
    Ok(Put::Written)
}
