//! What a [`ConnectionStore`] must do with refresh leases.

use std::time::Duration;

use vault_core::id::{AttemptId, ConnectionKey};
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStore, Lease, LeaseAcquire, LeaseHeld, LeaseHolder, Page, Put,
};

use super::support::{WORKS, attempt, connection, filter, key, next, race, tenant};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);
/// Soon over.
const SHORT: Duration = Duration::from_millis(50);

/// There is no lease on what does not exist, and asking for one does not create it.
pub async fn a_lease_on_nothing_is_absent(store: &dyn ConnectionStore) {
    let key = key(&tenant(), "nobody");
    let holder = attempt();
    assert_eq!(acquire(store, &key, holder, LONG).await, LeaseAcquire::Absent);
    assert!(!renew(store, &key, holder, 1).await);
    store.release_lease(&key, holder, 1).await.expect(WORKS);

    assert_eq!(store.get(&key).await.expect(WORKS), None);
    assert_eq!(store.read(&key).await.expect(WORKS), None);
    let listed = store.list(&filter(&key.tenant), &Page::first(9)).await.expect(WORKS);
    assert_eq!((listed.items, listed.next), (Vec::new(), None), "no phantom");
    let created = store.put(&connection(&key), Condition::Absent, None, None).await;
    assert_eq!(created.expect(WORKS), Put::Written);
    acquired(store, &key, attempt(), LONG).await;
}

/// A lease keeps others out until it is released, can be renewed, and only by its holder under its fence.
pub async fn a_lease_is_held_until_released(store: &dyn ConnectionStore) {
    let key = stored(store).await.key;
    let (holder, other) = (attempt(), attempt());
    let lease = acquired(store, &key, holder, LONG).await;
    held(store, &key, other).await;

    assert!(renew(store, &key, holder, lease.fence).await);
    assert!(!renew(store, &key, other, lease.fence).await);
    assert!(!renew(store, &key, holder, lease.fence + 1).await);
    store.release_lease(&key, other, lease.fence).await.expect(WORKS);
    store.release_lease(&key, holder, lease.fence + 1).await.expect(WORKS);
    held(store, &key, other).await;

    store.release_lease(&key, holder, lease.fence).await.expect(WORKS);
    assert!(!renew(store, &key, holder, lease.fence).await);
    let following = acquired(store, &key, other, LONG).await;
    assert_eq!(following.fence, lease.fence + 1);
    assert!(following.granted_at >= lease.granted_at);
    store.release_lease(&key, holder, lease.fence).await.expect(WORKS);
    held(store, &key, holder).await;
}

/// Its holder may take a lease again. The fence rises, and the former fence is worth nothing any more.
pub async fn a_holder_may_acquire_again(store: &dyn ConnectionStore) {
    let key = stored(store).await.key;
    let holder = attempt();
    let first = acquired(store, &key, holder, LONG).await;
    let second = acquired(store, &key, holder, LONG).await;
    assert_eq!(second.fence, first.fence + 1);
    assert!(!renew(store, &key, holder, first.fence).await);
    store.release_lease(&key, holder, first.fence).await.expect(WORKS);
    held(store, &key, attempt()).await;
    assert!(renew(store, &key, holder, second.fence).await);
}

/// A lease that is not renewed lapses by itself. Its holder cannot renew it then, and the next fence is higher.
pub async fn a_lease_lapses(store: &dyn ConnectionStore) {
    let key = stored(store).await.key;
    let (holder, other) = (attempt(), attempt());
    let first = acquired(store, &key, holder, SHORT).await;
    let second = once_lapsed(store, &key, other).await;
    assert_eq!(second.fence, first.fence + 1);
    assert!(second.granted_at.saturating_since(first.granted_at) >= SHORT);

    assert!(!renew(store, &key, holder, first.fence).await);
    store.release_lease(&key, holder, first.fence).await.expect(WORKS);
    held(store, &key, holder).await;
}

/// A lease that lapsed cannot be renewed even if nobody took it, and a renewal counts from now.
pub async fn only_a_live_lease_can_be_renewed(store: &dyn ConnectionStore) {
    let key = stored(store).await.key;
    let holder = attempt();
    let lease = acquired(store, &key, holder, LONG).await;
    let cut_short = store.renew_lease(&key, holder, lease.fence, Duration::ZERO).await;
    assert!(cut_short.expect(WORKS));
    assert!(!renew(store, &key, holder, lease.fence).await);

    let lapsing = acquired(store, &key, holder, Duration::ZERO).await;
    assert!(!renew(store, &key, holder, lapsing.fence).await);
    acquired(store, &key, attempt(), LONG).await;
}

