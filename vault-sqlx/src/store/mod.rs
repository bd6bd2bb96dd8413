//! The storage traits, once for all engines.

mod connections;
mod connectors;
mod flows;
mod keys;
mod leases;
mod owed;

use vault_core::store::{Condition, Cursor, Page, Paged, StoreError, StoreErrorKind, Version};

use crate::SqlStore;
use crate::engine::{Access, Dialect, Engine, Guarded, Outcome, Statement, Value};
use crate::record::Fields;

type Result<T> = std::result::Result<T, StoreError>;

/// The text of every statement, made once.
#[derive(Debug)]
pub(crate) struct Statements {
    connections: connections::Statements,
    connectors: connectors::Statements,
    flows: flows::Statements,
    keys: keys::Statements,
    leases: leases::Statements,
    owed: owed::Statements,
}

impl Statements {
    pub(crate) fn new(dialect: &Dialect) -> Self {
        Self {
            connections: connections::Statements::new(dialect),
            connectors: connectors::Statements::new(dialect),
            flows: flows::Statements::new(dialect),
            keys: keys::Statements::new(dialect),
            leases: leases::Statements::new(dialect),
            owed: owed::Statements::new(dialect),
        }
    }
}

/// Far more often than anything real collides.
const ATTEMPTS: usize = 1000;

/// Runs a guarded write until it is clear how it ended: `refused` reads the probe's answer, `None` when that gives no
/// reason. Then the write met another one that the probe, which sees the moment when the statement began, did not.
async fn settle<E: Engine, T>(
    engine: &E,
    guarded: &Guarded,
    values: &[Value<'_>],
    owed: Option<&[Value<'_>]>,
    written: impl Fn(&E::Row) -> Result<T> + Send,
    refused: impl Fn(&E::Row) -> Result<Option<T>> + Send,
) -> Result<T> {
    for _ in 0..ATTEMPTS {
        match engine.guarded(guarded, values, owed).await? {
            Outcome::Written(row) => return written(&row),
            Outcome::Refused(row) => {
                if let Some(outcome) = refused(&row)? {
                    return Ok(outcome);
                }
            }
        }
    }
    Err(StoreError::new(StoreErrorKind::Busy, guarded.doing))
}

impl<E: Engine> SqlStore<E> {
    /// How many rows a statement changed: it answers with one for each.
    async fn changed(&self, statement: &Statement, values: &[Value<'_>]) -> Result<u64> {
        let rows = self.engine.rows(Access::Write, statement, values).await?;
        Ok(rows.len().try_into().unwrap_or(u64::MAX))
    }
}

/// The version that a probe saw, if it is why `condition` does not hold.
fn conflict(row: &impl Fields, condition: Condition) -> Result<Option<Option<Version>>> {
    let current = row.maybe_int("version")?.map(Version::from_i64);
    let holds = match condition {
        Condition::Absent => current.is_none(),
        Condition::Version(version) => current == Some(version),
    };
    Ok((!holds).then_some(current))
}

/// Nothing is owed.
fn nothing(_: usize, _: &str) -> String {
    String::new()
}

/// Where a page starts, in the bytes that [`paged`] made its cursor of; empty for the first.
fn after(page: &Page) -> &[u8] {
    page.after.as_ref().map_or(&[], |Cursor(after)| after)
}

/// How many rows to ask for: one more than the page holds, to learn whether there is another.
fn rows_for(page: &Page) -> i64 {
    i64::from(page.limit.max(1)) + 1
}

/// A page out of the rows that [`rows_for`] asked for.
fn paged<R, T>(
    rows: &[R],
    page: &Page,
    item: impl Fn(&R) -> Result<T>,
    cursor: impl Fn(&R) -> Result<Vec<u8>>,
) -> Result<Paged<T>> {
    let limit = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    let shown = &rows[..rows.len().min(limit)];
    let next = match shown.last() {
        Some(last) if rows.len() > limit => Some(Cursor(cursor(last)?)),
        _ => None,
    };
    let items = shown.iter().map(item).collect::<Result<_>>()?;
    Ok(Paged { items, next })
}
