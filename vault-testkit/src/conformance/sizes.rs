//! Values as large and identifiers as long as they get.

use vault_core::id::{ConnectionKey, ConnectorId, MAX_ID_BYTES, Owner, Slot, TenantId, UserId};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, ConnectorStore, FlowInsert, FlowRecord,
    FlowStore, KeyRecord, KeyScope, KeyStore, NamedPut, Page, Put, RevocationRecord,
};

use super::support::{
    LONG, NOW, VALID, WORKS, all, attempt, connection, connector, create, data_key, draw, filter, flow, key,
    lease, next, owed, tenant, user, version,
};

/// Tokens of 8 KiB and more, and every other value of 64 KiB, come back whole and can be swapped for small ones and back.
pub async fn large_values_come_back_whole(store: &dyn ConnectionStore) {
    let small = connection(&key(&tenant(), "alice"));
    create(store, &small).await;
    let mut current = small.clone();
    for size in [8 * 1024, 8 * 1024 + 1, 64 * 1024] {
        let value = |salt: &[u8]| salt.iter().copied().cycle().take(size).collect::<Vec<u8>>();
        let large = ConnectionRecord {
            summary: value(&draw::<251>()),
            credential: value(&draw::<253>()).into(),
            refresh: value(&draw::<255>()),
            ..next(&current)
        };
        let owed = RevocationRecord { sealed: large.credential.to_vec(), ..owed(&current, NOW) };
        let swapped = store.put(&large, Condition::Version(current.version), Some(&owed), None).await;
        assert_eq!(swapped.expect(WORKS), Put::Written);
        assert_eq!(store.read(&large.key).await.expect(WORKS).as_ref(), Some(&large.credential));
        assert_eq!(store.get(&large.key).await.expect(WORKS).as_ref(), Some(&large));
        let tenant = &large.key.tenant;
        let listed = store.list(&filter(tenant), &Page::first(9)).await.expect(WORKS);
        assert_eq!(listed.items, [large.clone().into()]);
        let listed = store.list_owed(tenant, None, &Page::first(9)).await.expect(WORKS);
        assert_eq!(listed.items, std::slice::from_ref(&owed));
        store.delete_owed(&owed.key, owed.id).await.expect(WORKS);

        current = ConnectionRecord { version: version(), ..small.clone() };
        let condition = Condition::Version(large.version);
        let swapped = store.put(&current, condition, None, None).await;
        assert_eq!(swapped.expect(WORKS), Put::Written);
        assert_eq!(store.get(&large.key).await.expect(WORKS).as_ref(), Some(&current));
    }
}

/// Identifiers of 255 bytes, in all places of a key at once, are told apart by their last byte.
pub async fn the_longest_identifiers_name_distinct_connections(store: &dyn ConnectionStore) {
    let unique = tenant();
    let key = |[tenant, owner, connector, slot]: [char; 4]| ConnectionKey {
        tenant: TenantId::new(longest(unique.as_str(), tenant)).expect(VALID),
        owner: user(&longest("owner", owner)),
        connector: ConnectorId::new(longest("connector", connector)).expect(VALID),
        slot: Slot::new(longest("slot", slot)).expect(VALID),
    };
    let base = key(['a'; 4]);
    let apart = [
        key(['b', 'a', 'a', 'a']),
        key(['a', 'b', 'a', 'a']),
        key(['a', 'a', 'b', 'a']),
        key(['a', 'a', 'a', 'b']),
    ];
    let records: Vec<_> = [&base].into_iter().chain(&apart).map(connection).collect();
    for record in &records {
        assert_eq!(store.get(&record.key).await.expect(WORKS), None);
        create(store, record).await;
        assert_eq!(lease(store, &record.key, attempt()).await.fence, 1, "a lease of its own");
    }
    for record in &records {
        assert_eq!(store.get(&record.key).await.expect(WORKS).as_ref(), Some(record));
    }
    let count = async |owner: Option<&ConnectionKey>, connector: Option<&ConnectionKey>| {
        let filter = ConnectionFilter {
            owner: owner.map(|key| key.owner.clone()),
            connector: connector.map(|key| key.connector.clone()),
            ..filter(&base.tenant)
        };
        all(1, async |page| store.list(&filter, &page).await).await.len()
    };
    let [_, owner, connector, _] = &apart;
    assert_eq!(count(None, None).await, 4);
    assert_eq!((count(Some(&base), None).await, count(Some(owner), None).await), (3, 1));
    assert_eq!((count(None, Some(&base)).await, count(None, Some(connector)).await), (3, 1));
    for record in &records {
        let gone = store.delete(&record.key, record.version, Some(&owed(record, NOW))).await;
        assert_eq!(gone.expect(WORKS), Put::Written);
    }
    let listed = all(1, async |page| store.list_owed(&base.tenant, Some(&base.owner), &page).await).await;
    assert_eq!(listed.len(), 3);
}

