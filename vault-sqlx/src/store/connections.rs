use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, Finish, FlowRecord, LeaseAcquire,
    LeaseHeld, LeaseHolder, ListedConnection, Page, Paged, Put, RevocationRecord, Version,
};

use super::leases::fence_column;
use super::{Result, after, conflict, flows, owed, paged, rows_for, settle};
use crate::SqlStore;
use crate::engine::{Access, Dialect, Engine, Guarded, Statement, Value, assignments, parameters, values};
use crate::record::{Fields, connection, owed as owed_record, owner_columns};

#[derive(Debug)]
pub(super) struct Statements {
    read: Statement,
    get: Statement,
    insert: Guarded,
    insert_finishing: Guarded,
    update: Guarded,
    update_finishing: Guarded,
    update_releasing: Guarded,
    delete: Guarded,
    list: Statement,
    list_of_connector: Statement,
    list_of_owner: Statement,
    list_of_both: Statement,
    due: Statement,
}

impl Statements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let table = dialect.table("connections");
        let (columns, count) = (connection::COLUMNS.join(", "), connection::COLUMNS.len());
        let probe = format!("(SELECT version FROM {table} WHERE id = $1) AS version");
        let owe = |after: usize, from: &str| owed::insert(dialect, after, from);
        let update = |more: &str| {
            let assignments = assignments(&connection::COLUMNS);
            format!("UPDATE {table} SET {assignments}{more} WHERE id = $1 AND version = ${}", count + 1)
        };
        let updating = |more: &str, parameters| {
            let write = format!("{} RETURNING version AS written", update(more));
            Guarded::new("updating a connection", &write, parameters, &probe, owe)
        };
        let finishing = |write: &str, rest: &str, flow: usize| {
            let flows = flows::taken(dialect, flow);
            let write = format!(
                "{write} EXISTS (SELECT 1 {flows} {}) {rest} RETURNING version AS written",
                dialect.locked
            );
            let probe = format!("{probe}, (SELECT count(*) {flows}) AS flows");
            let end = format!("DELETE {flows}");
            Guarded::ending("storing what was connected", &write, flow, &probe, owe, Some(&end))
        };
        Self {
            read: Statement::new(
                "reading a credential",
                format!("SELECT credential FROM {table} WHERE id = $1"),
            ),
            get: Statement::new(
                "getting a connection",
                format!("SELECT {columns} FROM {table} WHERE id = $1"),
            ),
            insert: Guarded::new(
                "inserting a connection",
                &format!(
                    "INSERT INTO {table} ({columns}) VALUES ({}) ON CONFLICT (id) DO NOTHING
                     RETURNING version AS written",
                    parameters(count, 0)
                ),
                count,
                &probe,
                owe,
            ),
            insert_finishing: finishing(
                &format!("INSERT INTO {table} ({columns}) SELECT {} WHERE", parameters(count, 0)),
                "ON CONFLICT (id) DO NOTHING",
                count + 1,
            ),
            update: updating("", count + 1),
            update_finishing: finishing(&format!("{} AND", update("")), "", count + 2),
            update_releasing: updating(&released(count + 2, count + 3), count + 3),
            delete: Guarded::new(
                "deleting a connection",
                &format!("DELETE FROM {table} WHERE id = $1 AND version = $2 RETURNING version AS written"),
                2,
                &probe,
                owe,
            ),
            list: listing(&table, ""),
            list_of_connector: listing(&table, "AND connector = $4"),
            list_of_owner: listing(&table, "AND owner_kind = $4 AND owner_id = $5"),
            list_of_both: listing(&table, "AND owner_kind = $4 AND owner_id = $5 AND connector = $6"),
            due: Statement::new(
                "scanning for due connections",
                format!(
                    "SELECT tenant, owner_kind, owner_id, connector, slot FROM {table}
                     WHERE status = 0 AND due_at <= $1 AND (lease_until IS NULL OR lease_until <= {})
                     ORDER BY due_at LIMIT $2",
                    dialect.now
                ),
            ),
        }
    }
}

/// Frees the lease if the holder and the fence in these parameters have it.
fn released(holder: usize, fence: usize) -> String {
    let keep = |column| {
        format!(
            ", {column} = CASE WHEN lease_holder = ${holder} AND lease_fence = ${fence}
                 THEN NULL ELSE {column} END"
        )
    };
    ["lease_holder", "lease_until"].map(keep).concat()
}

/// One for each combination of filters, so that each finds its index.
fn listing(table: &str, narrowed: &str) -> Statement {
    let listed = connection::LISTED;
    Statement::new(
        "listing connections",
        format!("SELECT {listed} FROM {table} WHERE tenant = $1 AND id > $2 {narrowed} ORDER BY id LIMIT $3"),
    )
}

#[async_trait]
impl<E: Engine> ConnectionStore for SqlStore<E> {
    async fn read(&self, key: &ConnectionKey) -> Result<Option<Bytes>> {
        self.engine.credential(&self.sql.connections.read, &key.digest()).await
    }

    async fn get(&self, key: &ConnectionKey) -> Result<Option<ConnectionRecord>> {
        let statement = &self.sql.connections.get;
        let rows = self.engine.rows(Access::Read, statement, &values![&key.digest()]).await?;
        rows.first().map(connection::record).transpose()
    }

