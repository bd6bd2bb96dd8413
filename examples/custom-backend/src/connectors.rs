use async_trait::async_trait;
use vault_core::id::{ConnectorId, TenantId};
use vault_core::store::{Condition, ConnectorRecord, ConnectorStore, NamedPut, Page, Paged, Put, Version};

use crate::{RedbStore, Result, list, path, swap};

fn of(tenant: &TenantId, id: &ConnectorId) -> Vec<u8> {
    path('r', [tenant.as_str(), id.as_str()])
}

#[async_trait]
impl ConnectorStore for RedbStore {
    async fn get(&self, tenant: &TenantId, id: &ConnectorId) -> Result<Option<ConnectorRecord>> {
        self.row(of(tenant, id)).await
    }

    async fn find(&self, tenant: &TenantId, name: &str) -> Result<Option<ConnectorRecord>> {
        let (tenant, name) = (path('r', [tenant.as_str()]), name.to_owned());
        let pick = move |record: &ConnectorRecord| record.name == name;
        Ok(self.rows(tenant, &Page::first(1), pick).await?.items.pop())
    }

    async fn put(&self, record: &ConnectorRecord, condition: Condition) -> Result<NamedPut> {
        let new = record.clone();
        self.write(move |rows| {
            let (tenant, path) = (path('r', [new.tenant.as_str()]), of(&new.tenant, &new.id));
            let rival = |other: &ConnectorRecord| other.name == new.name && other.id != new.id;
            let taken = !list(rows, &tenant, &Page::first(1), rival)?.items.is_empty();
            let change = |old| if taken { old } else { Some(new) };
            Ok(match swap(rows, &path, condition, |old: &ConnectorRecord| old.version, change)? {
                Put::Conflict(there) => NamedPut::Conflict(there),
                Put::Written if taken => NamedPut::NameTaken,
                Put::Written => NamedPut::Written,
            })
        })
        .await
    }

    async fn delete(&self, tenant: &TenantId, id: &ConnectorId, version: Version) -> Result<bool> {
        let (path, condition) = (of(tenant, id), Condition::Version(version));
        let of = |old: &ConnectorRecord| old.version;
        Ok(self.write(move |rows| swap(rows, &path, condition, of, |_| None)).await? == Put::Written)
    }

    async fn list(&self, tenant: &TenantId, page: &Page) -> Result<Paged<ConnectorRecord>> {
        self.rows(path('r', [tenant.as_str()]), page, |_| true).await
    }
}
