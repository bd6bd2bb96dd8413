//! What a caller that tries again ends with, whichever call of the store fails, before or after it took effect.

use vault_core::id::TenantId;
use vault_core::store::{
    Condition, FlowInsert, KeyScope, LeaseAcquire, LeaseHolder, NamedPut, Page, Put, RevocationRecord,
    StoreError, StoreErrorKind, Stores,
};

use super::support::{
    LONG, NOW, WORKS, attempt, connection, connector, data_key, filter, flow, key, next, owed, tenant, user,
    version,
};
use crate::faults::{Fault, FaultStore};

/// Whichever call fails, and whether it took effect before, a caller that tries again and recognises its own version
/// ends with each effect exactly once.
pub async fn s03_whichever_call_fails_a_retry_ends_with_one_effect(stores: &Stores) {
    for fault in [Fault::Fail(StoreErrorKind::Unavailable), Fault::LoseAck] {
        for nth in 1.. {
            let faulty = FaultStore::new(stores.clone());
            faulty.on_call(nth, fault);
            live_a_life(&faulty.stores(), stores).await;
            if faulty.total_calls() < nth {
                break;
            }
        }
    }
}

/// Everything that a vault writes, once, through `stores`; `healthy` looks at what came of it.
async fn live_a_life(stores: &Stores, healthy: &Stores) {
    let tenant = tenant();
    let scope = KeyScope::Tenant(tenant.clone());
    let wrapped = data_key(scope.clone());
    let put = persist(async || stores.keys.put(&wrapped, Condition::Absent).await).await;
    assert!([Put::Written, Put::Conflict(Some(wrapped.version))].contains(&put), "{put:?}");
    assert_eq!(healthy.keys.get(&scope).await.expect(WORKS).as_ref(), Some(&wrapped));

    let registered = connector(&tenant, "c1", "mail");
    let put = persist(async || stores.connectors.put(&registered, Condition::Absent).await).await;
    let ours = [NamedPut::Written, NamedPut::Conflict(Some(registered.version))];
    assert!(ours.contains(&put), "{put:?}");

    connect_and_disconnect(stores, healthy, &tenant).await;
    take_a_flow(stores, &tenant).await;

    persist(async || stores.connectors.delete(&tenant, &registered.id, registered.version).await).await;
    assert_eq!(healthy.connectors.find(&tenant, "mail").await.expect(WORKS), None);
    persist(async || stores.keys.delete(&scope).await).await;
    assert_eq!(healthy.keys.get(&scope).await.expect(WORKS), None);
}

async fn connect_and_disconnect(stores: &Stores, healthy: &Stores, tenant: &TenantId) {
    let (store, healthy) = (&stores.connections, &healthy.connections);
    let owing = async || {
        let listed = healthy.list_owed(tenant, None, &Page::first(9)).await;
        listed.expect(WORKS).items
    };
    let first = connection(&key(tenant, "alice"));
    let put = persist(async || store.put(&first, Condition::Absent, None, None).await).await;
    assert!([Put::Written, Put::Conflict(Some(first.version))].contains(&put), "{put:?}");

    let holder = attempt();
    let taken = persist(async || store.acquire_lease(&first.key, holder, LONG).await).await;
    let LeaseAcquire::Acquired(lease, _) = taken else { panic!("free or ours, yet {taken:?}") };
    assert!(persist(async || store.renew_lease(&first.key, holder, lease.fence, LONG).await).await);
    let second = next(&first);
    let superseded = owed(&first, NOW);
    let condition = Condition::Version(first.version);
    let release = Some(LeaseHolder { holder, fence: lease.fence });
    let put = persist(async || store.put(&second, condition, Some(&superseded), release).await).await;
    assert!([Put::Written, Put::Conflict(Some(second.version))].contains(&put), "{put:?}");
    assert_eq!(healthy.lease(&first.key).await.expect(WORKS), None);
    persist(async || store.release_lease(&first.key, holder, lease.fence).await).await;
    assert_eq!(healthy.get(&first.key).await.expect(WORKS).as_ref(), Some(&second));
    assert_eq!(owing().await, std::slice::from_ref(&superseded));

    persist(async || store.delete_owed(&superseded.key, superseded.id).await).await;
    let disconnected = owed(&second, NOW);
    let gone = persist(async || store.delete(&second.key, second.version, Some(&disconnected)).await).await;
    assert!([Put::Written, Put::Conflict(None)].contains(&gone), "{gone:?}");
    let tried = RevocationRecord { version: version(), attempts: 1, ..disconnected.clone() };
    persist(async || store.update_owed(&tried, disconnected.version).await).await;
    assert_eq!(owing().await, std::slice::from_ref(&tried));
    persist(async || store.delete_owed(&tried.key, tried.id).await).await;
    assert_eq!(owing().await, []);
    assert_eq!(healthy.list(&filter(tenant), &Page::first(9)).await.expect(WORKS).items, []);
}

/// A flow whose take was not acknowledged is lost, which is safe; it is never handed out again.
async fn take_a_flow(stores: &Stores, tenant: &TenantId) {
    let record = flow(tenant, user("alice"), NOW.saturating_add(LONG));
    let inserted = persist(async || stores.flows.insert(&record, 1, NOW).await).await;
    assert_ne!(inserted, FlowInsert::TooMany, "its own first try does not count against it");
    let taken = persist(async || stores.flows.take(&record.state_hash, record.expires_at, NOW).await).await;
    assert!(taken.is_none_or(|taken| taken == record));
    let again = persist(async || stores.flows.take(&record.state_hash, record.expires_at, NOW).await).await;
    assert_eq!(again, None);
    persist(async || stores.flows.finish(&record).await).await;
    assert!(!persist(async || stores.flows.finish(&record).await).await);
}

/// Tries again until the store answers.
async fn persist<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let mut tries = 0;
    loop {
        tries += 1;
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_retryable() && tries < 5, "{error}"),
        }
    }
}
