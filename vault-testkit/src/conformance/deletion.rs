//! What a [`ConnectionStore`] must forget.

use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, LeaseAcquire, Page, Put,
};

use super::support::{
    LONG, WORKS, attempt, connection, create, filter, key, lease, long_ago, next, race, tenant,
};

/// A version from before a delete does not match what was made after it.
pub async fn a_version_does_not_outlive_its_record(store: &dyn ConnectionStore) {
    let before = connection(&key(&tenant(), "alice"));
    assert_eq!(put(store, &before, Condition::Absent).await, Put::Written);
    assert_eq!(delete(store, &before).await, Put::Written);
    let after = connection(&before.key);
    assert_eq!(put(store, &after, Condition::Absent).await, Put::Written);

    let late = next(&before);
    let condition = Condition::Version(before.version);
    assert_eq!(put(store, &late, condition).await, is(&after));
    assert_eq!(delete(store, &before).await, is(&after));
    assert_eq!(store.get(&after.key).await.expect(WORKS), Some(after));
}

/// A deleted connection shows up nowhere, whatever was stored of it, nothing but a new create brings it back, and that
/// starts anew.
pub async fn a_deleted_connection_is_gone_everywhere(store: &dyn ConnectionStore) {
    let start = long_ago();
    let old = ConnectionRecord { due_at: Some(start), ..connection(&key(&tenant(), "alice")) };
    let (key, tenant) = (&old.key, &old.key.tenant);
    create(store, &old).await;
    let holder = attempt();
    let held = lease(store, key, holder).await;
    assert_eq!(delete(store, &old).await, Put::Written);

    let is_gone = async || {
        assert_eq!(store.read(key).await.expect(WORKS), None);
        assert_eq!(store.get(key).await.expect(WORKS), None);
        assert_eq!(store.list(&filter(tenant), &Page::first(9)).await.expect(WORKS).items, []);
        let owner = ConnectionFilter { owner: Some(key.owner.clone()), ..filter(tenant) };
        assert_eq!(store.list(&owner, &Page::first(9)).await.expect(WORKS).items, []);
        let through = ConnectionFilter { connector: Some(key.connector.clone()), ..filter(tenant) };
        assert_eq!(store.list(&through, &Page::first(9)).await.expect(WORKS).items, []);
        assert!(!store.due(start, 10_000).await.expect(WORKS).contains(key));
    };
    is_gone().await;
    assert_eq!(store.acquire_lease(key, holder, LONG).await.expect(WORKS), LeaseAcquire::Absent);
    assert!(!store.renew_lease(key, holder, held.fence, LONG).await.expect(WORKS));
    store.release_lease(key, holder, held.fence).await.expect(WORKS);
    let late = next(&old);
    assert_eq!(put(store, &late, Condition::Version(old.version)).await, Put::Conflict(None));
    assert_eq!(delete(store, &old).await, Put::Conflict(None));
    is_gone().await;

    let new = ConnectionRecord { generation: 1, due_at: None, ..next(&old) };
    create(store, &new).await;
    assert!(!store.due(start, 10_000).await.expect(WORKS).contains(key), "the old due time is gone");
    assert!(!store.renew_lease(key, holder, held.fence, LONG).await.expect(WORKS));
    lease(store, key, attempt()).await;
    assert_eq!(put(store, &late, Condition::Version(old.version)).await, is(&new));
    assert_eq!(delete(store, &old).await, is(&new));
    assert_eq!(store.get(key).await.expect(WORKS), Some(new));
}

/// Of many who delete one record at once, one does.
pub async fn a_race_to_delete_has_one_winner(store: &dyn ConnectionStore) {
    let record = connection(&key(&tenant(), "alice"));
    assert_eq!(put(store, &record, Condition::Absent).await, Put::Written);
    let wrong = next(&record);
    assert_eq!(delete(store, &wrong).await, is(&record));

    let outcomes: [_; 8] = race(async |_| delete(store, &record).await);
    let won = outcomes.iter().filter(|put| **put == Put::Written).count();
    assert_eq!(won, 1, "{outcomes:?}");
    let lost = outcomes.iter().filter(|put| **put == Put::Conflict(None)).count();
    assert_eq!(lost, 7, "{outcomes:?}");
}

async fn put(store: &dyn ConnectionStore, record: &ConnectionRecord, condition: Condition) -> Put {
    store.put(record, condition, None, None).await.expect(WORKS)
}

async fn delete(store: &dyn ConnectionStore, record: &ConnectionRecord) -> Put {
    store.delete(&record.key, record.version, None).await.expect(WORKS)
}

fn is(record: &ConnectionRecord) -> Put {
    Put::Conflict(Some(record.version))
}
