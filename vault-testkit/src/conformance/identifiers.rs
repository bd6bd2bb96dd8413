//! Identifiers are literal, whatever is in them.

use vault_core::id::{ConnectionKey, ConnectorId, Owner, Slot, TenantId, UserId};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionStore, ConnectorStore, FlowInsert, FlowStore, KeyScope, KeyStore,
    NamedPut, Put,
};

use super::support::{
    NOW, WORKS, all, at, connection, connector, data_key, draw, flow, key_of, tenant, user,
};

/// Identifiers that a careless backend quotes, folds, trims, joins or matches as a pattern.
fn hostile() -> Vec<String> {
    let mut ids: Vec<String> = [
        "a",
        "A",
        "a ",
        " a",
        "a:b",
        "b:c",
        "a/b",
        "{a}",
        "{}",
        "*",
        "a*",
        "%",
        "a%",
        "_",
        "?",
        "'",
        "''",
        "\"",
        "`",
        "\\",
        "\\0",
        "';--",
        "'; DROP TABLE vault_connections;--",
        "$1",
        "?1",
        ":a",
        "\n",
        "\r\n",
        "\t",
        "\u{1}",
        "\u{7f}",
        "0",
        "00",
        "1e0",
        "null",
        "NULL",
        "true",
        "😀",
        "👩‍🚀",
        "é",
        "e\u{301}",
        "É",
        "ß",
        "ss",
        "ı",
        "i",
        "İ",
        "\u{feff}a",
        "a\u{200b}",
        "\u{202e}a",
        "\u{10ffff}",
    ]
    .map(str::to_owned)
    .to_vec();
    ids.push("x".repeat(255));
    ids.push(format!("{}y", "x".repeat(254)));
    ids.push("é".repeat(127));
    ids
}

/// In every place of the key, each identifier names a connection of its own.
pub async fn s06_hostile_identifiers_name_distinct_connections(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let mut keys = Vec::new();
    for id in hostile() {
        keys.push(key_of(&tenant, user(&id), "mail", "default"));
        keys.push(key_of(&tenant, user("alice"), &id, "default"));
        keys.push(key_of(&tenant, user("alice"), "mail", &id));
    }
    keys.push(key_of(&tenant, Owner::Shared, "mail", "default"));
    let mut records = Vec::new();
    for key in &keys {
        let record = connection(key);
        let written = store.put(&record, Condition::Absent, None, None).await.expect(WORKS);
        assert_eq!(written, Put::Written, "{key}");
        records.push(record);
    }
    for record in &records {
        assert_eq!(store.get(&record.key).await.expect(WORKS).as_ref(), Some(record), "{}", record.key);
    }

    let listed = async |owner: Option<Owner>, connector: Option<ConnectorId>| {
        let filter = ConnectionFilter { tenant: tenant.clone(), owner, connector };
        let listed = all(50, async |page| store.list(&filter, &page).await).await;
        listed.into_iter().map(|listed| listed.key).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None).await.len(), keys.len());
    for id in hostile() {
        let theirs = [key_of(&tenant, user(&id), "mail", "default")];
        assert_eq!(listed(Some(user(&id)), None).await, theirs, "{id:?}");
        let through = [key_of(&tenant, user("alice"), &id, "default")];
        assert_eq!(listed(None, Some(through[0].connector.clone())).await, through, "{id:?}");
    }
}

/// Keys whose parts run together to the same text are different keys, tenants included.
pub async fn s06_keys_that_join_alike_stay_apart(store: &dyn ConnectionStore) {
    let unique = tenant();
    let mut keys: Vec<ConnectionKey> = Vec::new();
    for joint in ["", ":", "/", "|", "\u{1f}", "{", "}"] {
        let key = |parts: [&str; 4]| ConnectionKey {
            tenant: TenantId::new(format!("{unique}{}", parts[0])).expect("valid"),
            owner: user(parts[1]),
            connector: ConnectorId::new(parts[2]).expect("valid"),
            slot: Slot::new(parts[3]).expect("valid"),
        };
        let (ab, bc) = (format!("a{joint}b"), format!("b{joint}c"));
        keys.push(key([&ab, "c", "d", "e"]));
        keys.push(key(["a", &bc, "d", "e"]));
        keys.push(key(["a", "b", &format!("c{joint}d"), "e"]));
        keys.push(key(["a", "b", "c", &format!("d{joint}e")]));
    }
    let mut records = Vec::new();
    for key in &keys {
        let record = connection(key);
        let written = store.put(&record, Condition::Absent, None, None).await.expect(WORKS);
        assert_eq!(written, Put::Written, "{key}");
        records.push(record);
    }
    for record in records {
        let stored = store.get(&record.key).await.expect(WORKS);
        assert_eq!(stored.as_ref(), Some(&record));
    }
}

/// Tenants with such names keep their connectors apart, and names are literal too.
pub async fn s06_hostile_identifiers_name_distinct_connectors(store: &dyn ConnectorStore) {
    let tenant = tenant();
    for id in hostile() {
        let record = connector(&tenant, &id, &id);
        let written = store.put(&record, Condition::Absent).await.expect(WORKS);
        assert_eq!(written, NamedPut::Written, "{id:?}");
    }
    for id in hostile() {
        let by_name = store.find(&tenant, &id).await.expect(WORKS).expect("stored");
        assert_eq!((by_name.id.as_str(), by_name.name.as_str()), (&*id, &*id));
        let by_id = store.get(&tenant, &by_name.id).await.expect(WORKS);
        assert_eq!(by_id, Some(by_name));
    }
    let listed = all(7, async |page| store.list(&tenant, &page).await).await;
    assert_eq!(listed.len(), hostile().len());
}

/// Owners and connectors with such names keep their flows apart.
pub async fn s06_hostile_identifiers_keep_flows_apart(store: &dyn FlowStore) {
    let tenant = tenant();
    let later = at(NOW.as_millis() + 600_000);
    for id in hostile() {
        let record = flow(&tenant, user(&id), later);
        let inserted = store.insert(&record, 1, NOW).await.expect(WORKS);
        assert_eq!(inserted, FlowInsert::Inserted, "{id:?} has no other flow");
    }
    for id in hostile() {
        let unused = ConnectorId::new(&id).expect("valid");
        let other = store.cancel(&tenant, &user(&id), Some(&unused)).await;
        assert_eq!(other.expect(WORKS), 0, "{id:?}");
        let own = store.cancel(&tenant, &user(&id), None).await;
        assert_eq!(own.expect(WORKS), 1, "{id:?}");
    }
}

/// Tenants and users with such names have keys of their own.
pub async fn s06_hostile_identifiers_name_distinct_keys(store: &dyn KeyStore) {
    let unique: u32 = u32::from_le_bytes(draw());
    let mut records = Vec::new();
    for id in hostile().into_iter().filter(|id| id.len() < 200) {
        let tenant = TenantId::new(format!("{unique}{id}")).expect("valid");
        let user = UserId::new(id).expect("valid");
        records.push(data_key(KeyScope::User(tenant.clone(), user)));
        records.push(data_key(KeyScope::Tenant(tenant)));
    }
    for record in &records {
        let written = store.put(record, Condition::Absent).await.expect(WORKS);
        assert_eq!(written, Put::Written, "{:?}", record.scope);
    }
    for record in &records {
        let stored = store.get(&record.scope).await.expect(WORKS);
        assert_eq!(stored.as_ref(), Some(record));
        assert!(store.delete(&record.scope).await.expect(WORKS));
    }
}
