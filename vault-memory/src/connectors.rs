use async_trait::async_trait;
use vault_core::id::{ConnectorId, TenantId};
use vault_core::store::{
    Condition, ConnectorRecord, ConnectorStore, NamedPut, Page, Paged, StoreError, Version,
};

use crate::table::{Table, holds, page, path};
use crate::{MemoryStore, lock};

#[derive(Default)]
pub(crate) struct Connectors {
    rows: Table<ConnectorRecord>,
}

impl Connectors {
    fn find(&self, tenant: &TenantId, name: &str) -> Option<&ConnectorRecord> {
        let tenant = path([tenant.as_str()]);
        self.rows
            .range(tenant.clone()..)
            .take_while(|(path, _)| path.starts_with(&tenant))
            .map(|(_, record)| record)
            .find(|record| record.name == name)
    }

    fn put(&mut self, record: &ConnectorRecord, condition: Condition) -> NamedPut {
        let path = path([record.tenant.as_str(), record.id.as_str()]);
        let current = self.rows.get(&path).map(|there| there.version);
        if !holds(condition, current) {
            return NamedPut::Conflict(current);
        }
        if self.find(&record.tenant, &record.name).is_some_and(|other| other.id != record.id) {
            return NamedPut::NameTaken;
        }
        self.rows.insert(path, record.clone());
        NamedPut::Written
    }

    fn delete(&mut self, tenant: &TenantId, id: &ConnectorId, version: Version) -> bool {
        let path = path([tenant.as_str(), id.as_str()]);
        let stands = self.rows.get(&path).is_some_and(|there| there.version == version);
        stands && self.rows.remove(&path).is_some()
    }
}

#[async_trait]
impl ConnectorStore for MemoryStore {
    async fn get(&self, tenant: &TenantId, id: &ConnectorId) -> Result<Option<ConnectorRecord>, StoreError> {
        let path = path([tenant.as_str(), id.as_str()]);
        Ok(lock(&self.shared.connectors).rows.get(&path).cloned())
    }

    async fn find(&self, tenant: &TenantId, name: &str) -> Result<Option<ConnectorRecord>, StoreError> {
        Ok(lock(&self.shared.connectors).find(tenant, name).cloned())
    }

    async fn put(&self, record: &ConnectorRecord, condition: Condition) -> Result<NamedPut, StoreError> {
        Ok(lock(&self.shared.connectors).put(record, condition))
    }

    async fn delete(
        &self,
        tenant: &TenantId,
        id: &ConnectorId,
        version: Version,
    ) -> Result<bool, StoreError> {
        Ok(lock(&self.shared.connectors).delete(tenant, id, version))
    }

    async fn list(&self, tenant: &TenantId, wanted: &Page) -> Result<Paged<ConnectorRecord>, StoreError> {
        let connectors = lock(&self.shared.connectors);
        Ok(page(&connectors.rows, &path([tenant.as_str()]), wanted, |record| Some(record.clone())))
    }
}
