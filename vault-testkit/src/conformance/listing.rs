//! What a [`ConnectionStore`] must list, and how.

use vault_core::id::{ConnectionKey, Owner, TenantId};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, ListedConnection, Page, Put,
};

use super::support::{WORKS, all, connection, connector_id, key_of, next, tenant, user};

/// A listing shows what was put, as it is now, without its credential.
pub async fn a_listing_shows_the_record_as_it_is(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let first = insert(store, key_of(&tenant, user("alice"), "mail", "default")).await;
    let second = next(&first);
    let condition = Condition::Version(first.version);
    let written = store.put(&second, condition, None).await.expect(WORKS);
    assert_eq!(written, Put::Written);
    let listed = all(10, async |page| store.list(&filter(&tenant), &page).await).await;
    assert_eq!(listed, [ListedConnection::from(second)]);
}

/// Owner and connector narrow a listing, together or alone, and no other tenant's connections are ever in it.
pub async fn a_listing_keeps_to_its_filter(store: &dyn ConnectionStore) {
    let (tenant, other) = (tenant(), tenant());
    let shared = Owner::Shared;
    let owners = [user("alice"), user("bob"), user("shared"), shared];
    for tenant in [&tenant, &other] {
        for owner in &owners {
            for (connector, slot) in [("mail", "default"), ("mail", "work"), ("chat", "default")] {
                insert(store, key_of(tenant, owner.clone(), connector, slot)).await;
            }
        }
    }
    let count = async |owner: Option<&Owner>, connector: Option<&str>| {
        let filter = ConnectionFilter {
            owner: owner.cloned(),
            connector: connector.map(connector_id),
            ..filter(&tenant)
        };
        let keys = keys(store, &filter, 4).await;
        for key in &keys {
            assert_eq!(key.tenant, tenant);
            assert!(owner.is_none_or(|owner| key.owner == *owner), "{key}");
            assert!(connector.is_none_or(|id| key.connector.as_str() == id), "{key}");
        }
        keys.len()
    };
    assert_eq!(count(None, None).await, 12);
    assert_eq!(count(None, Some("mail")).await, 8);
    assert_eq!(count(None, Some("absent")).await, 0);
    for owner in &owners {
        assert_eq!(count(Some(owner), None).await, 3);
        assert_eq!(count(Some(owner), Some("chat")).await, 1);
    }
    assert_eq!(count(Some(&user("carol")), None).await, 0);
}

/// Whatever the page size, every connection is listed once, always in the same order.
pub async fn every_page_size_lists_everything_once(store: &dyn ConnectionStore) {
    let tenant = tenant();
    for n in 0..7 {
        insert(store, key_of(&tenant, user(&format!("u{n}")), "mail", "default")).await;
    }
    let order = keys(store, &filter(&tenant), 100).await;
    assert_eq!(order.len(), 7);
    for limit in 1..=8 {
        assert_eq!(keys(store, &filter(&tenant), limit).await, order, "limit {limit}");
    }
    let least = store.list(&filter(&tenant), &Page::first(0)).await.expect(WORKS);
    assert_eq!(least.items.len(), 1, "at least one when there is any");
}

/// Inserts, writes and deletes between two pages neither hide nor repeat what is there all along.
pub async fn a_listing_survives_inserts_and_deletes(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let mut staying = Vec::new();
    for n in 0..6 {
        staying.push(insert(store, key_of(&tenant, user(&format!("stays {n}")), "mail", "default")).await);
    }
    let mut going = Vec::new();
    for n in 0..6 {
        going.push(insert(store, key_of(&tenant, user(&format!("goes {n}")), "mail", "default")).await);
    }

    let mut seen = Vec::new();
    let mut page = Page::first(2);
    for round in 0.. {
        let paged = store.list(&filter(&tenant), &page).await.expect(WORKS);
        seen.extend(paged.items.into_iter().map(|listed| listed.key));
        let Some(after) = paged.next else { break };
        page.after = Some(after);

        assert!(round < 100, "the listing must end");
        if let Some(gone) = going.pop() {
            let deleted = store.delete(&gone.key, gone.version, None).await.expect(WORKS);
            assert_eq!(deleted, Put::Written);
            insert(store, key_of(&tenant, user(&format!("comes {round}")), "mail", "default")).await;
        }
        let changed = next(&staying[round % 6]);
        let condition = Condition::Version(staying[round % 6].version);
        assert_eq!(store.put(&changed, condition, None).await.expect(WORKS), Put::Written);
        staying[round % 6] = changed;
    }
    for record in &staying {
        let times = seen.iter().filter(|key| **key == record.key).count();
        assert_eq!(times, 1, "{} was there all along", record.key);
    }
    let repeats = seen.iter().enumerate().filter(|(n, key)| seen[..*n].contains(key));
    assert_eq!(repeats.count(), 0);
}

/// The next page may start where a connection was that is gone by then.
pub async fn a_cursor_outlives_its_connection(store: &dyn ConnectionStore) {
    let tenant = tenant();
    for n in 0..3 {
        insert(store, key_of(&tenant, user(&format!("u{n}")), "mail", "default")).await;
    }
    let first = store.list(&filter(&tenant), &Page::first(1)).await.expect(WORKS);
    let gone = store.get(&first.items[0].key).await.expect(WORKS).expect("stored");
    let deleted = store.delete(&gone.key, gone.version, None).await.expect(WORKS);
    assert_eq!(deleted, Put::Written);
    let rest = Page { after: first.next, limit: 10 };
    let rest = store.list(&filter(&tenant), &rest).await.expect(WORKS);
    assert_eq!(rest.items.len(), 2);
    assert_eq!(rest.next, None);
}

async fn insert(store: &dyn ConnectionStore, key: ConnectionKey) -> ConnectionRecord {
    let record = connection(&key);
    let written = store.put(&record, Condition::Absent, None).await.expect(WORKS);
    assert_eq!(written, Put::Written);
    record
}

async fn keys(store: &dyn ConnectionStore, filter: &ConnectionFilter, limit: u32) -> Vec<ConnectionKey> {
    let listed = all(limit, async |page| store.list(filter, &page).await).await;
    listed.into_iter().map(|listed| listed.key).collect()
}

fn filter(tenant: &TenantId) -> ConnectionFilter {
    ConnectionFilter { tenant: tenant.clone(), owner: None, connector: None }
}
