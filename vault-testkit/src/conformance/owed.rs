//! What a [`ConnectionStore`] must do with revocations that are owed.

use std::time::Duration;

use vault_core::clock::Timestamp;
use vault_core::id::{Owner, TenantId};
use vault_core::store::{Condition, ConnectionRecord, ConnectionStore, Page, Put, RevocationRecord};

use super::support::{
    NOW, WORKS, all, at, connection, draw, filter, key, key_of, long_ago, next, owed, tenant, user, version,
};

/// What a write owes is stored when the write happens, and not when it is refused.
pub async fn a_revocation_is_owed_only_if_the_write_happens(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let first = connection(&key(&tenant, "alice"));
    let second = next(&first);
    let wrong = Condition::Version(version());

    let refused = store.put(&first, wrong, Some(&owed(&first, NOW)), None).await.expect(WORKS);
    assert_eq!(refused, Put::Conflict(None));
    assert_eq!(listed(store, &tenant, None, 9).await, []);
    insert(store, &first).await;
    let refused = store.put(&second, wrong, Some(&owed(&first, NOW)), None).await.expect(WORKS);
    assert_eq!(refused, Put::Conflict(Some(first.version)));
    let refused = store.delete(&first.key, second.version, Some(&owed(&first, NOW))).await;
    assert_eq!(refused.expect(WORKS), Put::Conflict(Some(first.version)));
    assert_eq!(listed(store, &tenant, None, 9).await, []);

    let superseded = owed(&first, NOW);
    let condition = Condition::Version(first.version);
    let written = store.put(&second, condition, Some(&superseded), None).await;
    assert_eq!(written.expect(WORKS), Put::Written);
    assert_eq!(listed(store, &tenant, None, 9).await, std::slice::from_ref(&superseded));

    let disconnected = owed(&second, NOW);
    let gone = store.delete(&second.key, second.version, Some(&disconnected)).await;
    assert_eq!(gone.expect(WORKS), Put::Written);
    assert_eq!(store.get(&first.key).await.expect(WORKS), None);
    assert_same(listed(store, &tenant, None, 9).await, &[&superseded, &disconnected]);

    insert(store, &connection(&first.key)).await;
    assert_same(listed(store, &tenant, None, 9).await, &[&superseded, &disconnected]);
}

/// An owed revocation comes back whole, is rewritten by compare-and-swap, never created, and forgotten when it is done.
pub async fn an_owed_revocation_is_rewritten_and_forgotten(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let first = disconnect(store, &connection(&key(&tenant, "alice")), NOW).await;
    let second = RevocationRecord {
        version: version(),
        due_at: at(i64::MAX),
        attempts: u32::MAX,
        created_at: at(i64::MIN),
        sealed: draw::<65_536>().to_vec(),
        ..first.clone()
    };
    assert!(!update(store, &second, second.version).await);
    assert!(update(store, &second, first.version).await);
    assert!(!update(store, &first, first.version).await);
    assert_eq!(listed(store, &tenant, None, 9).await, std::slice::from_ref(&second));

    let elsewhere = key(&super::support::tenant(), "alice");
    store.delete_owed(&elsewhere, second.id).await.expect(WORKS);
    assert_eq!(listed(store, &tenant, None, 9).await, std::slice::from_ref(&second));
    for _ in 0..2 {
        store.delete_owed(&second.key, second.id).await.expect(WORKS);
        assert_eq!(listed(store, &tenant, None, 9).await, []);
    }
    assert!(!update(store, &first, second.version).await);
    assert_eq!(listed(store, &tenant, None, 9).await, []);
}

