//! What a [`FlowStore`] must do.

use std::time::{Duration, Instant};

use vault_core::clock::Timestamp;
use vault_core::id::{Owner, Slot};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore};

use super::support::{NOW, WORKS, at, connector_id, draw, flow, long_ago, race, tenant, user};

const CAP: u32 = 100;
/// Longer than any test takes.
const TTL: Duration = Duration::from_secs(600);
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
    let empty = FlowRecord { sealed: Vec::new(), ..flow(&tenant, user("alice"), LATER) };
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
    let expired = FlowRecord { expires_at: NOW, ..second.clone() };
    assert_eq!(insert(store, &expired, CAP).await, FlowInsert::Exists);
    assert_eq!(take(store, &first).await, Some(first));
    assert_eq!(insert(store, &second, CAP).await, FlowInsert::Inserted);
}

/// A flow that was taken stays until it is finished: nobody takes it again, its hash is not free, and it counts.
pub async fn a_taken_flow_stays_until_it_is_finished(store: &dyn FlowStore) {
    let tenant = tenant();
    let record = flow(&tenant, user("alice"), LATER);
    assert!(!finish(store, &record).await, "there is none");
    assert_eq!(insert(store, &record, 1).await, FlowInsert::Inserted);
    assert!(!finish(store, &record).await, "nobody has taken it");

    for until in [at(LATER.as_millis() + 1), at(NOW.as_millis() + 300_000)] {
        let taken = FlowRecord { expires_at: until, ..record.clone() };
        assert_eq!(take_until(store, &record, until).await.as_ref(), Some(&taken));
        assert_eq!(take_until(store, &record, LATER).await, None);
        assert_eq!(insert(store, &record, CAP).await, FlowInsert::Exists);
        let next = flow(&tenant, user("alice"), LATER);
        assert_eq!(insert(store, &next, 1).await, FlowInsert::TooMany);
        assert!(finish(store, &taken).await);
        assert!(!finish(store, &taken).await);
        assert_eq!(take_until(store, &record, LATER).await, None);
        assert_eq!(insert(store, &record, 1).await, FlowInsert::Inserted);
    }
}

/// A flow that is taken in its last moment stays as long as its taker said.
pub async fn a_taken_flow_lives_until_it_was_told(store: &dyn FlowStore) {
    let tenant = tenant();
    let record = flow(&tenant, user("alice"), at(NOW.as_millis() + 2_000));
    assert_eq!(insert(store, &record, CAP).await, FlowInsert::Inserted);
    let taken = take_until(store, &record, LATER).await.expect("two seconds are not over");
    let later = at(NOW.as_millis() + 3_000);
    store.purge_expired(later, 1_000).await.expect(WORKS);
    let another = flow(&tenant, user("alice"), LATER);
    let refused = store.insert(&another, 1, later).await.expect(WORKS);
    assert_eq!(refused, FlowInsert::TooMany, "it counts");
    let other = FlowRecord { connector: connector_id("chat"), ..another };
    assert_eq!(store.insert(&other, 2, later).await.expect(WORKS), FlowInsert::Inserted);
    let cancelled = store.cancel(&tenant, &user("alice"), Some(&taken.connector)).await;
    assert_eq!(cancelled.expect(WORKS), 1, "and a cancel finds it");
    assert!(!finish(store, &taken).await);
}

/// A cancel reaches the flows that were taken, and their takers learn of it.
pub async fn a_cancel_reaches_taken_flows(store: &dyn FlowStore) {
    let tenant = tenant();
    let mail = flow(&tenant, user("alice"), LATER);
    let chat = FlowRecord { connector: connector_id("chat"), ..flow(&tenant, user("alice"), LATER) };
    for record in [&mail, &chat] {
        assert_eq!(insert(store, record, CAP).await, FlowInsert::Inserted);
        assert!(take_until(store, record, LATER).await.is_some());
    }
    let cancelled = store.cancel(&tenant, &user("alice"), Some(&mail.connector)).await;
    assert_eq!(cancelled.expect(WORKS), 1);
    assert!(!finish(store, &mail).await);
    assert!(finish(store, &chat).await);
    assert_eq!(insert(store, &mail, 1).await, FlowInsert::Inserted, "nothing is left of it");
}

