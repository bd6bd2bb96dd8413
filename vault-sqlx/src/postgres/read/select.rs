use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool};

use super::Id;
use crate::engine::{Dialect, Value, parameters};
use crate::postgres::engine::{Mode, prepared, simple};

/// Asks for the credentials of some connections, in rows of `id` and `credential`.
#[derive(Debug)]
pub(super) struct Select {
    mode: Mode,
    /// Of one connection, by `$1`.
    one: Arc<str>,
    /// Of those in the array `$1`.
    some: Arc<str>,
    /// Of those in the list that follows.
    listed: String,
}

impl Select {
    pub(super) fn new(mode: Mode, dialect: &Dialect) -> Self {
        let select = format!("SELECT id, credential FROM {} WHERE id", dialect.table("connections"));
        Self {
            mode,
            one: format!("{select} = $1").into(),
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

    pub(super) async fn ask(&self, connection: &mut PgConnection, ids: &[Id]) -> sqlx::Result<Vec<PgRow>> {
        match (self.mode, ids) {
            (Mode::Prepared, [id]) => prepared(&self.one, &[id.into()]).fetch_all(connection).await,
            // Our own text and plain names.
            (Mode::Prepared, ids) => {
                let query = sqlx::query(AssertSqlSafe(Arc::clone(&self.some)));
                query.bind(ids).fetch_all(connection).await
            }
            (Mode::Simple, ids) => {
                let mut sql = self.listed.clone();
                // Writing to a string does not fail.
                let _ = write!(sql, " ({})", parameters(ids.len(), 0));
                let values: Vec<Value<'_>> = ids.iter().map(Value::from).collect();
                simple(&sql, &values).fetch_all(connection).await
            }
        }
    }
}