/// A look at a lease shows who has it, under which fence and for how long, and changes nothing.
pub async fn a_lease_can_be_looked_at(store: &dyn ConnectionStore) {
    assert_eq!(look(store, &key(&tenant(), "nobody")).await, None, "no such connection");
    let record = stored(store).await;
    let key = record.key.clone();
    assert_eq!(look(store, &key).await, None, "nobody took it yet");

    let (holder, other) = (attempt(), attempt());
    let lease = acquired(store, &key, holder, LONG).await;
    for _ in 0..2 {
        let held = look(store, &key).await.expect("held");
        assert_eq!((held.holder, held.fence), (holder, lease.fence));
        assert!(held.remaining <= LONG && !held.remaining.is_zero(), "{held:?}");
    }
    assert!(renew(store, &key, holder, lease.fence).await);
    assert_eq!(store.get(&key).await.expect(WORKS), Some(record));
    store.release_lease(&key, holder, lease.fence).await.expect(WORKS);
    assert_eq!(look(store, &key).await, None, "released");

    let lapsing = acquired(store, &key, other, SHORT).await;
    while let Some(held) = look(store, &key).await {
        assert_eq!((held.holder, held.fence), (other, lapsing.fence));
        assert!(held.remaining <= SHORT, "{held:?}");
        tokio::task::yield_now().await;
    }
    assert!(!renew(store, &key, other, lapsing.fence).await, "lapsed");
    let longest = acquired(store, &key, holder, Duration::MAX).await;
    let held = look(store, &key).await.expect("held");
    assert_eq!((held.holder, held.fence), (holder, longest.fence));
    assert!(held.remaining > LONG, "{held:?}");
}

/// The store's clock does not go back, and is the one that leases are granted by.
pub async fn the_clock_is_that_of_the_leases(store: &dyn ConnectionStore) {
    let key = stored(store).await.key;
    let holder = attempt();
    for _ in 0..3 {
        let before = store.now().await.expect(WORKS);
        let granted = acquired(store, &key, holder, LONG).await.granted_at;
        let after = store.now().await.expect(WORKS);
        assert!(before <= granted && granted <= after, "{before:?} {granted:?} {after:?}");
    }
}

/// Any span is a span: the longest is a very long one.
pub async fn a_lease_of_any_length_is_granted(store: &dyn ConnectionStore) {
    let key = stored(store).await.key;
    let holder = attempt();
    let lease = acquired(store, &key, holder, Duration::MAX).await;
    let refused = acquire(store, &key, attempt(), LONG).await;
    assert!(matches!(refused, LeaseAcquire::Held { remaining } if remaining > LONG), "{refused:?}");
    let renewed = store.renew_lease(&key, holder, lease.fence, Duration::MAX).await;
    assert!(renewed.expect(WORKS));
}

/// Writing the record leaves its lease alone, and the lease leaves the record alone, version included.
pub async fn leases_and_writes_do_not_meet(store: &dyn ConnectionStore) {
    let first = stored(store).await;
    let key = first.key.clone();
    let holder = attempt();
    let lease = acquired(store, &key, holder, LONG).await;
    assert!(renew(store, &key, holder, lease.fence).await);
    assert_eq!(store.get(&key).await.expect(WORKS).as_ref(), Some(&first));

    let second = next(&first);
    let written = store.put(&second, Condition::Version(first.version), None, None).await;
    assert_eq!(written.expect(WORKS), Put::Written);
    held(store, &key, attempt()).await;
    assert!(renew(store, &key, holder, lease.fence).await);
    store.release_lease(&key, holder, lease.fence).await.expect(WORKS);
    assert_eq!(store.get(&key).await.expect(WORKS), Some(second));
}

