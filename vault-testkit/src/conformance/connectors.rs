//! What a [`ConnectorStore`] must do.

use vault_core::id::TenantId;
use vault_core::store::{Condition, ConnectorRecord, ConnectorStore, NamedPut, Page, Version};

use super::support::{WORKS, all, at, connector, connector_id, draw, race, tenant, version};

/// What was put comes back whole by id and by name, and is gone once deleted.
pub async fn a_connector_comes_back_as_it_was_put(store: &dyn ConnectorStore) {
    let tenant = tenant();
    let record = ConnectorRecord {
        created_at: at(i64::MIN),
        updated_at: at(i64::MAX),
        sealed: draw::<65_536>().to_vec(),
        ..connector(&tenant, "c1", "Mail")
    };
    assert_eq!(store.get(&tenant, &record.id).await.expect(WORKS), None);
    assert_eq!(put(store, &record, Condition::Absent).await, NamedPut::Written);
    let stored = Some(record.clone());
    assert_eq!(store.get(&tenant, &record.id).await.expect(WORKS), stored);
    assert_eq!(store.find(&tenant, "Mail").await.expect(WORKS), stored);
    assert_eq!(store.find(&tenant, "mail").await.expect(WORKS), None);

    assert!(!delete(store, &record, version()).await);
    assert!(delete(store, &record, record.version).await);
    assert!(!delete(store, &record, record.version).await);
    assert_eq!(store.get(&tenant, &record.id).await.expect(WORKS), None);
    assert_eq!(store.find(&tenant, "Mail").await.expect(WORKS), None);
}

/// A condition that does not hold writes nothing and answers with the version that is there, also after the record was
/// deleted and made again.
pub async fn a_connector_put_is_compare_and_swap(store: &dyn ConnectorStore) {
    let tenant = tenant();
    let first = connector(&tenant, "c1", "mail");
    let second = connector(&tenant, "c1", "mail");
    let replaces_first = Condition::Version(first.version);

    let nothing_there = put(store, &second, replaces_first).await;
    assert_eq!(nothing_there, NamedPut::Conflict(None));
    assert_eq!(put(store, &first, Condition::Absent).await, NamedPut::Written);
    let conflict = put(store, &second, Condition::Absent).await;
    assert_eq!(conflict, NamedPut::Conflict(Some(first.version)));
    assert_eq!(put(store, &second, replaces_first).await, NamedPut::Written);

    let third = connector(&tenant, "c1", "mail");
    let conflict = NamedPut::Conflict(Some(second.version));
    assert_eq!(put(store, &third, replaces_first).await, conflict);
    assert!(delete(store, &second, second.version).await);
    assert_eq!(put(store, &third, Condition::Absent).await, NamedPut::Written);
    let conflict = NamedPut::Conflict(Some(third.version));
    assert_eq!(put(store, &second, replaces_first).await, conflict);
    assert_eq!(store.get(&tenant, &third.id).await.expect(WORKS), Some(third));
}

/// Two connectors of a tenant never share a name; a rename frees the old one; other tenants do not matter.
pub async fn a_connector_name_is_unique_within_its_tenant(store: &dyn ConnectorStore) {
    let tenant = tenant();
    let mail = connector(&tenant, "c1", "mail");
    assert_eq!(put(store, &mail, Condition::Absent).await, NamedPut::Written);

    let rival = connector(&tenant, "c2", "mail");
    assert_eq!(put(store, &rival, Condition::Absent).await, NamedPut::NameTaken);
    assert_eq!(store.get(&tenant, &rival.id).await.expect(WORKS), None);
    for (id, name) in [("c3", "Mail"), ("c4", "mail "), ("c5", "máil"), ("c6", "ma\u{301}il")] {
        let other = connector(&tenant, id, name);
        assert_eq!(put(store, &other, Condition::Absent).await, NamedPut::Written);
    }
    let elsewhere = connector(&super::support::tenant(), "c1", "mail");
    assert_eq!(put(store, &elsewhere, Condition::Absent).await, NamedPut::Written);

    let renamed = connector(&tenant, "c1", "post");
    let condition = Condition::Version(mail.version);
    assert_eq!(put(store, &renamed, condition).await, NamedPut::Written);
    assert_eq!(put(store, &rival, Condition::Absent).await, NamedPut::Written);
    let back = connector(&tenant, "c1", "mail");
    let condition = Condition::Version(renamed.version);
    assert_eq!(put(store, &back, condition).await, NamedPut::NameTaken);
    assert_eq!(store.find(&tenant, "post").await.expect(WORKS), Some(renamed));
    assert_eq!(store.find(&tenant, "mail").await.expect(WORKS), Some(rival));
}

