//! What a [`ConnectionStore`] must list, and how.

use std::collections::HashSet;

use vault_core::id::{ConnectionKey, Owner};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, Cursor, ListedConnection, Page, Put,
};

use super::support::{
    WORKS, all, connection, connector_id, create, filter, key_of, next, race, tenant, user,
};

/// A listing shows what was put, as it is now, without its credential.
pub async fn a_listing_shows_the_record_as_it_is(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let first = insert(store, key_of(&tenant, user("alice"), "mail", "default")).await;
    let second = next(&first);
    let condition = Condition::Version(first.version);
    let written = store.put(&second, condition, None, None).await.expect(WORKS);
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
        assert_eq!(store.put(&changed, condition, None, None).await.expect(WORKS), Put::Written);
        staying[round % 6] = changed;
    }
    for record in &staying {
        let times = seen.iter().filter(|key| **key == record.key).count();
        assert_eq!(times, 1, "{} was there all along", record.key);
    }
    let repeats = seen.iter().enumerate().filter(|(n, key)| seen[..*n].contains(key));
    assert_eq!(repeats.count(), 0);
}

/// Neither a listed connection nor a cursor holds anything of its credential or of what the refresh remembers, in
/// whichever form.
pub async fn a_listing_never_holds_a_credential(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let secrets = [&b"marker-of-the-credential"[..], b"marker-of-the-refresh-state"];
    for n in 0..2 {
        let record = ConnectionRecord {
            credential: secrets[0].into(),
            refresh: secrets[1].to_vec(),
            ..connection(&key_of(&tenant, user(&format!("u{n}")), "mail", "default"))
        };
        create(store, &record).await;
    }
    let mut page = Page::first(1);
    loop {
        let paged = store.list(&filter(&tenant), &page).await.expect(WORKS);
        let shown = format!("{paged:?} {store:?}");
        let cursor = paged.next.clone().map_or(Vec::new(), |Cursor(bytes)| bytes);
        for secret in secrets {
            let numbers = format!("{secret:?}");
            assert!(!shown.contains(numbers.trim_matches(['[', ']'])), "{shown}");
            let text = std::str::from_utf8(secret).expect("ascii");
            assert!(!shown.contains(text), "{shown}");
            assert!(!cursor.windows(secret.len()).any(|bytes| bytes == secret));
        }
        let Some(after) = paged.next else { break };
        page.after = Some(after);
    }
}

/// Two thousand connections are listed a hundred at a time while others come and go: no page is longer, what stays is
/// listed once, and the owner of a few finds those.
pub async fn x01_a_long_listing_comes_in_bounded_pages(store: &dyn ConnectionStore) {
    const WORKERS: usize = 4;
    const EACH: usize = 500;
    let tenant = tenant();
    let owner = |worker: usize, n: usize| user(&format!("u{}", (n * WORKERS + worker) / 5));
    let slot = |worker: usize, n: usize| format!("s{worker}-{n}");
    let _: [(); WORKERS] = race(async |worker| {
        for n in 0..EACH {
            insert(store, key_of(&tenant, owner(worker, n), "mail", &slot(worker, n))).await;
        }
    });

    let (mut seen, mut pages) = (HashSet::new(), 0);
    let mut page = Page::first(100);
    loop {
        let paged = store.list(&filter(&tenant), &page).await.expect(WORKS);
        assert!(paged.items.len() <= 100);
        for listed in paged.items {
            assert!(seen.insert(listed.key.clone()), "{} is listed twice", listed.key);
        }
        let Some(after) = paged.next else { break };
        page.after = Some(after);
        pages += 1;
        assert!(pages < 100, "the listing must end");
        let passing = insert(store, key_of(&tenant, user("passing"), "chat", &format!("p{pages}"))).await;
        if pages % 2 == 0 {
            let gone = store.delete(&passing.key, passing.version, None).await;
            assert_eq!(gone.expect(WORKS), Put::Written);
        }
    }
    seen.retain(|key| key.connector.as_str() == "mail");
    assert_eq!(seen.len(), WORKERS * EACH);
    let theirs = ConnectionFilter { owner: Some(owner(0, 0)), ..filter(&tenant) };
    assert_eq!(keys(store, &theirs, 2).await.len(), 5);
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
    create(store, &record).await;
    record
}

async fn keys(store: &dyn ConnectionStore, filter: &ConnectionFilter, limit: u32) -> Vec<ConnectionKey> {
    let listed = all(limit, async |page| store.list(filter, &page).await).await;
    listed.into_iter().map(|listed| listed.key).collect()
}
