use async_trait::async_trait;
use vault_core::store::{Condition, KeyRecord, KeyScope, KeyStore, Page, Paged, Put};

use crate::{RedbStore, Result, path, swap};

fn of(scope: &KeyScope) -> Vec<u8> {
    match scope {
        KeyScope::Tenant(tenant) => path('k', ["t", tenant.as_str()]),
        KeyScope::User(tenant, user) => path('k', ["u", tenant.as_str(), user.as_str()]),
        KeyScope::Vault => path('k', ["v"]),
    }
}

#[async_trait]
impl KeyStore for RedbStore {
    async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>> {
        self.row(of(scope)).await
    }

    async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put> {
        let (path, new) = (of(&record.scope), record.clone());
        let of = |old: &KeyRecord| old.version;
        self.write(move |rows| swap(rows, &path, condition, of, |_| Some(new))).await
    }

    async fn delete(&self, scope: &KeyScope) -> Result<bool> {
        let path = of(scope);
        self.write(move |rows| Ok(rows.remove(&*path)?.is_some())).await
    }

    async fn list(&self, page: &Page) -> Result<Paged<KeyRecord>> {
        self.rows(path('k', []), page, |_| true).await
    }
}
