//! Pending flows.
//!
//! An owner has numbered places, as many as the cap, and each flow takes the lowest one that holds no unexpired flow. A
//! unique index on them keeps the cap: of two inserts at once that found the same place free, one has it, and the other
//! looks again. They are counted too, since a cap may be lower than the one before it, and places above it taken. A flow
//! that has expired makes room for the one that takes its place.

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore};

use super::{Result, nothing, settle};
use crate::SqlStore;
use crate::engine::{Access, Dialect, Engine, Guarded, Statement, parameters, replacements, values};
use crate::record::{Fields, flow, owner_columns};

#[derive(Debug)]
pub(super) struct Statements {
    insert: Guarded,
    take: Statement,
    finish: Statement,
    cancel: Statement,
    cancel_of_connector: Statement,
    purge: Statement,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let (table, skip_locked) = (dialect.table("flows"), dialect.skip_locked);
        let (columns, count) = (flow::COLUMNS.join(", "), flow::COLUMNS.len());
        let (now, cap, taken) = (count + 1, count + 2, count + 3);
        let of_owner = "tenant = $1 AND owner_kind = $2 AND owner_id = $3";
        let pending = format!("FROM {table} WHERE {of_owner} AND expires_at > ${now}");
        let free = format!(
            "SELECT min(place) AS place
             FROM (SELECT 0 AS place UNION ALL SELECT place + 1 {pending}) AS candidates
             WHERE place < ${cap} AND place NOT IN (SELECT place {pending})
                 AND (SELECT count(*) {pending}) < ${cap}"
        );
        let existing = format!("FROM {table} WHERE state_hash IN ($4, ${taken})");
        let cancel = format!("DELETE FROM {table} WHERE {of_owner}");
        Self {
            insert: Guarded::new(
                "inserting a flow",
                &format!(
                    "INSERT INTO {table} AS old ({columns}, place)
                     SELECT {}, place FROM ({free}) AS free
                     WHERE place IS NOT NULL AND NOT EXISTS (SELECT 1 {existing})
                     ON CONFLICT (tenant, owner_kind, owner_id, place) DO UPDATE SET {}
                         WHERE old.expires_at <= ${now}
                     RETURNING place AS written",
                    parameters(count, 0),
                    replacements(&flow::COLUMNS)
                ),
                count + 3,
                &format!("(SELECT count(*) {existing}) AS existing, ({free}) AS free"),
                nothing,
            ),
            take: Statement::new(
                "taking a flow",
                format!(
                    "UPDATE {table} SET state_hash = $2, expires_at = $3 WHERE state_hash = $1
                     RETURNING {columns}"
                ),
            ),
            finish: Statement::new(
                "finishing a flow",
                format!("DELETE {} RETURNING 1", self::taken(dialect, 1)),
            ),
            cancel: Statement::new("cancelling flows", format!("{cancel} RETURNING 1")),
            cancel_of_connector: Statement::new(
                "cancelling flows",
                format!("{cancel} AND connector = $4 RETURNING 1"),
            ),
            purge: Statement::new(
                "purging expired flows",
                format!(
                    "DELETE FROM {table} WHERE state_hash IN
                         (SELECT state_hash FROM {table} WHERE expires_at <= $1
                          ORDER BY expires_at LIMIT $2 {skip_locked})
                     RETURNING 1"
                ),
            ),
        }
    }
}

#[async_trait]
impl<E: Engine> FlowStore for SqlStore<E> {
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert> {
        let mut values = flow::values(record).to_vec();
        let taken = taken_hash(&record.state_hash);
        values.extend(values![now.as_millis(), i64::from(cap), &taken]);
        let inserted = |_: &E::Row| Ok(FlowInsert::Inserted);
        settle(&self.engine, &self.sql.flows.insert, &values, None, inserted, refused).await
    }

    async fn take(
        &self,
        state_hash: &[u8; 32],
        until: Timestamp,
        _now: Timestamp,
    ) -> Result<Option<FlowRecord>> {
        let taken = taken_hash(state_hash);
        let values = values![state_hash, &taken, until.as_millis()];
        let rows = self.engine.rows(Access::Write, &self.sql.flows.take, &values).await?;
        let flow = rows.first().map(flow::record).transpose()?;
        Ok(flow.map(|flow| FlowRecord { state_hash: *state_hash, ..flow }))
    }

    async fn finish(&self, flow: &FlowRecord) -> Result<bool> {
        let taken = taken_hash(&flow.state_hash);
        Ok(self.changed(&self.sql.flows.finish, &values![&taken]).await? > 0)
    }

    async fn cancel(&self, tenant: &TenantId, owner: &Owner, connector: Option<&ConnectorId>) -> Result<u64> {
        let (kind, id) = owner_columns(owner);
        let mut values = values![tenant.as_str(), kind, id].to_vec();
        let statement = match connector {
            None => &self.sql.flows.cancel,
            Some(connector) => {
                values.push(connector.as_str().into());
                &self.sql.flows.cancel_of_connector
            }
        };
        self.changed(statement, &values).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64> {
        let values = values![now.as_millis(), i64::from(limit)];
        self.changed(&self.sql.flows.purge, &values).await
    }
}

/// The flow that was taken, by a parameter of that number, which is its [`taken_hash`].
pub(super) fn taken(dialect: &Dialect, parameter: usize) -> String {
    format!("FROM {} WHERE state_hash = ${parameter}", dialect.table("flows"))
}

/// What a flow is named once it was taken, so that no second take finds it: every bit the other way. No state hashes to
/// that, as none to any other given value.
pub(super) fn taken_hash(state_hash: &[u8; 32]) -> [u8; 32] {
    state_hash.map(|byte| !byte)
}

fn refused(row: &impl Fields) -> Result<Option<FlowInsert>> {
    if row.int("existing")? > 0 {
        return Ok(Some(FlowInsert::Exists));
    }
    Ok(row.maybe_int("free")?.is_none().then_some(FlowInsert::TooMany))
}
