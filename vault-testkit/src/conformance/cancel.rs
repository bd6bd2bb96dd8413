//! Futures dropped at every await: the whole effect or none, and nobody else notices.

use std::time::Duration;

use vault_core::id::{AttemptId, ConnectionKey};
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStore, ConnectorStore, FlowInsert, FlowStore, KeyScope, KeyStore,
    LeaseAcquire, LeaseHolder, NamedPut, Page, Put, RevocationRecord, Version,
};

use super::support::{
    NOW, WORKS, at, attempt, connection, connector, data_key, drop_after, flow, key, lease, next, owed,
    tenant, user,
};

/// No operation awaits more often than this.
const ENOUGH: usize = 1_000;
const TTL: Duration = Duration::from_secs(60);

/// A dropped write happens with what it owes and the release of its lease, or not at all, and can be made again.
pub async fn s15_a_dropped_put_is_whole_or_nothing(store: &dyn ConnectionStore) {
    let bystander = Bystander::new(store).await;
    for polls in 1..ENOUGH {
        let old = connection(&key(&tenant(), "alice"));
        let created = store.put(&old, Condition::Absent, None, None).await;
        assert_eq!(created.expect(WORKS), Put::Written);

        let (new, owed) = (next(&old), owed(&old, NOW));
        let condition = Condition::Version(old.version);
        let holder = attempt();
        let release = Some(LeaseHolder { holder, fence: lease(store, &old.key, holder).await.fence });
        let done = drop_after(polls, store.put(&new, condition, Some(&owed), release)).await;
        bystander.is_unharmed(store).await;
        assert_whole(store, &old.key, Some(old.version), Some(new.version)).await;

        let again = store.put(&new, condition, Some(&owed), release).await.expect(WORKS);
        assert!([Put::Written, Put::Conflict(Some(new.version))].contains(&again), "{again:?}");
        assert_eq!(observe(store, &old.key).await, (Some(new.version), vec![owed], false));
        if done.is_some() {
            return;
        }
    }
    panic!("a put of {ENOUGH} awaits");
}

/// A dropped delete happens with what it owes, or not at all, and can be made again.
pub async fn s15_a_dropped_delete_is_whole_or_nothing(store: &dyn ConnectionStore) {
    let bystander = Bystander::new(store).await;
    for polls in 1..ENOUGH {
        let old = connection(&key(&tenant(), "alice"));
        let created = store.put(&old, Condition::Absent, None, None).await;
        assert_eq!(created.expect(WORKS), Put::Written);

        lease(store, &old.key, attempt()).await;
        let owed = owed(&old, NOW);
        let done = drop_after(polls, store.delete(&old.key, old.version, Some(&owed))).await;
        bystander.is_unharmed(store).await;
        assert_whole(store, &old.key, Some(old.version), None).await;

        let again = store.delete(&old.key, old.version, Some(&owed)).await;
        assert!([Put::Written, Put::Conflict(None)].contains(&again.expect(WORKS)));
        assert_eq!(observe(store, &old.key).await, (None, vec![owed], false));
        if done.is_some() {
            return;
        }
    }
    panic!("a delete of {ENOUGH} awaits");
}

/// A dropped acquire leaves the lease free or with its holder, who can have it; nobody else's lease is touched.
pub async fn s15_a_dropped_lease_call_leaves_a_working_lease(store: &dyn ConnectionStore) {
    let bystander = Bystander::new(store).await;
    for polls in 1..ENOUGH {
        let record = connection(&key(&tenant(), "alice"));
        let created = store.put(&record, Condition::Absent, None, None).await;
        assert_eq!(created.expect(WORKS), Put::Written);
        let holder = attempt();

        let acquire = store.acquire_lease(&record.key, holder, TTL);
        let acquired = drop_after(polls, acquire).await;
        bystander.is_unharmed(store).await;
        let lease = match store.acquire_lease(&record.key, holder, TTL).await.expect(WORKS) {
            LeaseAcquire::Acquired(lease, _) => lease,
            other => panic!("the lease is free or ours, yet {other:?}"),
        };

        let renew = store.renew_lease(&record.key, holder, lease.fence, TTL);
        let renewed = drop_after(polls, renew).await;
        bystander.is_unharmed(store).await;
        // A dropped acquire that was still on its way when asked again may have raised the fence once more.
        let lease = match store.acquire_lease(&record.key, holder, TTL).await.expect(WORKS) {
            LeaseAcquire::Acquired(again, _) if again.fence > lease.fence => again,
            other => panic!("the lease is ours, yet {other:?}"),
        };

        let release = store.release_lease(&record.key, holder, lease.fence);
        let released = drop_after(polls, release).await;
        bystander.is_unharmed(store).await;
        set_free(store, &record.key, holder, lease.fence).await;
        if acquired.is_some() && renewed.is_some() && released.is_some() {
            return;
        }
    }
    panic!("a lease call of {ENOUGH} awaits");
}

