//! What must hold across a restart: the handle is dropped, and another one opened on the same data.

use std::time::Duration;

use vault_core::store::{Condition, FlowInsert, KeyScope, LeaseAcquire, NamedPut, Page, Put};

use super::Fixture;
use super::support::{
    LONG, NOW, WORKS, attempt, connection, connector, create, data_key, filter, flow, key, lease, next, owed,
    tenant, user,
};

/// What was written is there after a restart, as last written, and what was removed is not.
pub async fn acknowledged_writes_survive_a_reopen(fixture: Fixture) {
    let tenant = tenant();
    let scope = KeyScope::Tenant(tenant.clone());
    let (registered, wrapped) = (connector(&tenant, "c1", "mail"), data_key(scope.clone()));
    let (pending, taken) = (
        flow(&tenant, user("alice"), NOW.saturating_add(LONG)),
        flow(&tenant, user("bob"), NOW.saturating_add(LONG)),
    );
    let stores = &fixture.stores;
    let put = stores.connectors.put(&registered, Condition::Absent).await;
    assert_eq!(put.expect(WORKS), NamedPut::Written);
    assert_eq!(stores.keys.put(&wrapped, Condition::Absent).await.expect(WORKS), Put::Written);
    for flow in [&pending, &taken] {
        assert_eq!(stores.flows.insert(flow, 9, NOW).await.expect(WORKS), FlowInsert::Inserted);
    }
    assert!(stores.flows.take(&taken.state_hash, taken.expires_at, NOW).await.expect(WORKS).is_some());

    let (first, gone) = (connection(&key(&tenant, "alice")), connection(&key(&tenant, "bob")));
    create(&*stores.connections, &first).await;
    create(&*stores.connections, &gone).await;
    let second = next(&first);
    let put = stores.connections.put(&second, Condition::Version(first.version), None, None).await;
    assert_eq!(put.expect(WORKS), Put::Written);
    let owed = owed(&gone, NOW);
    let deleted = stores.connections.delete(&gone.key, gone.version, Some(&owed)).await;
    assert_eq!(deleted.expect(WORKS), Put::Written);

    let fixture = fixture.restart().await;
    let stores = &fixture.stores;
    let found = stores.connectors.find(&tenant, "mail").await.expect(WORKS);
    assert_eq!(found, Some(registered));
    assert_eq!(stores.keys.get(&scope).await.expect(WORKS), Some(wrapped));
    assert!(stores.keys.delete(&scope).await.expect(WORKS));
    assert_eq!(
        stores.flows.take(&pending.state_hash, pending.expires_at, NOW).await.expect(WORKS),
        Some(pending)
    );
    assert_eq!(stores.flows.take(&taken.state_hash, taken.expires_at, NOW).await.expect(WORKS), None);
    assert!(stores.flows.finish(&taken).await.expect(WORKS), "taken it still is");
    let connections = &stores.connections;
    assert_eq!(connections.get(&second.key).await.expect(WORKS).as_ref(), Some(&second));
    assert_eq!(connections.read(&gone.key).await.expect(WORKS), None);
    let listed = connections.list(&filter(&tenant), &Page::first(9)).await.expect(WORKS);
    assert_eq!(listed.items, [second.into()]);
    let listed = connections.list_owed(&tenant, None, &Page::first(9)).await.expect(WORKS);
    assert_eq!(listed.items, [owed]);
}

/// A lease outlives the process that took it, and fences go on rising where they stood, be the lease free or held.
pub async fn fences_survive_a_reopen(mut fixture: Fixture) {
    let record = connection(&key(&tenant(), "alice"));
    create(&*fixture.stores.connections, &record).await;
    let holder = attempt();
    let mut last = 0;
    for held in [true, false, true] {
        let store = &fixture.stores.connections;
        let lease = lease(&**store, &record.key, holder).await;
        assert!(lease.fence > last, "fence {} after {last}", lease.fence);
        last = lease.fence;
        if !held {
            store.release_lease(&record.key, holder, lease.fence).await.expect(WORKS);
        }

        fixture = fixture.restart().await;
        let store = &fixture.stores.connections;
        let renewed = store.renew_lease(&record.key, holder, lease.fence, LONG).await;
        assert_eq!(renewed.expect(WORKS), held);
        let other = store.acquire_lease(&record.key, attempt(), Duration::ZERO).await.expect(WORKS);
        match other {
            LeaseAcquire::Held { .. } if held => {}
            LeaseAcquire::Acquired(lease, _) if !held => {
                assert_eq!(lease.fence, last + 1);
                last = lease.fence;
            }
            _ => panic!("held: {held}, yet {other:?}"),
        }
    }
}
