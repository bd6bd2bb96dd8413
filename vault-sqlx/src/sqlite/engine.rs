use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqlitePool, Transaction};
use vault_core::store::{Bytes, StoreError};

use super::error::fault;
use super::seat::Seat;
use crate::engine::{Access, Dialect, Engine, Guarded, Outcome, Statement, Steps, Value};
use crate::record::connection::credential;
use crate::record::fields;

type Result<T> = std::result::Result<T, StoreError>;

/// Takes the write lock at the start. A transaction that reads first and locks later can fail half way as "busy", and no
/// waiting would help it.
pub(super) const IMMEDIATE: &str = "BEGIN IMMEDIATE";

/// The engine of a [`SqliteStore`](super::SqliteStore).
#[derive(Debug, Clone)]
pub struct Sqlite {
    pub(super) readers: SqlitePool,
    pub(super) seat: Seat,
    pub(super) writer: SqlitePool,
}

fields!(SqliteRow);

impl Sqlite {
    pub(super) fn new(readers: SqlitePool, seat: Seat, writer: SqlitePool) -> Self {
        Self { readers, seat, writer }
    }

    pub(crate) fn dialect() -> Dialect {
        Dialect {
            prefix: "vault_".to_owned(),
            now: "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)",
            skip_locked: "",
            locked: "",
        }
    }

    /// A connection to write on.
    pub(super) async fn writer(&self) -> Result<PoolConnection<sqlx::Sqlite>> {
        loop {
            let mut connection = self.writer.acquire().await.map_err(fault("connecting to the database"))?;
            // After some faults (disk full, I/O) SQLite ends a transaction by itself. The driver does not notice, and
            // would refuse to begin another one on that connection for good.
            if !connection.is_in_transaction() {
                return Ok(connection);
            }
            connection.close_on_drop();
        }
    }
}

impl Engine for Sqlite {
    type Row = SqliteRow;

    async fn rows(
        &self,
        access: Access,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<SqliteRow>> {
        let pool = match access {
            Access::Read => &self.readers,
            Access::Write => &self.writer,
        };
        // Not `fetch_optional`: it answers with the row before a write is committed, and drops the commit's error.
        query(&statement.sql, values).fetch_all(pool).await.map_err(fault(statement.doing))
    }

    async fn credential(&self, statement: &Statement, id: &[u8; 32]) -> Result<Option<Bytes>> {
        let (values, fault) = ([id.into()], fault(statement.doing));
        let query = query(&statement.sql, &values);
        // Done at the first row: there is no other, and waiting for the end is one more turn of the driver's thread.
        let row = match self.seat.take() {
            Some(mut sitting) => match sitting.connection(&self.readers).await {
                Ok(connection) => {
                    let row = query.fetch_optional(connection).await;
                    if row.is_ok() {
                        sitting.stay();
                    }
                    row
                }
                Err(error) => Err(error),
            },
            None => query.fetch_optional(&self.readers).await,
        };
        row.map_err(fault)?.as_ref().map(credential).transpose()
    }

    async fn guarded(
        &self,
        guarded: &Guarded,
        values: &[Value<'_>],
        owed: Option<&[Value<'_>]>,
    ) -> Result<Outcome<SqliteRow>> {
        let mut connection = self.writer().await?;
        let begun = connection.begin_with(IMMEDIATE).await;
        in_transaction(begun.map_err(fault(guarded.doing))?, &guarded.steps, values, owed)
            .await
            .map_err(fault(guarded.doing))
    }
}

/// The transaction ends by rollback unless it is committed, also when this future is dropped.
async fn in_transaction(
    mut tx: Transaction<'_, sqlx::Sqlite>,
    steps: &Steps,
    values: &[Value<'_>],
    owed: Option<&[Value<'_>]>,
) -> sqlx::Result<Outcome<SqliteRow>> {
    let Some(written) = query(&steps.write, values).fetch_all(&mut *tx).await?.pop() else {
        let refused = query(&steps.probe, values).fetch_one(&mut *tx).await?;
        return Ok(Outcome::Refused(refused));
    };
    if let Some(owed) = owed {
        query(&steps.owe, owed).execute(&mut *tx).await?;
    }
    if let Some(end) = &steps.end {
        query(end, values).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Outcome::Written(written))
}

fn query<'q>(sql: &Arc<str>, values: &[Value<'q>]) -> Query<'q, sqlx::Sqlite, SqliteArguments> {
    // Made of nothing but our own text: see `store`.
    values.iter().fold(sqlx::query(AssertSqlSafe(Arc::clone(sql))), |query, value| match *value {
        Value::Int(value) => query.bind(value),
        Value::MaybeInt(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::MaybeText(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}
