//! What a [`ConnectionStore`] must find due.

use std::collections::HashMap;
use std::time::Duration;

use vault_core::ReauthReason;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, TenantId};
use vault_core::store::{Condition, ConnectionRecord, ConnectionStatus, ConnectionStore, LeaseAcquire, Put};

use super::support::{WORKS, at, attempt, connection, create, key, long_ago, next, race, tenant};

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
    let LeaseAcquire::Acquired(lease, _) = taken else { panic!("the lease is free, yet {taken:?}") };
    assert_eq!(ours(store, &tenant, start).await, []);

    store.release_lease(&record.key, holder, lease.fence).await.expect(WORKS);
    assert_eq!(ours(store, &tenant, start).await, std::slice::from_ref(&record.key));

    let lapsing = store.acquire_lease(&record.key, holder, Duration::from_millis(50)).await;
    assert!(matches!(lapsing.expect(WORKS), LeaseAcquire::Acquired(..)));
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

/// Many due connections of many owners and tenants are all found, a few at a time, by one who reschedules what it found.
pub async fn every_due_connection_is_found(store: &dyn ConnectionStore) {
    const TENANTS: usize = 3;
    const OWNERS: u32 = 25;
    let (tenants, start) = ([(); TENANTS].map(|()| tenant()), long_ago());
    let end = start.saturating_add(SECOND * OWNERS);
    let mut left = HashMap::new();
    for n in 0..OWNERS {
        for tenant in &tenants {
            let record = insert(store, tenant, n, Some(start.saturating_add(SECOND * n))).await;
            left.insert(record.key.clone(), record);
        }
    }
    let all: Vec<_> = left.keys().cloned().collect();

    // Others may have something due before ours: a scan that finds none of ours looks further.
    let mut limit = 7;
    while !left.is_empty() {
        let due = store.due(end, limit).await.expect(WORKS);
        assert!(due.len() <= limit as usize, "{} of at most {limit}", due.len());
        let full = due.len() == limit as usize;
        let ours: Vec<_> = due.into_iter().filter(|key| all.contains(key)).collect();
        assert!(full || ours.len() == left.len(), "{} were missed", left.len() - ours.len());
        if ours.is_empty() {
            limit *= 2;
        }
        for key in ours {
            let record = left.remove(&key).expect("a rescheduled connection is not due");
            let later = ConnectionRecord { due_at: Some(end.saturating_add(SECOND)), ..next(&record) };
            replace(store, &record, &later).await;
            clean(store, [later]).await;
        }
    }
}

/// However due times are moved to and fro at once, the scan finds what is due then, in order, and nothing else.
pub async fn a_moved_due_time_is_the_one_that_counts(store: &dyn ConnectionStore) {
    const WORKERS: usize = 4;
    const EACH: usize = 6;
    const MOVES: [Option<i64>; 5] = [Some(-3), Some(4), None, Some(9), Some(-1)];
    let (tenant, start) = (tenant(), long_ago());
    let moved: [Vec<ConnectionRecord>; WORKERS] = race(async |worker| {
        let mut records = Vec::new();
        for n in 0..EACH {
            let id = u32::try_from(worker * EACH + n).expect("small");
            let mut record = insert(store, &tenant, id, Some(start)).await;
            // One that waits for its user meanwhile must come back at its new time, not its old one.
            for shift in MOVES.iter().cycle().skip(n).take(MOVES.len() + worker) {
                let due_at = shift.map(|shift| at(start.as_millis() + shift * 1_000 + i64::from(id)));
                let status = match shift {
                    None => ConnectionStatus::NeedsReauthorization(ReauthReason::GrantRevoked),
                    Some(_) => ConnectionStatus::Active,
                };
                let new = ConnectionRecord { due_at, status, ..next(&record) };
                replace(store, &record, &new).await;
                record = new;
            }
            records.push(record);
        }
        records
    });
    let moved = moved.concat();
    for millis in [-3_001, -3_000, -2_980, -1, 0, 4_010, 9_999] {
        let before = at(start.as_millis() + millis);
        let mut expected: Vec<_> =
            moved.iter().filter(|record| record.due_at.is_some_and(|at| at <= before)).collect();
        expected.sort_by_key(|record| record.due_at);
        let expected: Vec<_> = expected.into_iter().map(|record| record.key.clone()).collect();
        assert_eq!(ours(store, &tenant, before).await, expected, "within {millis} ms");
    }
    clean(store, moved).await;
}

async fn insert(
    store: &dyn ConnectionStore,
    tenant: &TenantId,
    n: u32,
    due_at: Option<Timestamp>,
) -> ConnectionRecord {
    let record = ConnectionRecord { due_at, ..connection(&key(tenant, &format!("u{n}"))) };
    create(store, &record).await;
    record
}

async fn replace(store: &dyn ConnectionStore, old: &ConnectionRecord, new: &ConnectionRecord) {
    let written = store.put(new, Condition::Version(old.version), None, None).await;
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