/// Connectors whose tenant, identifier and name are 255 bytes long are told apart by the last byte of each.
pub async fn the_longest_identifiers_name_distinct_connectors(store: &dyn ConnectorStore) {
    let unique = tenant();
    let tenant = |last| TenantId::new(longest(unique.as_str(), last)).expect(VALID);
    let mut records = Vec::new();
    for (of, id) in [('a', 'a'), ('a', 'b'), ('b', 'a')] {
        let record = connector(&tenant(of), &longest("id", id), &longest("name", id));
        let put = store.put(&record, Condition::Absent).await.expect(WORKS);
        assert_eq!(put, NamedPut::Written);
        records.push(record);
    }
    let rival = connector(&tenant('a'), &longest("id", 'c'), &longest("name", 'a'));
    let put = store.put(&rival, Condition::Absent).await.expect(WORKS);
    assert_eq!(put, NamedPut::NameTaken);
    for record in &records {
        let by_id = store.get(&record.tenant, &record.id).await.expect(WORKS);
        let by_name = store.find(&record.tenant, &record.name).await.expect(WORKS);
        assert_eq!((by_id.as_ref(), by_name.as_ref()), (Some(record), Some(record)));
    }
    let listed = all(1, async |page| store.list(&tenant('a'), &page).await).await;
    assert_eq!(listed.len(), 2);
}

/// Flows whose every identifier is 255 bytes long keep to their owner and connector.
pub async fn the_longest_identifiers_keep_flows_apart(store: &dyn FlowStore) {
    let tenant = TenantId::new(longest(tenant().as_str(), 'a')).expect(VALID);
    let (alice, bob) = (user(&longest("owner", 'a')), user(&longest("owner", 'b')));
    let to = |owner: &Owner, last| FlowRecord {
        connector: ConnectorId::new(longest("connector", last)).expect(VALID),
        slot: Slot::new(longest("slot", last)).expect(VALID),
        ..flow(&tenant, owner.clone(), NOW.saturating_add(LONG))
    };
    let (first, second, bobs) = (to(&alice, 'a'), to(&alice, 'b'), to(&bob, 'a'));
    for (record, cap) in [(&first, 1), (&second, 2), (&bobs, 1)] {
        let inserted = store.insert(record, cap, NOW).await.expect(WORKS);
        assert_eq!(inserted, FlowInsert::Inserted);
    }
    let cancelled = store.cancel(&tenant, &alice, Some(&second.connector)).await;
    assert_eq!(cancelled.expect(WORKS), 1);
    assert_eq!(store.take(&second.state_hash, second.expires_at, NOW).await.expect(WORKS), None);
    for kept in [first, bobs] {
        assert_eq!(store.take(&kept.state_hash, kept.expires_at, NOW).await.expect(WORKS), Some(kept));
    }
}

/// Keys of scopes whose names are 255 bytes long are told apart by the last byte; a wrapped key may have 64 KiB.
pub async fn the_longest_identifiers_name_distinct_keys(store: &dyn KeyStore) {
    let unique = tenant();
    let tenant = |last| TenantId::new(longest(unique.as_str(), last)).expect(VALID);
    let scope = |of, last| {
        let user = UserId::new(longest("user", last)).expect(VALID);
        KeyScope::User(tenant(of), user)
    };
    let scopes = [
        KeyScope::Tenant(tenant('a')),
        KeyScope::Tenant(tenant('b')),
        scope('a', 'a'),
        scope('a', 'b'),
        scope('b', 'a'),
    ];
    let records = scopes.map(|scope| KeyRecord { wrapped: draw::<65_536>().to_vec(), ..data_key(scope) });
    for record in &records {
        assert_eq!(store.put(record, Condition::Absent).await.expect(WORKS), Put::Written);
    }
    for record in records {
        assert!(store.get(&record.scope).await.expect(WORKS).as_ref() == Some(&record), "{:?}", record.scope);
        assert!(store.delete(&record.scope).await.expect(WORKS));
    }
}

/// An identifier of 255 bytes; those of one `trunk` differ in their last byte alone.
fn longest(trunk: &str, last: char) -> String {
    let mut id = trunk.to_owned();
    while id.len() + 'é'.len_utf8() < MAX_ID_BYTES {
        id.push('é');
    }
    while id.len() + last.len_utf8() < MAX_ID_BYTES {
        id.push('x');
    }
    id.push(last);
    id
}