/// Of many who rewrite one owed revocation at once, one does: two processes do not both take it on.
pub async fn a_race_to_rewrite_an_owed_revocation_has_one_winner(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let there = disconnect(store, &connection(&key(&tenant, "alice")), NOW).await;
    let won: [bool; 8] = super::support::race(async |_| {
        let mine = RevocationRecord { version: version(), attempts: 1, ..there.clone() };
        update(store, &mine, there.version).await
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
}

/// After many connects and disconnects whose revocations are settled, nothing of them is left in any listing or scan.
pub async fn x05_settled_revocations_leave_nothing(store: &dyn ConnectionStore) {
    const CYCLES: usize = 50;
    let (tenant, start) = (tenant(), long_ago());
    for _ in 0..CYCLES {
        let record = ConnectionRecord { due_at: Some(start), ..connection(&key(&tenant, "alice")) };
        let owed = disconnect(store, &record, start).await;
        let tried = RevocationRecord { version: version(), attempts: 1, ..owed.clone() };
        assert!(update(store, &tried, owed.version).await);
        store.delete_owed(&owed.key, owed.id).await.expect(WORKS);
    }
    assert_eq!(listed(store, &tenant, None, 9).await, []);
    assert_eq!(listed(store, &tenant, Some(&user("alice")), 9).await, []);
    let connections = store.list(&filter(&tenant), &Page::first(9)).await.expect(WORKS);
    assert_eq!((connections.items, connections.next), (Vec::new(), None));
    let due = store.due(start, 10_000).await.expect(WORKS);
    assert!(!due.iter().any(|key| key.tenant == tenant));
    let owing = store.owed_due(start, 10_000).await.expect(WORKS);
    assert!(!owing.iter().any(|owed| owed.key.tenant == tenant));
}

/// Owed revocations come longest due first, as many as asked for, and none that is due later.
pub async fn the_longest_owed_come_first(store: &dyn ConnectionStore) {
    let (tenant, start) = (tenant(), long_ago());
    let after = |seconds| start.saturating_add(Duration::from_secs(seconds));
    let mut all = Vec::new();
    for n in [2, 0, 3, 1] {
        let record = connection(&key(&tenant, &format!("u{n}")));
        all.push(disconnect(store, &record, after(n)).await);
    }
    all.sort_by_key(|owed| owed.due_at);

    let ours = async |before| {
        let mut due = store.owed_due(before, 10_000).await.expect(WORKS);
        due.retain(|owed| owed.key.tenant == tenant);
        due
    };
    assert_eq!(ours(after(2)).await, all[..3]);
    assert_eq!(ours(after(0)).await, all[..1]);
    assert!(store.owed_due(after(3), 2).await.expect(WORKS).len() <= 2);
    assert!(store.owed_due(after(3), 0).await.expect(WORKS).is_empty());
    for owed in all {
        store.delete_owed(&owed.key, owed.id).await.expect(WORKS);
    }
}

/// A tenant's or an owner's owed revocations are listed page by page, each once.
pub async fn owed_revocations_are_listed_page_by_page(store: &dyn ConnectionStore) {
    let (tenant, other) = (tenant(), tenant());
    for tenant in [&tenant, &other] {
        for owner in [user("alice"), user("bob"), Owner::Shared] {
            for connector in ["mail", "chat"] {
                let key = key_of(tenant, owner.clone(), connector, "default");
                disconnect(store, &connection(&key), NOW).await;
            }
        }
    }
    let order = listed(store, &tenant, None, 100).await;
    assert_eq!(order.len(), 6);
    assert!(order.iter().all(|owed| owed.key.tenant == tenant));
    for limit in 1..=7 {
        assert_eq!(listed(store, &tenant, None, limit).await, order, "limit {limit}");
        for owner in [user("alice"), Owner::Shared] {
            let theirs = listed(store, &tenant, Some(&owner), limit).await;
            assert_eq!(theirs.len(), 2);
            assert!(theirs.iter().all(|owed| owed.key.owner == owner));
        }
    }
    let first = store.list_owed(&tenant, None, &Page::first(2)).await.expect(WORKS);
    for gone in &first.items {
        store.delete_owed(&gone.key, gone.id).await.expect(WORKS);
    }
    let rest = Page { after: first.next, limit: 100 };
    let rest = store.list_owed(&tenant, None, &rest).await.expect(WORKS);
    assert_eq!(rest.items, order[2..]);
}

async fn insert(store: &dyn ConnectionStore, record: &ConnectionRecord) {
    let written = store.put(record, Condition::Absent, None, None).await;
    assert_eq!(written.expect(WORKS), Put::Written);
}

/// Stores the connection and removes it again, leaving the revocation that is owed for it.
async fn disconnect(
    store: &dyn ConnectionStore,
    record: &ConnectionRecord,
    due_at: Timestamp,
) -> RevocationRecord {
    insert(store, record).await;
    let owed = owed(record, due_at);
    let gone = store.delete(&record.key, record.version, Some(&owed)).await;
    assert_eq!(gone.expect(WORKS), Put::Written);
    owed
}

async fn update(
    store: &dyn ConnectionStore,
    record: &RevocationRecord,
    version: vault_core::store::Version,
) -> bool {
    store.update_owed(record, version).await.expect(WORKS)
}

async fn listed(
    store: &dyn ConnectionStore,
    tenant: &TenantId,
    owner: Option<&Owner>,
    limit: u32,
) -> Vec<RevocationRecord> {
    all(limit, async |page| store.list_owed(tenant, owner, &page).await).await
}

fn assert_same(mut listed: Vec<RevocationRecord>, expected: &[&RevocationRecord]) {
    let mut expected: Vec<_> = expected.iter().map(|&owed| owed.clone()).collect();
    listed.sort_by_key(|owed| owed.id);
    expected.sort_by_key(|owed| owed.id);
    assert_eq!(listed, expected);
}
