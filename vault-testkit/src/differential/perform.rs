//! The calls themselves.

use std::fmt::Debug;
use std::time::Duration;

use vault_core::id::TenantId;
use vault_core::store::{
    ConnectionFilter, ConnectionStore, ConnectorStore, FlowStore, KeyScope, KeyStore, LeaseAcquire,
    LeaseHolder, Page, Paged, StoreError, Stores,
};

use super::op::{OnConnection, OnConnector, OnFlow, OnKey, OnLease, OnOwed, Op};
use super::run::Answer;
use super::world::{World, condition, fence, version};
use crate::conformance::support::{LONG, NOW};

/// More than a shared store has due so long ago.
const ALL: u32 = 10_000;

type Result<T> = std::result::Result<T, StoreError>;

impl World {
    pub(super) async fn perform(&self, stores: &Stores, step: usize, op: Op) -> Result<Answer> {
        match op {
            Op::Connection(op) => self.on_connection(&*stores.connections, step, op).await,
            Op::Connector(op) => self.on_connector(&*stores.connectors, step, op).await,
            Op::Flow(op) => self.on_flow(&*stores.flows, step, op).await,
            Op::Key(op) => self.on_key(&*stores.keys, step, op).await,
            Op::Lease(op) => self.on_lease(&*stores.connections, op).await,
            Op::Owed(op) => self.on_owed(&*stores.connections, step, op).await,
        }
    }

    async fn on_connection(
        &self,
        store: &dyn ConnectionStore,
        step: usize,
        op: OnConnection,
    ) -> Result<Answer> {
        let revocation = |key, owed: bool| owed.then(|| self.revocation(step, key));
        Ok(match op {
            OnConnection::Put { key, when, due, active, owed, release } => {
                let record = self.connection(step, key, due, active);
                let condition = condition(self.connections.get(&key), when);
                let release = release.map(|(holder, when)| LeaseHolder {
                    holder: Self::holder(holder),
                    fence: fence(self.fences.get(&key), when),
                });
                Answer::Put(store.put(&record, condition, revocation(key, owed).as_ref(), release).await?)
            }
            OnConnection::PutAndFinish { .. } if !self.finishing => Answer::Nothing,
            OnConnection::PutAndFinish { key, when, owed, flow } => {
                let record = self.connection(step, key, None, true);
                let condition = condition(self.connections.get(&key), when);
                let (owed, taken) = (revocation(key, owed), self.taken_of(step, flow, &record.key));
                Answer::Finish(store.put_and_finish(&record, condition, owed.as_ref(), &taken).await?)
            }
            OnConnection::Delete { key, when, owed } => {
                let version = version(self.connections.get(&key), when);
                let owed = revocation(key, owed);
                Answer::Put(store.delete(&self.key(key), version, owed.as_ref()).await?)
            }
            OnConnection::Get { key } => shown(store.get(&self.key(key)).await?),
            OnConnection::Read { key } => shown(store.read(&self.key(key)).await?),
            OnConnection::List { tenant, owner, connector, limit } => {
                let filter = ConnectionFilter {
                    tenant: self.tenants[tenant].clone(),
                    owner: owner.map(Self::owner),
                    connector: connector.map(Self::connector_id),
                };
                listed(limit, async |page| store.list(&filter, &page).await).await?
            }
            OnConnection::Due { until } => {
                let due = store.due(self.until(until), ALL).await?;
                shown(due.into_iter().filter(|key| self.is_ours(&key.tenant)))
            }
        })
    }

    async fn on_lease(&self, store: &dyn ConnectionStore, op: OnLease) -> Result<Answer> {
        Ok(match op {
            OnLease::Acquire { key, holder, brief } => {
                match store.acquire_lease(&self.key(key), Self::holder(holder), ttl(brief)).await? {
                    LeaseAcquire::Absent => Answer::Absent,
                    LeaseAcquire::Acquired(lease, record) => Answer::Acquired { fence: lease.fence, record },
                    LeaseAcquire::Held { remaining } => {
                        Answer::Held { within_ttl: !remaining.is_zero() && remaining <= LONG }
                    }
                }
            }
            OnLease::Renew { key, holder, when, brief } => {
                let fence = fence(self.fences.get(&key), when);
                let (key, holder) = (self.key(key), Self::holder(holder));
                Answer::Flag(store.renew_lease(&key, holder, fence, ttl(brief)).await?)
            }
            OnLease::Release { key, holder, when } => {
                let fence = fence(self.fences.get(&key), when);
                store.release_lease(&self.key(key), Self::holder(holder), fence).await?;
                Answer::Nothing
            }
            OnLease::Look { key } => {
                let held = store.lease(&self.key(key)).await?;
                shown(held.map(|held| (held.holder, held.fence, held.remaining <= LONG)))
            }
        })
    }

