//! What a [`ConnectionStore`] must do with its records.

use std::collections::HashMap;

use vault_core::ReauthReason;
use vault_core::id::ConnectionKey;
use vault_core::store::{
    Bytes, Condition, ConnectionRecord, ConnectionStatus, ConnectionStore, LeaseAcquire, Put, Version,
};

use super::support::{
    LONG, WORKS, at, attempt, connection, draw, key, lease, next, one_winner, race, tenant, version,
};

/// What was put comes back whole, whatever its sizes, times, numbers and status are.
pub async fn a_connection_comes_back_as_it_was_put(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let plain = connection(&key(&tenant, "plain"));
    let empty = ConnectionRecord {
        version: Version::from_i64(0),
        due_at: Some(at(0)),
        expires_at: None,
        summary: Vec::new(),
        credential: Bytes::new(),
        refresh: Vec::new(),
        ..connection(&key(&tenant, "empty"))
    };
    let least = ConnectionRecord {
        version: Version::from_i64(i64::MIN),
        due_at: Some(at(i64::MAX)),
        expires_at: Some(at(i64::MIN)),
        created_at: at(i64::MIN),
        updated_at: at(-1),
        ..connection(&key(&tenant, "least"))
    };
    let most = ConnectionRecord {
        version: Version::from_i64(i64::MAX),
        generation: i64::MAX.unsigned_abs(),
        due_at: Some(at(i64::MAX)),
        expires_at: Some(at(i64::MAX)),
        updated_at: at(i64::MAX),
        summary: (0..=u8::MAX).collect(),
        credential: draw::<65_536>().to_vec().into(),
        refresh: draw::<8_192>().to_vec(),
        ..connection(&key(&tenant, "most"))
    };
    for record in [plain, empty, least, most] {
        comes_back(store, &record).await;
    }
    for reason in [
        ReauthReason::GrantRevoked,
        ReauthReason::InteractionRequired,
        ReauthReason::LostRotation,
        ReauthReason::NoRefreshToken,
    ] {
        let record = ConnectionRecord {
            status: ConnectionStatus::NeedsReauthorization(reason),
            ..connection(&key(&tenant, &format!("{reason:?}")))
        };
        comes_back(store, &record).await;
    }
}

async fn comes_back(store: &dyn ConnectionStore, record: &ConnectionRecord) {
    assert_eq!(store.read(&record.key).await.expect(WORKS), None);
    assert_eq!(store.get(&record.key).await.expect(WORKS), None);
    assert_eq!(put(store, record, Condition::Absent).await, Put::Written);
    assert_eq!(store.read(&record.key).await.expect(WORKS).as_ref(), Some(&record.credential));
    assert_eq!(store.get(&record.key).await.expect(WORKS).as_ref(), Some(record));
}

/// A condition that does not hold writes nothing and answers with the version that is there.
pub async fn a_connection_put_is_compare_and_swap(store: &dyn ConnectionStore) {
    let first = connection(&key(&tenant(), "alice"));
    let second = next(&first);
    let third = next(&second);
    let replaces = |record: &ConnectionRecord| Condition::Version(record.version);

    assert_eq!(put(store, &second, replaces(&first)).await, Put::Conflict(None));
    assert_eq!(put(store, &first, Condition::Absent).await, Put::Written);
    assert_eq!(put(store, &second, Condition::Absent).await, is(&first));
    assert_eq!(put(store, &second, replaces(&first)).await, Put::Written);
    assert_eq!(put(store, &third, replaces(&first)).await, is(&second));
    assert_eq!(
        store.get(&first.key).await.expect(WORKS).as_ref(),
        Some(&second),
        "the refused write changed nothing"
    );

    assert_eq!(delete(store, &first).await, is(&second));
    assert_eq!(delete(store, &second).await, Put::Written);
    assert_eq!(delete(store, &second).await, Put::Conflict(None));
    assert_eq!(store.get(&first.key).await.expect(WORKS), None);
    assert_eq!(store.read(&first.key).await.expect(WORKS), None);
}

