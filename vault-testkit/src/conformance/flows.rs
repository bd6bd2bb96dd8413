//! What a [`FlowStore`] must do.

use vault_core::clock::Timestamp;
use vault_core::id::{Owner, Slot};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore};

use super::support::{NOW, WORKS, at, connector_id, draw, flow, long_ago, race, tenant, user};

const CAP: u32 = 100;
const LATER: Timestamp = at(NOW.as_millis() + 600_000);

/// A flow comes back whole, once.
pub async fn a_flow_is_taken_once(store: &dyn FlowStore) {
    let tenant = tenant();
    let extreme = FlowRecord {
        connector: connector_id("chat"),
        slot: Slot::new("work").expect("valid"),
        created_at: at(i64::MIN),
        expires_at: at(i64::MAX),
        sealed: draw::<65_536>().to_vec(),
        ..flow(&tenant, Owner::Shared, LATER)
    };
    let empty = FlowRecord { sealed: Vec::new(), ..flow(&tenant, user("alice"), at(0)) };
    for record in [extreme, empty] {
        assert_eq!(take(store, &record).await, None);
        assert_eq!(insert(store, &record, CAP).await, FlowInsert::Inserted);
        assert_eq!(take(store, &record).await.as_ref(), Some(&record));
        assert_eq!(take(store, &record).await, None);
    }
}

/// A second flow of the same hash is refused and the first stays as it was; once taken, the hash is free.
pub async fn a_flow_is_never_overwritten(store: &dyn FlowStore) {
    let tenant = tenant();
    let first = flow(&tenant, user("alice"), LATER);
    let second = FlowRecord { state_hash: first.state_hash, ..flow(&tenant, user("mallory"), LATER) };
    assert_eq!(insert(store, &first, CAP).await, FlowInsert::Inserted);
    assert_eq!(insert(store, &second, CAP).await, FlowInsert::Exists);
    assert_eq!(take(store, &first).await, Some(first));
    assert_eq!(insert(store, &second, CAP).await, FlowInsert::Inserted);
}

/// Of many who take one flow at once, one gets it.
pub async fn a_race_to_take_a_flow_has_one_winner(store: &dyn FlowStore) {
    for _ in 0..5 {
        let record = flow(&tenant(), user("alice"), LATER);
        assert_eq!(insert(store, &record, CAP).await, FlowInsert::Inserted);
        let outcomes: [_; 8] = race(async |_| take(store, &record).await);
        let winners: Vec<_> = outcomes.into_iter().flatten().collect();
        assert_eq!(winners, [record]);
    }
}

/// The cap counts the owner's unexpired flows and nobody else's.
pub async fn the_cap_counts_an_owners_unexpired_flows(store: &dyn FlowStore) {
    let tenant = tenant();
    let mine = |expires_at| flow(&tenant, user("alice"), expires_at);
    assert_eq!(insert(store, &mine(LATER), 0).await, FlowInsert::TooMany);
    for expired in [at(NOW.as_millis() - 1), NOW] {
        assert_eq!(insert(store, &mine(expired), 2).await, FlowInsert::Inserted);
    }
    let barely = mine(at(NOW.as_millis() + 1));
    assert_eq!(insert(store, &barely, 2).await, FlowInsert::Inserted);
    assert_eq!(insert(store, &mine(LATER), 2).await, FlowInsert::Inserted);

    let refused = mine(LATER);
    assert_eq!(insert(store, &refused, 2).await, FlowInsert::TooMany);
    assert_eq!(take(store, &refused).await, None, "a refused flow is not stored");
    let others = [
        flow(&tenant, user("bob"), LATER),
        flow(&tenant, user("shared"), LATER),
        flow(&tenant, Owner::Shared, LATER),
        flow(&super::support::tenant(), user("alice"), LATER),
    ];
    for other in others {
        assert_eq!(insert(store, &other, 1).await, FlowInsert::Inserted);
    }
    assert!(take(store, &barely).await.is_some());
    assert_eq!(insert(store, &refused, 2).await, FlowInsert::Inserted);
}

/// However many start at once, an owner gets no more flows than the cap.
pub async fn a_race_for_the_cap_stays_under_it(store: &dyn FlowStore) {
    let tenant = tenant();
    let outcomes: [_; 8] = race(async |_| {
        let record = flow(&tenant, user("alice"), LATER);
        insert(store, &record, 3).await
    });
    let inserted = outcomes.iter().filter(|outcome| **outcome == FlowInsert::Inserted).count();
    assert_eq!(inserted, 3, "{outcomes:?}");
}

/// An owner's flows, or only those to one connector, are cancelled, and nobody else's.
pub async fn a_cancel_reaches_one_owners_flows(store: &dyn FlowStore) {
    let tenant = tenant();
    let to = |owner: Owner, connector: &str| FlowRecord {
        connector: connector_id(connector),
        ..flow(&tenant, owner, LATER)
    };
    let mail = [to(user("alice"), "mail"), to(user("alice"), "mail")];
    let chat = [to(user("alice"), "chat")];
    let kept = [
        to(user("bob"), "mail"),
        to(Owner::Shared, "mail"),
        flow(&super::support::tenant(), user("alice"), LATER),
    ];
    for record in mail.iter().chain(&chat).chain(&kept) {
        assert_eq!(insert(store, record, CAP).await, FlowInsert::Inserted);
    }
    let cancel = async |owner: &Owner, connector: Option<&str>| {
        let connector = connector.map(connector_id);
        store.cancel(&tenant, owner, connector.as_ref()).await.expect(WORKS)
    };
    assert_eq!(cancel(&user("alice"), Some("absent")).await, 0);
    assert_eq!(cancel(&user("alice"), Some("mail")).await, 2);
    assert_eq!(take(store, &mail[0]).await, None);
    assert_eq!(cancel(&user("alice"), None).await, 1);
    assert_eq!(cancel(&user("alice"), None).await, 0);
    assert_eq!(take(store, &chat[0]).await, None);
    for record in kept {
        assert_eq!(take(store, &record).await, Some(record));
    }
}

/// A purge removes what has expired, at most as much as it may.
pub async fn a_purge_removes_what_has_expired(store: &dyn FlowStore) {
    let (tenant, start) = (tenant(), long_ago());
    let expiring = |millis| {
        let expires_at = at(start.as_millis() + millis);
        flow(&tenant, user("alice"), expires_at)
    };
    let (live, expired) = (expiring(1), [expiring(0), expiring(-1), expiring(-2)]);
    for record in expired.iter().chain([&live]) {
        assert_eq!(insert(store, record, CAP).await, FlowInsert::Inserted);
    }
    assert_eq!(store.purge_expired(start, 0).await.expect(WORKS), 0);
    assert_eq!(store.purge_expired(start, 2).await.expect(WORKS), 2);
    while store.purge_expired(start, 1000).await.expect(WORKS) > 0 {}
    for record in &expired {
        assert_eq!(take(store, record).await, None);
    }
    assert_eq!(take(store, &live).await, Some(live));
}

async fn insert(store: &dyn FlowStore, record: &FlowRecord, cap: u32) -> FlowInsert {
    store.insert(record, cap, NOW).await.expect(WORKS)
}

async fn take(store: &dyn FlowStore, record: &FlowRecord) -> Option<FlowRecord> {
    store.take(&record.state_hash).await.expect(WORKS)
}