/// The holder can free its lease, though an acquire of its own that was dropped may take effect late, again and again.
async fn set_free(store: &dyn ConnectionStore, key: &ConnectionKey, holder: AttemptId, fence: u64) {
    let mut fence = fence;
    for _ in 0..10 {
        store.release_lease(key, holder, fence).await.expect(WORKS);
        match store.acquire_lease(key, attempt(), TTL).await.expect(WORKS) {
            LeaseAcquire::Acquired(..) => return,
            LeaseAcquire::Held { .. } => {}
            LeaseAcquire::Absent => panic!("the record is there"),
        }
        match store.acquire_lease(key, holder, TTL).await.expect(WORKS) {
            LeaseAcquire::Acquired(lease, _) => fence = lease.fence,
            other => panic!("the lease is ours, yet {other:?}"),
        }
    }
    panic!("a released lease does not become free");
}

/// Reads dropped half way leave nothing behind that the next reader could get instead of its own.
pub async fn s15_a_dropped_read_harms_nobody(store: &dyn ConnectionStore) {
    let bystander = Bystander::new(store).await;
    let record = connection(&key(&tenant(), "alice"));
    let created = store.put(&record, Condition::Absent, None, None).await;
    assert_eq!(created.expect(WORKS), Put::Written);
    let everything = vault_core::store::ConnectionFilter {
        tenant: record.key.tenant.clone(),
        owner: None,
        connector: None,
    };
    for polls in 1..ENOUGH {
        let read = drop_after(polls, store.read(&record.key)).await;
        bystander.is_unharmed(store).await;
        let got = drop_after(polls, store.get(&record.key)).await;
        bystander.is_unharmed(store).await;
        let page = Page::first(10);
        let listed = drop_after(polls, store.list(&everything, &page)).await;
        bystander.is_unharmed(store).await;
        let due = drop_after(polls, store.due(at(i64::MIN), 10)).await;
        bystander.is_unharmed(store).await;
        if let (Some(read), Some(got), Some(listed), Some(_)) = (read, got, listed, due) {
            assert_eq!(read.expect(WORKS).as_ref(), Some(&record.credential));
            assert_eq!(got.expect(WORKS).as_ref(), Some(&record));
            assert_eq!(listed.expect(WORKS).items, [record.into()]);
            return;
        }
    }
    panic!("a read of {ENOUGH} awaits");
}

/// A dropped insert, take or finish of a flow happens or does not; the flow is never handed out twice.
pub async fn s15_a_dropped_flow_call_is_whole_or_nothing(store: &dyn FlowStore) {
    let tenant = tenant();
    let bystander = flow(&tenant, user("bystander"), at(i64::MAX));
    let inserted = store.insert(&bystander, 9, NOW).await;
    assert_eq!(inserted.expect(WORKS), FlowInsert::Inserted);
    for polls in 1..ENOUGH {
        let record = flow(&tenant, user(&format!("alice {polls}")), at(i64::MAX));
        let inserted = drop_after(polls, store.insert(&record, 1, NOW)).await;
        let again = store.insert(&record, 1, NOW).await.expect(WORKS);
        assert_ne!(again, FlowInsert::TooMany, "it was inserted at most once");

        let taken = drop_after(polls, store.take(&record.state_hash, record.expires_at, NOW)).await;
        let again = store.take(&record.state_hash, record.expires_at, NOW).await.expect(WORKS);
        let answered = taken.is_some() || again.is_some();
        assert!(again.is_none_or(|again| taken.is_none() && again == record));
        let finished = drop_after(polls, store.finish(&record)).await;
        let again = store.finish(&record).await.expect(WORKS);
        // Of a take that was dropped half way nobody has the flow, to finish it.
        assert!(
            finished.as_ref().is_none_or(|done| matches!(done, Ok(true)) && !again) || !answered,
            "it is finished once"
        );
        assert!(!store.finish(&record).await.expect(WORKS));
        if inserted.is_some() && taken.is_some() && finished.is_some() {
            let kept = store.take(&bystander.state_hash, bystander.expires_at, NOW).await.expect(WORKS);
            assert_eq!(kept, Some(bystander));
            return;
        }
    }
    panic!("a flow call of {ENOUGH} awaits");
}

