//! What differs between SQL servers. The rest of this crate is written once, over [`Engine`].

use std::fmt;
use std::sync::Arc;

use vault_core::store::{Bytes, StoreError};

use crate::record::Fields;

type Result<T> = std::result::Result<T, StoreError>;

/// A way to run statements on one kind of server.
///
/// [`rows`](Self::rows) runs a statement that is atomic by itself; [`guarded`](Self::guarded) a write that may be refused,
/// and may owe another one.
pub trait Engine: Clone + fmt::Debug + Send + Sync + 'static {
    /// A row of an answer.
    type Row: Fields + Send;

    /// The rows that a statement answers with.
    fn rows(
        &self,
        access: Access,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>>> + Send;

    /// The credential of the connection with this id, by `statement`, or as the engine reads many of them at once.
    fn credential(
        &self,
        statement: &Statement,
        id: &[u8; 32],
    ) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// Writes, and writes `owed` with it, in one atomic step; or learns why not.
    fn guarded(
        &self,
        guarded: &Guarded,
        values: &[Value<'_>],
        owed: Option<&[Value<'_>]>,
    ) -> impl Future<Output = Result<Outcome<Self::Row>>> + Send;
}

/// Whether a statement changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// The text of a statement, and what it does, to say so when it fails.
#[derive(Debug)]
pub struct Statement {
    pub(crate) sql: Arc<str>,
    pub(crate) doing: &'static str,
}

impl Statement {
    pub(crate) fn new(doing: &'static str, sql: impl Into<Arc<str>>) -> Self {
        Self { sql: sql.into(), doing }
    }
}

/// A write that happens only under its own conditions.
#[derive(Debug)]
pub struct Guarded {
    pub(crate) doing: &'static str,
    #[cfg(feature = "postgres")]
    pub(crate) whole: Whole,
    #[cfg(feature = "sqlite")]
    pub(crate) steps: Steps,
}

/// For a server that does it all in one statement, which answers with the columns of `write`, or nulls, and those of the
/// probe.
#[cfg(feature = "postgres")]
#[derive(Debug)]
pub struct Whole {
    pub(crate) alone: Arc<str>,
    pub(crate) owing: Arc<str>,
}

/// For a server that needs a transaction.
#[cfg(feature = "sqlite")]
#[derive(Debug)]
pub struct Steps {
    pub(crate) write: Arc<str>,
    pub(crate) probe: Arc<str>,
    pub(crate) owe: Arc<str>,
    pub(crate) end: Option<Arc<str>>,
}

impl Guarded {
    /// `write` has `parameters` parameters, and answers with one row when it wrote, with `written` in it, and with none
    /// when it did not. `probe` says why it did not, as the columns of a `SELECT` over the same parameters. `owe` builds
    /// the insert that belongs to the write, of values that are numbered after so many, and that come from somewhere.
    pub(crate) fn new(
        doing: &'static str,
        write: &str,
        parameters: usize,
        probe: &str,
        owe: impl Fn(usize, &str) -> String,
    ) -> Self {
        Self::ending(doing, write, parameters, probe, owe, None)
    }

    /// The same with a `DELETE … WHERE …` over the parameters of `write`, which happens when that does.
    pub(crate) fn ending(
        doing: &'static str,
        write: &str,
        parameters: usize,
        probe: &str,
        owe: impl Fn(usize, &str) -> String,
        end: Option<&str>,
    ) -> Self {
        #[cfg(not(feature = "postgres"))]
        let _ = parameters;
        Self {
            doing,
            #[cfg(feature = "postgres")]
            whole: Whole::new(write, probe, &owe(parameters, "FROM written"), end),
            #[cfg(feature = "sqlite")]
            steps: Steps {
                write: write.into(),
                probe: format!("SELECT {probe}").into(),
                owe: owe(0, "").into(),
                end: end.map(Arc::from),
            },
        }
    }
}

#[cfg(feature = "postgres")]
impl Whole {
    fn new(write: &str, probe: &str, owe: &str, end: Option<&str>) -> Self {
        let answer = format!("SELECT written.*, {probe} FROM (SELECT 1) AS one LEFT JOIN written ON true");
        let end = end.map(|end| format!(", ending AS ({end} AND EXISTS (SELECT 1 FROM written))"));
        let end = end.unwrap_or_default();
        Self {
            alone: format!("WITH written AS ({write}){end} {answer}").into(),
            owing: format!("WITH written AS ({write}), owing AS ({owe}){end} {answer}").into(),
        }
    }
}

/// How a guarded write ended.
#[derive(Debug)]
pub enum Outcome<R> {
    /// The row that the write answered with.
    Written(R),
    /// The row that the probe answered with.
    Refused(R),
}

/// A parameter of a statement.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    Int(i64),
    MaybeInt(Option<i64>),
    Text(&'a str),
    MaybeText(Option<&'a str>),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::MaybeInt(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::MaybeText(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Bytes(value)
    }
}

/// `values![a, b]` is `[Value::from(a), Value::from(b)]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::engine::Value::from($value)),*] };
}
pub(crate) use values;

/// What the texts of statements depend on.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Before the name of each table, with the schema where there is one.
    pub(crate) prefix: String,
    /// The server's clock in Unix milliseconds.
    pub(crate) now: &'static str,
    /// Makes a scan that deletes pass over rows which another one is deleting.
    pub(crate) skip_locked: &'static str,
    /// Keeps the rows that a select finds as they are until the statement has ended.
    pub(crate) locked: &'static str,
}

impl Dialect {
    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// `$3, $4, $5` for 3 parameters after 2.
pub(crate) fn parameters(count: usize, after: usize) -> String {
    let all: Vec<_> = (after + 1..=after + count).map(|n| format!("${n}")).collect();
    all.join(", ")
}

/// `a = $1, b = $2`.
pub(crate) fn assignments(columns: &[&str]) -> String {
    let all: Vec<_> = (1..).zip(columns).map(|(n, column)| format!("{column} = ${n}")).collect();
    all.join(", ")
}

/// `a = excluded.a, b = excluded.b`.
pub(crate) fn replacements(columns: &[&str]) -> String {
    let all: Vec<_> = columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    all.join(", ")
}