/// Eight workers make five conditional increments each. The writes form one chain, in which each replaced what the one
/// before it wrote, and nobody ever sees the chain go back.
pub async fn conditional_increments_add_up(store: &dyn ConnectionStore) {
    const WORKERS: usize = 8;
    const INCREMENTS: usize = 5;
    let start = connection(&key(&tenant(), "alice"));
    assert_eq!(put(store, &start, Condition::Absent).await, Put::Written);

    let steps: [Vec<Step>; WORKERS] = race(async |_| {
        let mut steps = Vec::new();
        let mut seen = start.generation;
        for _ in 0..INCREMENTS {
            steps.push(increment(store, &start.key, &mut seen).await);
        }
        steps
    });
    let steps: HashMap<_, _> = steps.iter().flatten().map(|step| (step.from, *step)).collect();
    assert_eq!(steps.len(), WORKERS * INCREMENTS, "two writes replaced the same version");

    let end = store.get(&start.key).await.expect(WORKS).expect("stored");
    let (mut version, mut generation) = (start.version, start.generation);
    for _ in 0..steps.len() {
        let step = steps.get(&version).expect("each version but the last was replaced");
        assert_eq!(step.generation, generation + 1);
        (version, generation) = (step.to, step.generation);
    }
    assert_eq!((end.version, end.generation), (version, generation), "the last write is the one that stands");
}

/// A write that happened: what it replaced, and by what.
#[derive(Clone, Copy)]
struct Step {
    from: Version,
    to: Version,
    generation: u64,
}

/// Increments once, however often others are faster. `seen` is the highest generation that the worker knows of.
async fn increment(store: &dyn ConnectionStore, key: &ConnectionKey, seen: &mut u64) -> Step {
    loop {
        let current = store.get(key).await.expect(WORKS).expect("stored");
        assert!(current.generation >= *seen, "a read went back from {seen} to {}", current.generation);
        *seen = current.generation;
        let more = next(&current);
        match put(store, &more, Condition::Version(current.version)).await {
            Put::Written => {
                *seen = more.generation;
                return Step { from: current.version, to: more.version, generation: more.generation };
            }
            Put::Conflict(there) => {
                assert!(there.is_some(), "nobody deleted it");
                assert_ne!(there, Some(current.version), "then the condition held");
            }
        }
    }
}

/// Of many who create one record at once, one does, and the others see its version.
pub async fn s16_a_race_to_create_has_one_winner(store: &dyn ConnectionStore) {
    let key = key(&tenant(), "alice");
    let outcomes: [_; 8] = race(async |_| {
        let record = connection(&key);
        (record.version, put(store, &record, Condition::Absent).await)
    });
    winner(store, &key, &outcomes).await;
}

/// Two handles, such as two processes have, are on one store: a write through one shows through the other, of two who
/// swap the same record one wins and the other sees its version, and a lease keeps out the other handle.
///
/// The macro gives it two handles of the [`Fixture`](super::Fixture); call it where you have them otherwise.
pub async fn s16_two_handles_share_one_store(one: &dyn ConnectionStore, two: &dyn ConnectionStore) {
    let first = connection(&key(&tenant(), "alice"));
    assert_eq!(put(one, &first, Condition::Absent).await, Put::Written);
    assert_eq!(two.get(&first.key).await.expect(WORKS).as_ref(), Some(&first));

    let mut current = first.version;
    for _ in 0..10 {
        let outcomes: [_; 2] = race(async |worker| {
            let record = next(&first);
            let handle = [one, two][worker];
            (record.version, put(handle, &record, Condition::Version(current)).await)
        });
        current = winner(two, &first.key, &outcomes).await;
    }

    lease(one, &first.key, attempt()).await;
    let refused = two.acquire_lease(&first.key, attempt(), LONG).await.expect(WORKS);
    assert!(matches!(refused, LeaseAcquire::Held { .. }), "{refused:?}");
}

/// One of them won, and is what the store has now.
async fn winner(store: &dyn ConnectionStore, key: &ConnectionKey, outcomes: &[(Version, Put)]) -> Version {
    let winner = one_winner(outcomes, &Put::Written, Put::Conflict);
    let stored = store.get(key).await.expect(WORKS).expect("stored");
    assert_eq!(stored.version, winner);
    winner
}

/// A conditional put on a record of which only the version is known, and that version extreme.
pub async fn any_version_can_be_the_condition(store: &dyn ConnectionStore) {
    let mut current = connection(&key(&tenant(), "alice"));
    assert_eq!(put(store, &current, Condition::Absent).await, Put::Written);
    for number in [0, -1, i64::MIN, i64::MAX, version().as_i64()] {
        let record = ConnectionRecord { version: Version::from_i64(number), ..next(&current) };
        let condition = Condition::Version(current.version);
        assert_eq!(put(store, &record, condition).await, Put::Written);
        current = record;
    }
}

async fn put(store: &dyn ConnectionStore, record: &ConnectionRecord, condition: Condition) -> Put {
    store.put(record, condition, None, None).await.expect(WORKS)
}

async fn delete(store: &dyn ConnectionStore, record: &ConnectionRecord) -> Put {
    store.delete(&record.key, record.version, None).await.expect(WORKS)
}

fn is(record: &ConnectionRecord) -> Put {
    Put::Conflict(Some(record.version))
}