    async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        release: Option<LeaseHolder>,
    ) -> Result<Put> {
        let (id, sql) = (record.key.digest(), &self.sql.connections);
        let mut values = connection::values(record, &id)?.to_vec();
        let guarded = match (condition, &release) {
            // What is new is leased to nobody.
            (Condition::Absent, _) => &sql.insert,
            (Condition::Version(version), None) => {
                values.push(version.as_i64().into());
                &sql.update
            }
            (Condition::Version(version), Some(LeaseHolder { holder, fence })) => {
                values.extend(values![version.as_i64(), holder.as_bytes(), fence_column(*fence)]);
                &sql.update_releasing
            }
        };
        self.write(guarded, &values, owed, Put::Written, conflicting(condition)).await
    }

    async fn put_and_finish(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        taken: &FlowRecord,
    ) -> Result<Option<Finish>> {
        let (id, taken) = (record.key.digest(), flows::taken_hash(&taken.state_hash));
        let mut values = connection::values(record, &id)?.to_vec();
        let guarded = match condition {
            Condition::Absent => &self.sql.connections.insert_finishing,
            Condition::Version(version) => {
                values.push(version.as_i64().into());
                &self.sql.connections.update_finishing
            }
        };
        values.push((&taken).into());
        let refused = |row: &E::Row| {
            if row.int("flows")? == 0 {
                return Ok(Some(Finish::Gone));
            }
            Ok(conflict(row, condition)?.map(Finish::Conflict))
        };
        self.write(guarded, &values, owed, Finish::Written, refused).await.map(Some)
    }

    async fn delete(
        &self,
        key: &ConnectionKey,
        version: Version,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put> {
        let id = key.digest();
        let values = values![&id, version.as_i64()];
        let refused = conflicting(Condition::Version(version));
        self.write(&self.sql.connections.delete, &values, owed, Put::Written, refused).await
    }

    async fn list(&self, filter: &ConnectionFilter, page: &Page) -> Result<Paged<ListedConnection>> {
        let sql = &self.sql.connections;
        let mut values = values![filter.tenant.as_str(), after(page), rows_for(page)].to_vec();
        if let Some(owner) = &filter.owner {
            let (kind, id) = owner_columns(owner);
            values.extend(values![kind, id]);
        }
        if let Some(connector) = &filter.connector {
            values.push(connector.as_str().into());
        }
        let statement = match (&filter.owner, &filter.connector) {
            (None, None) => &sql.list,
            (None, Some(_)) => &sql.list_of_connector,
            (Some(_), None) => &sql.list_of_owner,
            (Some(_), Some(_)) => &sql.list_of_both,
        };
        let rows = self.engine.rows(Access::Read, statement, &values).await?;
        paged(&rows, page, connection::listed, |row| row.bytes("id"))
    }

    async fn due(&self, before: Timestamp, limit: u32) -> Result<Vec<ConnectionKey>> {
        let values = values![before.as_millis(), i64::from(limit)];
        let rows = self.engine.rows(Access::Read, &self.sql.connections.due, &values).await?;
        rows.iter().map(connection::key).collect()
    }

    async fn acquire_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire> {
        self.acquire(key, holder, ttl).await
    }

    async fn renew_lease(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool> {
        self.renew(key, holder, fence, ttl).await
    }

    async fn release_lease(&self, key: &ConnectionKey, holder: AttemptId, fence: u64) -> Result<()> {
        self.release(key, holder, fence).await
    }

    async fn lease(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>> {
        self.holder(key).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.clock().await
    }

    async fn owed_due(&self, before: Timestamp, limit: u32) -> Result<Vec<RevocationRecord>> {
        self.owed_before(before, limit).await
    }

    async fn list_owed(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        page: &Page,
    ) -> Result<Paged<RevocationRecord>> {
        self.owed_of(tenant, owner, page).await
    }

    async fn update_owed(&self, record: &RevocationRecord, version: Version) -> Result<bool> {
        self.rewrite_owed(record, version).await
    }

    async fn delete_owed(&self, key: &ConnectionKey, id: RevocationId) -> Result<()> {
        self.forget_owed(key, id).await
    }
}

impl<E: Engine> SqlStore<E> {
    async fn write<T: Copy + Send + Sync>(
        &self,
        guarded: &Guarded,
        values: &[Value<'_>],
        owed: Option<&RevocationRecord>,
        written: T,
        refused: impl Fn(&E::Row) -> Result<Option<T>> + Send,
    ) -> Result<T> {
        let connection = owed.map(|owed| owed.key.digest());
        let owed = owed.zip(connection.as_ref()).map(|(owed, id)| owed_record::values(owed, id));
        let owed = owed.as_ref().map(|values| values.as_slice());
        settle(&self.engine, guarded, values, owed, |_| Ok(written), refused).await
    }
}

fn conflicting<R: Fields>(condition: Condition) -> impl Fn(&R) -> Result<Option<Put>> + Send {
    move |row| Ok(conflict(row, condition)?.map(Put::Conflict))
}
