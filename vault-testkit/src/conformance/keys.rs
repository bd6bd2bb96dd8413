//! What a [`KeyStore`] must do.

use vault_core::id::{TenantId, UserId};
use vault_core::store::{Condition, KeyRecord, KeyScope, KeyStore, Put, Version};

use super::support::{WORKS, all, data_key, draw, race, tenant};

/// Scopes of different kinds are different records, whatever their names are.
pub async fn key_scopes_do_not_meet(store: &dyn KeyStore) {
    let tenant = tenant();
    let name = tenant.as_str();
    let id = |name: String| TenantId::new(name).expect("valid");
    let of_user = |tenant: &TenantId, user: &str| {
        let user = UserId::new(user).expect("valid");
        KeyScope::User(tenant.clone(), user)
    };
    let records: Vec<_> = [
        KeyScope::Tenant(tenant.clone()),
        of_user(&tenant, name),
        of_user(&tenant, "v"),
        of_user(&id(format!("{name}:a")), "b"),
        of_user(&tenant, "a:b"),
        KeyScope::Tenant(id(format!("{name}:a"))),
        KeyScope::Tenant(id(format!("{name}:a:b"))),
    ]
    .into_iter()
    .map(data_key)
    .collect();
    for record in &records {
        assert_eq!(store.get(&record.scope).await.expect(WORKS), None);
        assert_eq!(put(store, record, Condition::Absent).await, Put::Written);
    }
    for record in &records {
        assert_eq!(store.get(&record.scope).await.expect(WORKS).as_ref(), Some(record));
        assert!(store.delete(&record.scope).await.expect(WORKS));
        assert!(!store.delete(&record.scope).await.expect(WORKS));
        assert_eq!(store.get(&record.scope).await.expect(WORKS), None);
    }
}

/// The vault's own scope is a record like any other. One that is there already is left alone.
pub async fn the_vaults_own_key_is_kept(store: &dyn KeyStore) {
    let record = data_key(KeyScope::Vault);
    match put(store, &record, Condition::Absent).await {
        Put::Written => {
            assert_eq!(store.get(&KeyScope::Vault).await.expect(WORKS), Some(record));
            assert!(store.delete(&KeyScope::Vault).await.expect(WORKS));
        }
        Put::Conflict(there) => {
            let foreign = store.get(&KeyScope::Vault).await.expect(WORKS);
            assert_eq!(foreign.map(|record| record.version), there);
        }
    }
}

/// A condition that does not hold writes nothing and answers with the version that is there.
pub async fn a_key_put_is_compare_and_swap(store: &dyn KeyStore) {
    let scope = KeyScope::Tenant(tenant());
    let first =
        KeyRecord { version: Version::from_i64(i64::MIN), wrapped: Vec::new(), ..data_key(scope.clone()) };
    let second = KeyRecord { wrapped: draw::<8_192>().to_vec(), ..data_key(scope.clone()) };
    let replaces_first = Condition::Version(first.version);
    assert_eq!(put(store, &second, replaces_first).await, Put::Conflict(None));
    assert_eq!(put(store, &first, Condition::Absent).await, Put::Written);
    let conflict = Put::Conflict(Some(first.version));
    assert_eq!(put(store, &second, Condition::Absent).await, conflict);
    assert_eq!(put(store, &second, replaces_first).await, Put::Written);
    let conflict = Put::Conflict(Some(second.version));
    assert_eq!(put(store, &first, replaces_first).await, conflict);
    assert_eq!(store.get(&scope).await.expect(WORKS), Some(second));
}

/// Of many who create the key of one scope at once, one does: a tenant never has two.
pub async fn a_race_to_create_a_key_has_one_winner(store: &dyn KeyStore) {
    let scope = KeyScope::Tenant(tenant());
    let outcomes: [_; 8] = race(async |_| {
        let record = data_key(scope.clone());
        (record.version, put(store, &record, Condition::Absent).await)
    });
    let stored = store.get(&scope).await.expect(WORKS).expect("stored").version;
    for (version, put) in outcomes {
        let expected = if version == stored { Put::Written } else { Put::Conflict(Some(stored)) };
        assert_eq!(put, expected);
    }
}

/// Every page size lists every key once.
pub async fn keys_are_listed_page_by_page(store: &dyn KeyStore) {
    let tenant = tenant();
    let mut scopes = vec![KeyScope::Tenant(tenant.clone())];
    for n in 0..5 {
        let user = UserId::new(format!("u{n}")).expect("valid");
        scopes.push(KeyScope::User(tenant.clone(), user));
    }
    let mut records: Vec<_> = scopes.into_iter().map(data_key).collect();
    for record in &records {
        assert_eq!(put(store, record, Condition::Absent).await, Put::Written);
    }
    records.sort_by(|a, b| a.scope.cmp(&b.scope));
    for limit in 1..=7 {
        let mut listed = all(limit, async |page| store.list(&page).await).await;
        listed.retain(|record| match &record.scope {
            KeyScope::Tenant(theirs) | KeyScope::User(theirs, _) => *theirs == tenant,
            KeyScope::Vault => false,
        });
        listed.sort_by(|a, b| a.scope.cmp(&b.scope));
        assert_eq!(listed, records, "limit {limit}");
    }
    for record in records {
        assert!(store.delete(&record.scope).await.expect(WORKS));
    }
}

async fn put(store: &dyn KeyStore, record: &KeyRecord, condition: Condition) -> Put {
    store.put(record, condition).await.expect(WORKS)
}
