//! What holds between two handles on the same data, such as two processes have.

use vault_core::store::{Condition, FlowInsert, KeyScope, LeaseAcquire, NamedPut, Page, Put};

use super::support::{
    LONG, NOW, WORKS, attempt, connection, connector, create, data_key, filter, flow, key, lease, one_winner,
    owed, race, tenant, user,
};
use super::{Fixture, connections};

/// A write through one handle shows through the other, of two who swap the same record one wins and the other sees its
/// version, and a lease keeps out the other handle.
pub async fn s16_two_handles_share_one_store(fixture: &Fixture) {
    let other = fixture.another().await;
    connections::s16_two_handles_share_one_store(&*fixture.stores.connections, &*other.connections).await;
}

/// Of two handles that swap one connector, one wins and the other sees its version; both find what it wrote.
pub async fn s16_two_handles_share_connectors(fixture: &Fixture) {
    let handles = [&fixture.stores, &fixture.another().await];
    let tenant = tenant();
    let mut condition = Condition::Absent;
    for turn in 0..6 {
        let name = format!("name {turn}");
        let outcomes: [_; 2] = race(async |worker| {
            let record = connector(&tenant, "c1", &name);
            let put = handles[worker].connectors.put(&record, condition).await;
            (record.version, put.expect(WORKS))
        });
        let winner = one_winner(&outcomes, &NamedPut::Written, NamedPut::Conflict);
        for handle in handles {
            let found = handle.connectors.find(&tenant, &name).await.expect(WORKS);
            assert_eq!(found.map(|record| record.version), Some(winner));
        }
        condition = Condition::Version(winner);
    }
}

/// Of two handles that swap one key, one wins and the other sees its version; a key deleted through one is gone from
/// both.
pub async fn s16_two_handles_share_keys(fixture: &Fixture) {
    let handles = [&fixture.stores, &fixture.another().await];
    let scope = KeyScope::Tenant(tenant());
    let mut condition = Condition::Absent;
    for _ in 0..6 {
        let outcomes: [_; 2] = race(async |worker| {
            let record = data_key(scope.clone());
            (record.version, handles[worker].keys.put(&record, condition).await.expect(WORKS))
        });
        condition = Condition::Version(one_winner(&outcomes, &Put::Written, Put::Conflict));
    }
    assert!(handles[0].keys.delete(&scope).await.expect(WORKS));
    assert_eq!(handles[1].keys.get(&scope).await.expect(WORKS), None);
}

/// A flow that was inserted through one handle is taken once, whichever handle is asked.
pub async fn a_flow_is_taken_once_across_handles(fixture: &Fixture) {
    let handles = [&fixture.stores, &fixture.another().await];
    for _ in 0..6 {
        let record = flow(&tenant(), user("alice"), NOW.saturating_add(LONG));
        let inserted = handles[0].flows.insert(&record, 1, NOW).await.expect(WORKS);
        assert_eq!(inserted, FlowInsert::Inserted);
        let again = handles[1].flows.insert(&record, 1, NOW).await.expect(WORKS);
        assert_eq!(again, FlowInsert::Exists);
        let taken: [_; 4] = race(async |worker| {
            let taken = handles[worker % 2].flows.take(&record.state_hash, record.expires_at, NOW).await;
            taken.expect(WORKS)
        });
        assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [record]);
    }
}

/// A connection that was deleted through one handle is gone for the other at once: no handle answers from a cache.
pub async fn v06_a_delete_through_one_handle_is_seen_by_the_other(fixture: &Fixture) {
    let (one, two) = (&fixture.stores.connections, &fixture.another().await.connections);
    let record = connection(&key(&tenant(), "alice"));
    let tenant = &record.key.tenant;
    for (one, two) in [(one, two), (two, one)] {
        create(&**one, &record).await;
        assert_eq!(two.read(&record.key).await.expect(WORKS).as_ref(), Some(&record.credential));
        lease(&**two, &record.key, attempt()).await;

        let owed = owed(&record, NOW);
        let gone = one.delete(&record.key, record.version, Some(&owed)).await;
        assert_eq!(gone.expect(WORKS), Put::Written);
        assert_eq!(two.read(&record.key).await.expect(WORKS), None);
        assert_eq!(two.get(&record.key).await.expect(WORKS), None);
        assert_eq!(two.list(&filter(tenant), &Page::first(9)).await.expect(WORKS).items, []);
        let refused = two.acquire_lease(&record.key, attempt(), LONG).await.expect(WORKS);
        assert_eq!(refused, LeaseAcquire::Absent);
        let listed = two.list_owed(tenant, None, &Page::first(9)).await.expect(WORKS);
        assert_eq!(listed.items, std::slice::from_ref(&owed));
        two.delete_owed(&owed.key, owed.id).await.expect(WORKS);
    }
}