/// Of many connectors that claim one name at once, one gets it.
pub async fn a_race_for_a_connector_name_has_one_winner(store: &dyn ConnectorStore) {
    let tenant = tenant();
    let outcomes: [_; 8] = race(async |worker| {
        let rival = connector(&tenant, &format!("c{worker}"), "mail");
        put(store, &rival, Condition::Absent).await
    });
    let won = |outcome: &&NamedPut| **outcome == NamedPut::Written;
    assert_eq!(outcomes.iter().filter(won).count(), 1, "{outcomes:?}");
    assert_eq!(names(store, &tenant, 3).await, ["mail"]);
}

/// Every page size lists every connector of the tenant once, and none of another's.
pub async fn connectors_are_listed_page_by_page(store: &dyn ConnectorStore) {
    let (tenant, other) = (tenant(), tenant());
    for n in 0..5 {
        let (id, name) = (format!("c{n}"), format!("n{n}"));
        for tenant in [&tenant, &other] {
            let record = connector(tenant, &id, &name);
            assert_eq!(put(store, &record, Condition::Absent).await, NamedPut::Written);
        }
    }
    let gone = store.find(&tenant, "n2").await.expect(WORKS).expect("stored");
    assert!(delete(store, &gone, gone.version).await);
    for limit in 1..=6 {
        assert_eq!(names(store, &tenant, limit).await, ["n0", "n1", "n3", "n4"]);
    }
    assert_eq!(store.get(&other, &connector_id("c2")).await.expect(WORKS).map(|c| c.name), Some(gone.name));
}

/// Connectors registered and removed between two pages neither hide nor repeat those that are there all along.
pub async fn a_connector_listing_survives_inserts_and_deletes(store: &dyn ConnectorStore) {
    let tenant = tenant();
    let add = async |name: String| {
        let record = connector(&tenant, &format!("id of {name}"), &name);
        assert_eq!(put(store, &record, Condition::Absent).await, NamedPut::Written);
        record
    };
    let mut going = Vec::new();
    for n in 0..5 {
        add(format!("stays {n}")).await;
        going.push(add(format!("goes {n}")).await);
    }
    let mut seen = Vec::new();
    let mut page = Page::first(2);
    for round in 0.. {
        let paged = store.list(&tenant, &page).await.expect(WORKS);
        seen.extend(paged.items.into_iter().map(|record| record.name));
        let Some(after) = paged.next else { break };
        page.after = Some(after);
        assert!(round < 100, "the listing must end");
        if let Some(gone) = going.pop() {
            assert!(delete(store, &gone, gone.version).await);
            add(format!("comes {round}")).await;
        }
    }
    for n in 0..5 {
        let name = format!("stays {n}");
        assert_eq!(seen.iter().filter(|seen| **seen == name).count(), 1, "{name} was there all along");
    }
}

async fn put(store: &dyn ConnectorStore, record: &ConnectorRecord, condition: Condition) -> NamedPut {
    store.put(record, condition).await.expect(WORKS)
}

async fn delete(store: &dyn ConnectorStore, record: &ConnectorRecord, version: Version) -> bool {
    store.delete(&record.tenant, &record.id, version).await.expect(WORKS)
}

async fn names(store: &dyn ConnectorStore, tenant: &TenantId, limit: u32) -> Vec<String> {
    let listed = all(limit, async |page| store.list(tenant, &page).await).await;
    let mut names: Vec<_> = listed.into_iter().map(|record| record.name).collect();
    names.sort();
    names
}
