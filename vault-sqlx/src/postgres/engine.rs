use std::io;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row as _};
use tokio::time::timeout;
use vault_core::store::{Bytes, StoreError};

use super::PostgresOptions;
use super::error::{fault, is_worth_repeating};
use super::hosts::Hosts;
use super::literal::with_literals;
use super::read::Reader;
use crate::engine::{Access, Dialect, Engine, Guarded, Outcome, Statement, Value};
use crate::record::connection::credential;
use crate::record::{Fields as _, fields};

/// How often a statement is repeated that failed for another transaction's sake. Each time the other one got on.
pub(super) const ATTEMPTS: usize = 100;

/// The engine of a [`PostgresStore`](super::PostgresStore).
#[derive(Debug, Clone)]
pub struct Postgres {
    pub(super) hosts: Hosts,
    /// Where notifications come from, if not through a pooler.
    pub(super) listened: Option<Hosts>,
    pub(super) options: Arc<PostgresOptions>,
    /// `None` when reads take connections of the pool, like all else.
    pub(super) reader: Option<Reader>,
}

/// How statements reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Prepared once for each connection, with the values as parameters.
    Prepared,
    /// As one message of the simple query protocol, with the values inside.
    Simple,
}

fields!(PgRow);

impl Postgres {
    pub(super) fn new(
        hosts: Hosts,
        listened: Option<Hosts>,
        options: PostgresOptions,
        dialect: &Dialect,
    ) -> Self {
        let reader = Reader::new(&hosts, &options, dialect);
        Self { hosts, listened, options: Arc::new(options), reader }
    }

    pub(super) fn dialect(schema: Option<&str>, prefix: &str) -> Dialect {
        Dialect {
            prefix: schema.map_or_else(|| prefix.to_owned(), |schema| format!("\"{schema}\".{prefix}")),
            now: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
            // The locks end with the statement.
            skip_locked: "FOR UPDATE SKIP LOCKED",
            locked: "FOR UPDATE",
        }
    }

    /// Runs a statement on the primary, again and again while it fails for another transaction's sake: it is rolled back
    /// then, and its next try sees what the other one did.
    async fn run(
        &self,
        doing: &'static str,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, StoreError> {
        let pool = self.hosts.primary().await?;
        let mut done = self.attempt(pool, sql, values).await;
        for _ in 1..ATTEMPTS {
            match &done {
                Err(error) if is_worth_repeating(error) => done = self.attempt(pool, sql, values).await,
                _ => break,
            }
        }
        let done = done.map_err(fault(doing));
        self.hosts.observe(done.as_ref().err());
        done
    }

    async fn attempt(&self, pool: &PgPool, sql: &Arc<str>, values: &[Value<'_>]) -> sqlx::Result<Vec<PgRow>> {
        let mut connection = pool.acquire().await?;
        let answer = self.ask(&mut connection, sql, values);
        match timeout(self.options.response_timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                // Back in the pool it would be waited on until the server answers after all.
                connection.close_on_drop();
                Err(io::Error::from(io::ErrorKind::TimedOut).into())
            }
        }
    }

    async fn ask(
        &self,
        connection: &mut PgConnection,
        sql: &Arc<str>,
        values: &[Value<'_>],
    ) -> sqlx::Result<Vec<PgRow>> {
        match self.options.mode {
            Mode::Prepared => prepared(sql, values).fetch_all(connection).await,
            Mode::Simple => simple(sql, values).fetch_all(connection).await,
        }
    }
}

impl Engine for Postgres {
    type Row = PgRow;

    async fn rows(
        &self,
        _: Access,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, StoreError> {
        self.run(statement.doing, &statement.sql, values).await
    }

    async fn credential(&self, statement: &Statement, id: &[u8; 32]) -> Result<Option<Bytes>, StoreError> {
        match &self.reader {
            Some(reader) => reader.read(*id).await,
            None => {
                // Boxed, so that the usual read's future, which is moved, is not as large as this one's.
                let rows = Box::pin(self.run(statement.doing, &statement.sql, &[id.into()])).await?;
                rows.first().map(credential).transpose()
            }
        }
    }

    async fn guarded(
        &self,
        guarded: &Guarded,
        values: &[Value<'_>],
        owed: Option<&[Value<'_>]>,
    ) -> Result<Outcome<PgRow>, StoreError> {
        let sql = if owed.is_some() { &guarded.whole.owing } else { &guarded.whole.alone };
        let values = [values, owed.unwrap_or_default()].concat();
        let mut rows = self.run(guarded.doing, sql, &values).await?;
        let row = rows.pop().ok_or(sqlx::Error::RowNotFound).map_err(fault(guarded.doing))?;
        let written = row.maybe_int("written")?.is_some();
        Ok(if written { Outcome::Written(row) } else { Outcome::Refused(row) })
    }
}

pub(super) fn prepared<'q>(sql: &Arc<str>, values: &[Value<'q>]) -> Query<'q, sqlx::Postgres, PgArguments> {
    // Made of nothing but our own text and plain names: see `store` and `PostgresOptions`.
    values.iter().fold(sqlx::query(AssertSqlSafe(Arc::clone(sql))), |query, value| match *value {
        Value::Int(value) => query.bind(value),
        Value::MaybeInt(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::MaybeText(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}

/// Answers come as text. The setting of its form holds for this message, which is one transaction.
pub(super) fn simple(sql: &str, values: &[Value<'_>]) -> sqlx::RawSql {
    sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL bytea_output = hex; {}", with_literals(sql, values))))
}
