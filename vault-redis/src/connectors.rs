use async_trait::async_trait;
use vault_core::id::{ConnectorId, TenantId};
use vault_core::store::{
    Condition, ConnectorRecord, ConnectorStore, NamedPut, Page, Paged, StoreError, Version,
};

use crate::link::Effect;
use crate::names::{Kind, connector_id, entry};
use crate::store::{Also, Bounds, Entry, Outcome, When};
use crate::{RedisStore, record};

#[async_trait]
impl ConnectorStore for RedisStore {
    async fn get(&self, tenant: &TenantId, id: &ConnectorId) -> Result<Option<ConnectorRecord>, StoreError> {
        let name = self.connector_name(tenant, id);
        let mut get = redis::cmd("HGET");
        get.arg(&name).arg("record");
        let record: Option<Vec<u8>> =
            self.shared.link.run("getting a connector", &name, get, Effect::Read).await?;
        record.map(|record| record::connector(&record)).transpose()
    }

    async fn find(&self, tenant: &TenantId, name: &str) -> Result<Option<ConnectorRecord>, StoreError> {
        let shard = self.shared.names.shard_of_tenant(tenant);
        let bounds = Bounds::under(&entry::connector_name(tenant, name));
        let rows = self.rows("finding a connector", shard, Kind::Connector, &bounds, 1).await?;
        rows.first().map(|row| record::connector(&row.record)).transpose()
    }

    async fn put(&self, record: &ConnectorRecord, condition: Condition) -> Result<NamedPut, StoreError> {
        let ConnectorRecord { tenant, id, name, .. } = record;
        let name = entry::connector_name(tenant, name);
        let unique = name.len();
        let entry = Entry {
            key: self.connector_name(tenant, id),
            moving: Some(name + &connector_id(tenant, id)),
            fixed: entry::connector(tenant, id),
            fields: vec![
                ("version", record.version.as_i64().to_string().into_bytes()),
                ("record", record::from_connector(record)),
            ],
        };
        let shard = self.shared.names.shard_of_tenant(tenant);
        let when = When::Holds(condition);
        match self.write("putting a connector", shard, when, unique, Also::Nothing, vec![entry]).await? {
            Outcome::Conflict(there) => Ok(NamedPut::Conflict(there)),
            Outcome::Taken => Ok(NamedPut::NameTaken),
            Outcome::Written => Ok(NamedPut::Written),
            Outcome::Ended => Err(record::corrupt("no flow ends with a connector")),
        }
    }

    async fn delete(
        &self,
        tenant: &TenantId,
        id: &ConnectorId,
        version: Version,
    ) -> Result<bool, StoreError> {
        let entry = Entry {
            key: self.connector_name(tenant, id),
            moving: None,
            fixed: entry::connector(tenant, id),
            fields: Vec::new(),
        };
        let shard = self.shared.names.shard_of_tenant(tenant);
        let when = When::Holds(Condition::Version(version));
        let written = self.write("deleting a connector", shard, when, 0, Also::Nothing, vec![entry]).await?;
        Ok(matches!(written, Outcome::Written))
    }

    async fn list(&self, tenant: &TenantId, page: &Page) -> Result<Paged<ConnectorRecord>, StoreError> {
        let shard = self.shared.names.shard_of_tenant(tenant);
        let prefix = entry::connectors_of(tenant);
        let doing = "listing connectors";
        self.page(doing, shard..shard + 1, Kind::Connector, &prefix, page, record::connector).await
    }
}

impl RedisStore {
    fn connector_name(&self, tenant: &TenantId, id: &ConnectorId) -> String {
        let shard = self.shared.names.shard_of_tenant(tenant);
        self.shared.names.record(shard, Kind::Connector, &connector_id(tenant, id))
    }
}