/// A dropped write of a connector happens or does not, and can be made again.
pub async fn s15_a_dropped_connector_put_is_whole_or_nothing(store: &dyn ConnectorStore) {
    let tenant = tenant();
    for polls in 1..ENOUGH {
        let record = connector(&tenant, &format!("c{polls}"), &format!("n{polls}"));
        let done = drop_after(polls, store.put(&record, Condition::Absent)).await;
        let there = store.get(&tenant, &record.id).await.expect(WORKS);
        assert!(there.is_none_or(|there| there == record));
        let again = store.put(&record, Condition::Absent).await.expect(WORKS);
        let expected = [NamedPut::Written, NamedPut::Conflict(Some(record.version))];
        assert!(expected.contains(&again), "{again:?}");
        assert_eq!(store.find(&tenant, &record.name).await.expect(WORKS), Some(record));
        if done.is_some() {
            return;
        }
    }
    panic!("a put of {ENOUGH} awaits");
}

/// A dropped write of a key happens or does not, and can be made again.
pub async fn s15_a_dropped_key_put_is_whole_or_nothing(store: &dyn KeyStore) {
    for polls in 1..ENOUGH {
        let record = data_key(KeyScope::Tenant(tenant()));
        let done = drop_after(polls, store.put(&record, Condition::Absent)).await;
        let there = store.get(&record.scope).await.expect(WORKS);
        assert!(there.is_none_or(|there| there == record));
        let again = store.put(&record, Condition::Absent).await.expect(WORKS);
        let expected = [Put::Written, Put::Conflict(Some(record.version))];
        assert!(expected.contains(&again), "{again:?}");
        assert_eq!(store.get(&record.scope).await.expect(WORKS).as_ref(), Some(&record));
        if done.is_some() {
            assert!(store.delete(&record.scope).await.expect(WORKS));
            return;
        }
    }
    panic!("a put of {ENOUGH} awaits");
}

/// Another user, who must get their own record, and that at once, whatever was dropped before.
struct Bystander(ConnectionRecord);

impl Bystander {
    async fn new(store: &dyn ConnectionStore) -> Self {
        let record = connection(&key(&tenant(), "bystander"));
        let created = store.put(&record, Condition::Absent, None, None).await;
        assert_eq!(created.expect(WORKS), Put::Written);
        Self(record)
    }

    async fn is_unharmed(&self, store: &dyn ConnectionStore) {
        let read = store.read(&self.0.key).await.expect(WORKS);
        assert_eq!(read.as_ref(), Some(&self.0.credential));
    }
}

/// The record's version, what is owed for it, and whether it is leased, all at one moment: a write that was dropped may
/// still be under way.
async fn observe(
    store: &dyn ConnectionStore,
    key: &ConnectionKey,
) -> (Option<Version>, Vec<RevocationRecord>, bool) {
    let version = async || store.get(key).await.expect(WORKS).map(|record| record.version);
    loop {
        let before = version().await;
        let owed = store.list_owed(&key.tenant, Some(&key.owner), &Page::first(10)).await;
        let leased = store.lease(key).await.expect(WORKS).is_some();
        if version().await == before {
            return (before, owed.expect(WORKS).items, leased);
        }
    }
}

async fn assert_whole(
    store: &dyn ConnectionStore,
    key: &ConnectionKey,
    old: Option<Version>,
    new: Option<Version>,
) {
    let (version, owed, leased) = observe(store, key).await;
    assert_eq!(leased, version != new, "the lease goes with the write");
    if version == new {
        assert_eq!(owed.len(), 1, "the write happened without what it owes");
    } else {
        assert_eq!(version, old);
        assert_eq!(owed, [], "the write did not happen, yet something is owed");
    }
}