    async fn on_owed(&self, store: &dyn ConnectionStore, step: usize, op: OnOwed) -> Result<Answer> {
        Ok(match op {
            OnOwed::Due { until } => {
                let owed = store.owed_due(self.until(until), ALL).await?;
                shown(owed.into_iter().filter(|owed| self.is_ours(&owed.key.tenant)))
            }
            OnOwed::List { tenant, owner, limit } => {
                let (tenant, owner) = (&self.tenants[tenant], owner.map(Self::owner));
                listed(limit, async |page| store.list_owed(tenant, owner.as_ref(), &page).await).await?
            }
            OnOwed::Update { which, when, due } => {
                let version = version(self.owed.get(which).map(|(_, versions)| versions), when);
                Answer::Flag(store.update_owed(&self.rewritten(step, which, due), version).await?)
            }
            OnOwed::Delete { which } => {
                let owed = self.rewritten(step, which, 0);
                store.delete_owed(&owed.key, owed.id).await?;
                Answer::Nothing
            }
        })
    }

    async fn on_flow(&self, store: &dyn FlowStore, step: usize, op: OnFlow) -> Result<Answer> {
        Ok(match op {
            OnFlow::Insert { flow, tenant, owner, connector, cap } => {
                let record = self.flow(step, flow, (tenant, owner, connector));
                Answer::Inserted(store.insert(&record, cap, NOW).await?)
            }
            OnFlow::Take { flow } => shown(store.take(&self.hash(flow), Self::taken_until(), NOW).await?),
            OnFlow::Finish { flow } => Answer::Flag(store.finish(&self.taken(step, flow)).await?),
            OnFlow::Cancel { tenant, owner, connector } => {
                let connector = connector.map(Self::connector_id);
                let owner = Self::owner(owner);
                Answer::Count(store.cancel(&self.tenants[tenant], &owner, connector.as_ref()).await?)
            }
            OnFlow::PurgeNothing { limit } => Answer::Count(store.purge_expired(Self::dawn(), limit).await?),
        })
    }

    async fn on_key(&self, store: &dyn KeyStore, step: usize, op: OnKey) -> Result<Answer> {
        Ok(match op {
            OnKey::Put { scope, when } => {
                let condition = condition(self.keys.get(&scope), when);
                Answer::Put(store.put(&self.data_key(step, scope), condition).await?)
            }
            OnKey::Get { scope } => shown(store.get(&self.scope(scope)).await?),
            OnKey::Delete { scope } => Answer::Flag(store.delete(&self.scope(scope)).await?),
            OnKey::List { limit } => {
                let list = async |page: Page| {
                    let mut paged = store.list(&page).await?;
                    paged.items.retain(|record| self.holds(&record.scope));
                    Ok(paged)
                };
                listed(limit, list).await?
            }
        })
    }

    async fn on_connector(&self, store: &dyn ConnectorStore, step: usize, op: OnConnector) -> Result<Answer> {
        let tenant = |tenant: usize| -> &TenantId { &self.tenants[tenant] };
        Ok(match op {
            OnConnector::Put { tenant, id, name, when } => {
                let condition = condition(self.connectors.get(&(tenant, id)), when);
                Answer::Named(store.put(&self.connector(step, tenant, id, name), condition).await?)
            }
            OnConnector::Get { tenant: of, id } => {
                shown(store.get(tenant(of), &Self::connector_id(id)).await?)
            }
            OnConnector::Find { tenant: of, name } => shown(store.find(tenant(of), Self::name(name)).await?),
            OnConnector::Delete { tenant: of, id, when } => {
                let version = version(self.connectors.get(&(of, id)), when);
                Answer::Flag(store.delete(tenant(of), &Self::connector_id(id), version).await?)
            }
            OnConnector::List { tenant: of, limit } => {
                listed(limit, async |page| store.list(tenant(of), &page).await).await?
            }
        })
    }

    fn holds(&self, scope: &KeyScope) -> bool {
        match scope {
            KeyScope::Tenant(tenant) | KeyScope::User(tenant, _) => self.is_ours(tenant),
            KeyScope::Vault => false,
        }
    }
}

fn ttl(brief: bool) -> Duration {
    if brief { Duration::ZERO } else { LONG }
}

fn shown<T: Debug>(records: impl IntoIterator<Item = T>) -> Answer {
    Answer::Shown(records.into_iter().map(|record| format!("{record:?}")).collect())
}

/// All pages of a listing, as one sorted answer.
async fn listed<T: Debug>(limit: u32, list: impl AsyncFn(Page) -> Result<Paged<T>>) -> Result<Answer> {
    let mut page = Page::first(limit);
    let mut items = Vec::new();
    loop {
        let paged = list(page.clone()).await?;
        items.extend(paged.items.iter().map(|item| format!("{item:?}")));
        match paged.next {
            Some(after) => page.after = Some(after),
            None => break,
        }
    }
    items.sort();
    Ok(Answer::Shown(items))
}