/// Whoever gets the lease gets the record with it, as the last write left it.
pub async fn a_lease_comes_with_the_record(store: &dyn ConnectionStore) {
    let first = stored(store).await;
    let (key, holder) = (first.key.clone(), attempt());
    let leased = async || match acquire(store, &key, holder, LONG).await {
        LeaseAcquire::Acquired(lease, record) => (lease.fence, *record),
        other => panic!("the lease is free or ours, yet {other:?}"),
    };
    let (fence, record) = leased().await;
    assert_eq!(record, first);
    let second = next(&first);
    assert_eq!(put(store, &second, &first, None).await, Put::Written);
    assert_eq!(leased().await, (fence + 1, second));
}

/// A write can free the lease of its holder, and of nobody else.
pub async fn a_write_can_release_a_lease(store: &dyn ConnectionStore) {
    let first = stored(store).await;
    let (key, holder, other) = (first.key.clone(), attempt(), attempt());
    let fence = acquired(store, &key, holder, LONG).await.fence;
    let ours = LeaseHolder { holder, fence };

    let second = next(&first);
    let strangers = [
        LeaseHolder { holder: other, fence },
        LeaseHolder { holder, fence: fence + 1 },
        LeaseHolder { holder, fence: u64::MAX },
    ];
    let mut current = first.clone();
    for stranger in strangers {
        let new = next(&current);
        assert_eq!(put(store, &new, &current, Some(stranger)).await, Put::Written);
        held(store, &key, other).await;
        current = new;
    }
    let conflict = Put::Conflict(Some(current.version));
    assert_eq!(put(store, &second, &first, Some(ours)).await, conflict);
    let absent = store.put(&second, Condition::Absent, None, Some(ours)).await;
    assert_eq!(absent.expect(WORKS), conflict);
    held(store, &key, other).await;
    assert!(renew(store, &key, holder, fence).await, "a write that did not happen released nothing");

    let last = next(&current);
    assert_eq!(put(store, &last, &current, Some(ours)).await, Put::Written);
    assert_eq!(look(store, &key).await, None);
    assert!(!renew(store, &key, holder, fence).await);
    assert_eq!(store.get(&key).await.expect(WORKS).as_ref(), Some(&last));
    let following = acquired(store, &key, other, LONG).await;
    assert_eq!(following.fence, fence + 1);
    assert_eq!(put(store, &next(&last), &last, Some(ours)).await, Put::Written);
    held(store, &key, holder).await;
}

/// A record that is made is leased to nobody, whoever says that it releases a lease.
pub async fn a_creation_releases_nothing(store: &dyn ConnectionStore) {
    let record = connection(&key(&tenant(), "alice"));
    let nobody = LeaseHolder { holder: attempt(), fence: 0 };
    let created = store.put(&record, Condition::Absent, None, Some(nobody)).await;
    assert_eq!(created.expect(WORKS), Put::Written);
    assert_eq!(acquired(store, &record.key, attempt(), LONG).await.fence, 1);
}

/// However many take turns, each by a write that frees the lease, nobody who gets it sees less than all that was written
/// before: each finds the record where the one before left it.
pub async fn a_lease_is_released_together_with_the_write(store: &dyn ConnectionStore) {
    const TURNS: u64 = 4;
    const SEEKERS: usize = 4;
    let first = stored(store).await;
    let _: [(); SEEKERS] = race(async |_| {
        for _ in 0..TURNS {
            let holder = attempt();
            let (lease, record) = once_free(store, &first.key, holder).await;
            let release = LeaseHolder { holder, fence: lease.fence };
            assert_eq!(put(store, &next(&record), &record, Some(release)).await, Put::Written);
        }
    });
    let last = store.get(&first.key).await.expect(WORKS).expect("nobody deleted it");
    assert_eq!(last.generation, first.generation + TURNS * SEEKERS as u64);
    assert_eq!(look(store, &first.key).await, None);
}

/// A deleted record takes its lease with it: what is made after it is free.
pub async fn a_lease_ends_with_its_record(store: &dyn ConnectionStore) {
    let record = stored(store).await;
    let holder = attempt();
    let lease = acquired(store, &record.key, holder, LONG).await;
    let deleted = store.delete(&record.key, record.version, None).await;
    assert_eq!(deleted.expect(WORKS), Put::Written);
    assert!(!renew(store, &record.key, holder, lease.fence).await);
    assert_eq!(acquire(store, &record.key, holder, LONG).await, LeaseAcquire::Absent);

    let again = store.put(&connection(&record.key), Condition::Absent, None, None).await;
    assert_eq!(again.expect(WORKS), Put::Written);
    assert!(!renew(store, &record.key, holder, lease.fence).await);
    acquired(store, &record.key, attempt(), LONG).await;
}

