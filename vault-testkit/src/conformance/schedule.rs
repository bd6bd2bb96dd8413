//! What a [`ConnectionStore`] must find due.

use std::time::Duration;

use vault_core::ReauthReason;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, TenantId};
use vault_core::store::{Condition, ConnectionRecord, ConnectionStatus, ConnectionStore, LeaseAcquire, Put};

use super::support::{WORKS, attempt, connection, key, long_ago, next, tenant};

const SECOND: Duration = Duration::from_secs(1);

/// Due connections come longest due first, as many as asked for, and none that is due later or never.
pub async fn the_longest_due_come_first(store: &dyn ConnectionStore) {
    let (tenant, start) = (tenant(), long_ago());
    let mut due = Vec::new();
    for n in [2, 0, 1] {
        due.push(insert(store, &tenant, n, Some(start.saturating_add(SECOND * n))).await);
    }
    let later = insert(store, &tenant, 3, Some(start.saturating_add(SECOND * 3))).await;
    let never = insert(store, &tenant, 4, None).await;
    due.sort_by_key(|record| record.due_at);
    let expected: Vec<_> = due.iter().map(|record| record.key.clone()).collect();

    let before = start.saturating_add(SECOND * 2);
    assert_eq!(ours(store, &tenant, before).await, expected, "inclusive, in order");
    assert_eq!(ours(store, &tenant, start.saturating_add(SECOND)).await, expected[..2]);
    assert!(store.due(before, 2).await.expect(WORKS).len() <= 2);
    assert!(store.due(before, 0).await.expect(WORKS).is_empty());
    clean(store, due.into_iter().chain([later, never])).await;
}

/// Connections whose lease is held are skipped until it is free again.
pub async fn a_leased_connection_is_not_due(store: &dyn ConnectionStore) {
    let (tenant, start) = (tenant(), long_ago());
    let record = insert(store, &tenant, 0, Some(start)).await;
    let holder = attempt();
    let taken = store.acquire_lease(&record.key, holder, SECOND * 60).await.expect(WORKS);
    let LeaseAcquire::Acquired(lease) = taken else { panic!("the lease is free, yet {taken:?}") };
    assert_eq!(ours(store, &tenant, start).await, []);

    store.release_lease(&record.key, holder, lease.fence).await.expect(WORKS);
    assert_eq!(ours(store, &tenant, start).await, std::slice::from_ref(&record.key));

    let lapsing = store.acquire_lease(&record.key, holder, Duration::from_millis(50)).await;
    assert!(matches!(lapsing.expect(WORKS), LeaseAcquire::Acquired(_)));
    while ours(store, &tenant, start).await.is_empty() {
        tokio::task::yield_now().await;
    }
    clean(store, [record]).await;
}

/// A connection that waits for its user is not due; once it is active again it is.
pub async fn only_an_active_connection_is_due(store: &dyn ConnectionStore) {
    let (tenant, start) = (tenant(), long_ago());
    let active = insert(store, &tenant, 0, Some(start)).await;
    let waiting = ConnectionRecord {
        status: ConnectionStatus::NeedsReauthorization(ReauthReason::GrantRevoked),
        ..next(&active)
    };
    replace(store, &active, &waiting).await;
    assert_eq!(ours(store, &tenant, start).await, []);

    let healed = ConnectionRecord { status: ConnectionStatus::Active, ..next(&waiting) };
    replace(store, &waiting, &healed).await;
    assert_eq!(ours(store, &tenant, start).await, std::slice::from_ref(&active.key));

    let refreshed = ConnectionRecord { due_at: Some(start.saturating_add(SECOND)), ..next(&healed) };
    replace(store, &healed, &refreshed).await;
    assert_eq!(ours(store, &tenant, start).await, []);
    clean(store, [refreshed]).await;
}

async fn insert(
    store: &dyn ConnectionStore,
    tenant: &TenantId,
    n: u32,
    due_at: Option<Timestamp>,
) -> ConnectionRecord {
    let record = ConnectionRecord { due_at, ..connection(&key(tenant, &format!("u{n}"))) };
    let written = store.put(&record, Condition::Absent, None).await;
    assert_eq!(written.expect(WORKS), Put::Written);
    record
}

async fn replace(store: &dyn ConnectionStore, old: &ConnectionRecord, new: &ConnectionRecord) {
    let written = store.put(new, Condition::Version(old.version), None).await;
    assert_eq!(written.expect(WORKS), Put::Written);
}

/// What is due of this test, on a store where others may have due connections too.
async fn ours(store: &dyn ConnectionStore, tenant: &TenantId, before: Timestamp) -> Vec<ConnectionKey> {
    let mut due = store.due(before, 10_000).await.expect(WORKS);
    due.retain(|key| key.tenant == *tenant);
    due
}

async fn clean(store: &dyn ConnectionStore, records: impl IntoIterator<Item = ConnectionRecord>) {
    for record in records {
        let gone = store.delete(&record.key, record.version, None).await;
        assert_eq!(gone.expect(WORKS), Put::Written);
    }
}
