use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool, Row as _};
use vault_core::store::{Bytes, StoreError};

use super::{Found, Id};
use crate::engine::{Dialect, Value, parameters};
use crate::fault::undecodable;
use crate::postgres::engine::{Mode, simple};

/// Asks for the credentials of some connections.
#[derive(Debug)]
pub(super) struct Select {
    mode: Mode,
    /// Of the connection `$1`.
    one: Arc<str>,
    /// Of those in the array `$1`, with their ids.
    some: Arc<str>,
    /// The same of those in the list that follows.
    listed: String,
}

impl Select {
    pub(super) fn new(mode: Mode, dialect: &Dialect) -> Self {
        let table = dialect.table("connections");
        let select = format!("SELECT credential, id FROM {table} WHERE id");
        Self {
            mode,
            one: format!("SELECT credential FROM {table} WHERE id = $1").into(),
            some: format!("{select} = ANY($1)").into(),
            listed: format!("{select} IN"),
        }
    }

    /// Those of the pool. The driver logs slow statements, and without parameters these have values inside.
    pub(super) fn connect_options(&self, pool: &PgPool) -> PgConnectOptions {
        let options = pool.connect_options().as_ref().clone();
        match self.mode {
            Mode::Prepared => options,
            Mode::Simple => options.disable_statement_logging(),
        }
    }

    /// Those that are there.
    pub(super) async fn ask(&self, connection: &mut PgConnection, ids: &[Id]) -> sqlx::Result<Vec<Found>> {
        let rows = match (self.mode, ids) {
            // Most reads, so without what several rows take.
            (Mode::Prepared, [id]) => {
                let query = sqlx::query(AssertSqlSafe(Arc::clone(&self.one))).bind(&id[..]);
                let row = query.fetch_optional(connection).await?;
                return Ok(row.iter().map(|row| (*id, credential(row))).collect());
            }
            (Mode::Prepared, ids) => {
                let query = sqlx::query(AssertSqlSafe(Arc::clone(&self.some)));
                query.bind(ids).fetch_all(connection).await?
            }
            (Mode::Simple, ids) => {
                let mut sql = self.listed.clone();
                // Writing to a string does not fail.
                let _ = write!(sql, " ({})", parameters(ids.len(), 0));
                let values: Vec<Value<'_>> = ids.iter().map(Value::from).collect();
                simple(&sql, &values).fetch_all(connection).await?
            }
        };
        rows.iter().map(|row| Ok((row.try_get(1)?, credential(row)))).collect()
    }
}

/// Of every row the first column. A corrupt one is its own reader's fault alone.
fn credential(row: &PgRow) -> Result<Bytes, StoreError> {
    row.try_get::<Vec<u8>, _>(0).map(Bytes::from).map_err(undecodable)
}