/// Of many who seek one lease at once, one gets it.
pub async fn a_race_for_a_lease_has_one_holder(store: &dyn ConnectionStore) {
    let key = stored(store).await.key;
    let outcomes: [_; 8] = race(async |_| acquire(store, &key, attempt(), LONG).await);
    let won = |outcome: &&LeaseAcquire| matches!(outcome, LeaseAcquire::Acquired(..));
    assert_eq!(outcomes.iter().filter(won).count(), 1, "{outcomes:?}");
    let lost = |outcome: &&LeaseAcquire| matches!(outcome, LeaseAcquire::Held { .. });
    assert_eq!(outcomes.iter().filter(lost).count(), 7, "{outcomes:?}");
}

/// However many take and release a lease in turn, no two ever had the same fence.
pub async fn fences_never_repeat(store: &dyn ConnectionStore) {
    const TURNS: usize = 3;
    let key = stored(store).await.key;
    let fences: [[u64; TURNS]; 4] = race(async |_| {
        let mut fences = [0; TURNS];
        for fence in &mut fences {
            let holder = attempt();
            *fence = once_lapsed(store, &key, holder).await.fence;
            assert!(renew(store, &key, holder, *fence).await, "held by us alone");
            store.release_lease(&key, holder, *fence).await.expect(WORKS);
        }
        fences
    });
    let mut fences = fences.as_flattened().to_vec();
    fences.sort_unstable();
    let first = fences[0];
    let expected: Vec<u64> = (first..).take(fences.len()).collect();
    assert_eq!(fences, expected, "each acquire raises the fence by one");
}

async fn stored(store: &dyn ConnectionStore) -> ConnectionRecord {
    let record = connection(&key(&tenant(), "alice"));
    let written = store.put(&record, Condition::Absent, None, None).await;
    assert_eq!(written.expect(WORKS), Put::Written);
    record
}

async fn acquire(
    store: &dyn ConnectionStore,
    key: &ConnectionKey,
    holder: AttemptId,
    ttl: Duration,
) -> LeaseAcquire {
    store.acquire_lease(key, holder, ttl).await.expect(WORKS)
}

async fn acquired(
    store: &dyn ConnectionStore,
    key: &ConnectionKey,
    holder: AttemptId,
    ttl: Duration,
) -> Lease {
    match acquire(store, key, holder, ttl).await {
        LeaseAcquire::Acquired(lease, _) => lease,
        other => panic!("the lease is free, yet {other:?}"),
    }
}

/// Asks until the lease is free.
async fn once_lapsed(store: &dyn ConnectionStore, key: &ConnectionKey, holder: AttemptId) -> Lease {
    once_free(store, key, holder).await.0
}

async fn once_free(
    store: &dyn ConnectionStore,
    key: &ConnectionKey,
    holder: AttemptId,
) -> (Lease, ConnectionRecord) {
    loop {
        match acquire(store, key, holder, LONG).await {
            LeaseAcquire::Acquired(lease, record) => return (lease, *record),
            LeaseAcquire::Held { .. } => tokio::task::yield_now().await,
            LeaseAcquire::Absent => panic!("nobody deleted the connection"),
        }
    }
}

async fn put(
    store: &dyn ConnectionStore,
    new: &ConnectionRecord,
    old: &ConnectionRecord,
    release: Option<LeaseHolder>,
) -> Put {
    store.put(new, Condition::Version(old.version), None, release).await.expect(WORKS)
}

async fn held(store: &dyn ConnectionStore, key: &ConnectionKey, by_another: AttemptId) {
    let refused = acquire(store, key, by_another, LONG).await;
    assert!(
        matches!(refused, LeaseAcquire::Held { remaining } if remaining <= LONG && !remaining.is_zero()),
        "{refused:?}"
    );
}

async fn look(store: &dyn ConnectionStore, key: &ConnectionKey) -> Option<LeaseHeld> {
    store.lease(key).await.expect(WORKS)
}

async fn renew(store: &dyn ConnectionStore, key: &ConnectionKey, holder: AttemptId, fence: u64) -> bool {
    store.renew_lease(key, holder, fence, LONG).await.expect(WORKS)
}