/// Whoever takes a flow and finishes it was not cancelled: of the two, one gets it.
pub async fn a_race_to_cancel_and_to_finish_has_one_winner(store: &dyn FlowStore) {
    let tenant = tenant();
    for _ in 0..10 {
        let record = flow(&tenant, user("alice"), LATER);
        assert_eq!(insert(store, &record, CAP).await, FlowInsert::Inserted);
        let [finished, cancelled]: [bool; 2] = race(async |worker| {
            if worker == 0 {
                match take_until(store, &record, LATER).await {
                    Some(taken) => finish(store, &taken).await,
                    None => false,
                }
            } else {
                store.cancel(&tenant, &user("alice"), None).await.expect(WORKS) == 1
            }
        });
        assert!(finished != cancelled, "finished: {finished}, cancelled: {cancelled}");
    }
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
    let last = at(LATER.as_millis() + 600_000);
    let mine = |expires_at| flow(&tenant, user("alice"), expires_at);
    assert_eq!(insert(store, &mine(LATER), 0).await, FlowInsert::TooMany);
    for expired in [at(NOW.as_millis() - 1), NOW] {
        assert_eq!(insert(store, &mine(expired), 2).await, FlowInsert::Inserted);
    }
    assert_eq!(insert(store, &mine(LATER), 2).await, FlowInsert::Inserted);
    assert_eq!(insert(store, &mine(last), 2).await, FlowInsert::Inserted);

    let refused = mine(last);
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

    let carol = |expires_at| flow(&tenant, user("carol"), expires_at);
    let [first, second] = [carol(LATER), carol(LATER)];
    for pending in [&first, &second] {
        assert_eq!(insert(store, pending, 2).await, FlowInsert::Inserted);
    }
    assert_eq!(take(store, &first).await, Some(first));
    assert_eq!(insert(store, &carol(LATER), 1).await, FlowInsert::TooMany, "a lower cap counts all the same");

    let insert_at = async |record: &FlowRecord, now| store.insert(record, 2, now).await.expect(WORKS);
    let almost = at(LATER.as_millis() - 1);
    assert_eq!(insert_at(&refused, almost).await, FlowInsert::TooMany, "two are pending until LATER");
    assert_eq!(insert_at(&refused, LATER).await, FlowInsert::Inserted, "one has expired now");
    let next = mine(last);
    assert_eq!(insert_at(&next, LATER).await, FlowInsert::TooMany);
    assert_eq!(take(store, &refused).await.as_ref(), Some(&refused));
    assert_eq!(insert_at(&next, LATER).await, FlowInsert::Inserted);
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

/// A flow that has expired when it is inserted is taken in like any other, and may be gone at once.
pub async fn a_flow_may_be_expired_from_the_start(store: &dyn FlowStore) {
    let tenant = tenant();
    for expires_at in [at(NOW.as_millis() - 1), NOW] {
        let record = flow(&tenant, user("alice"), expires_at);
        assert_eq!(insert(store, &record, CAP).await, FlowInsert::Inserted);
        let again = insert(store, &record, CAP).await;
        assert_ne!(again, FlowInsert::TooMany);
        let unwelcome = flow(&tenant, user("alice"), expires_at);
        assert_eq!(insert(store, &unwelcome, 0).await, FlowInsert::TooMany);
        let taken = take(store, &record).await;
        assert!(taken.is_none_or(|taken| taken == record));
        assert_eq!(take(store, &record).await, None);
    }
}

/// A purge removes what has expired, at most as much as it may, and never what has not. Storage that expires flows by
/// itself purges nothing.
pub async fn a_purge_removes_what_has_expired(store: &dyn FlowStore) {
    // On a shared store the same check elsewhere may purge later times meanwhile, but not each time.
    for _ in 0..10 {
        if spares_the_living(store).await {
            return;
        }
    }
    panic!("a purge removed a flow that had not expired");
}

async fn spares_the_living(store: &dyn FlowStore) -> bool {
    // Later than all other purges of these checks.
    let (tenant, start) = (tenant(), at(long_ago().as_millis() + (1 << 40)));
    let expiring = |millis| {
        let expires_at = at(start.as_millis() + millis);
        flow(&tenant, user("alice"), expires_at)
    };
    let (live, expired) = (expiring(1), [expiring(0), expiring(-1), expiring(-2)]);
    for record in expired.iter().chain([&live]) {
        let inserted = store.insert(record, CAP, start.saturating_sub(TTL)).await;
        assert_eq!(inserted.expect(WORKS), FlowInsert::Inserted);
    }
    let purge = async |limit| store.purge_expired(start, limit).await.expect(WORKS);
    assert_eq!(purge(0).await, 0);
    let mut purged = purge(2).await;
    assert!(purged <= 2, "{purged} of at most 2");
    loop {
        match purge(1000).await {
            0 => break,
            more => purged += more,
        }
    }
    for record in expired {
        let there = take(store, &record).await;
        assert!(there.is_none_or(|there| purged == 0 && there == record), "a purge left an expired flow");
    }
    take(store, &live).await == Some(live)
}

/// Whether by a purge or by itself, a flow goes once its time is over: after many cycles nothing is left.
pub async fn x05_expired_flows_do_not_stay(store: &dyn FlowStore) {
    const CYCLES: usize = 3;
    const FLOWS: usize = 10;
    let (tenant, alice) = (tenant(), user("alice"));
    let (start, began) = (long_ago(), Instant::now());
    let now = || start.saturating_add(began.elapsed());
    for _ in 0..CYCLES {
        let born = now();
        let expires_at = born.saturating_add(Duration::from_millis(30));
        let records = [(); FLOWS].map(|()| flow(&tenant, alice.clone(), expires_at));
        for record in &records {
            let inserted = store.insert(record, CAP, born).await.expect(WORKS);
            assert_eq!(inserted, FlowInsert::Inserted);
        }
        // What was taken and never finished goes too.
        for record in records.iter().step_by(2) {
            store.take(&record.state_hash, expires_at, born).await.expect(WORKS);
        }
        for record in records {
            until_gone(store, record, now).await;
        }
    }
    assert_eq!(store.cancel(&tenant, &alice, None).await.expect(WORKS), 0, "nothing is left to cancel");
}

/// Purges until the flow's hash is free again, which shows that nothing is stored under it.
async fn until_gone(store: &dyn FlowStore, mut probe: FlowRecord, now: impl Fn() -> Timestamp) {
    let deadline = Instant::now() + Duration::from_secs(10);
    probe.expires_at = LATER;
    loop {
        store.purge_expired(now(), 1_000).await.expect(WORKS);
        match store.insert(&probe, CAP, now()).await.expect(WORKS) {
            FlowInsert::Exists => assert!(Instant::now() < deadline, "an expired flow stays for ever"),
            FlowInsert::Inserted => break,
            FlowInsert::TooMany => panic!("expired flows count towards the cap"),
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(take(store, &probe).await, Some(probe));
}

async fn insert(store: &dyn FlowStore, record: &FlowRecord, cap: u32) -> FlowInsert {
    store.insert(record, cap, NOW).await.expect(WORKS)
}

/// Takes the flow as it is, and finishes it.
async fn take(store: &dyn FlowStore, record: &FlowRecord) -> Option<FlowRecord> {
    let taken = take_until(store, record, record.expires_at).await?;
    // One that has expired may be gone.
    assert!(finish(store, &taken).await || taken.expires_at <= NOW, "nobody else finished it");
    Some(taken)
}

async fn take_until(store: &dyn FlowStore, record: &FlowRecord, until: Timestamp) -> Option<FlowRecord> {
    store.take(&record.state_hash, until, NOW).await.expect(WORKS)
}

async fn finish(store: &dyn FlowStore, taken: &FlowRecord) -> bool {
    store.finish(taken).await.expect(WORKS)
}
