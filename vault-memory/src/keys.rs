use async_trait::async_trait;
use vault_core::store::{Condition, KeyRecord, KeyScope, KeyStore, Page, Paged, Put, StoreError};

use crate::table::{Path, Table, holds, page, path};
use crate::{MemoryStore, lock};

#[derive(Default)]
pub(crate) struct Keys {
    rows: Table<KeyRecord>,
}

fn scope_path(scope: &KeyScope) -> Path {
    match scope {
        KeyScope::Tenant(tenant) => path(["t", tenant.as_str()]),
        KeyScope::User(tenant, user) => path(["u", tenant.as_str(), user.as_str()]),
        KeyScope::Vault => path(["v"]),
    }
}

impl Keys {
    fn put(&mut self, record: &KeyRecord, condition: Condition) -> Put {
        let path = scope_path(&record.scope);
        let current = self.rows.get(&path).map(|there| there.version);
        if !holds(condition, current) {
            return Put::Conflict(current);
        }
        self.rows.insert(path, record.clone());
        Put::Written
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>, StoreError> {
        Ok(lock(&self.shared.keys).rows.get(&scope_path(scope)).cloned())
    }

    async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put, StoreError> {
        Ok(lock(&self.shared.keys).put(record, condition))
    }

    async fn delete(&self, scope: &KeyScope) -> Result<bool, StoreError> {
        Ok(lock(&self.shared.keys).rows.remove(&scope_path(scope)).is_some())
    }

    async fn list(&self, wanted: &Page) -> Result<Paged<KeyRecord>, StoreError> {
        Ok(page(&lock(&self.shared.keys).rows, &[], wanted, |record| Some(record.clone())))
    }
}
