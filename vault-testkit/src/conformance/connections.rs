//! What a [`ConnectionStore`] must do with its records.

use vault_core::ReauthReason;
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStatus, ConnectionStore, LeaseAcquire, Put, Version,
};

use super::support::{WORKS, at, attempt, connection, draw, key, next, race, tenant, version};

/// What was put comes back whole, whatever its sizes, times, numbers and status are.
pub async fn a_connection_comes_back_as_it_was_put(store: &dyn ConnectionStore) {
    let tenant = tenant();
    let plain = connection(&key(&tenant, "plain"));
    let empty = ConnectionRecord {
        version: Version::from_i64(0),
        due_at: Some(at(0)),
        expires_at: None,
        summary: Vec::new(),
        credential: Vec::new(),
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
        credential: draw::<65_536>().to_vec(),
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

/// A version from before a delete does not match what was made after it.
pub async fn a_version_does_not_outlive_its_record(store: &dyn ConnectionStore) {
    let before = connection(&key(&tenant(), "alice"));
    assert_eq!(put(store, &before, Condition::Absent).await, Put::Written);
    assert_eq!(delete(store, &before).await, Put::Written);
    let after = connection(&before.key);
    assert_eq!(put(store, &after, Condition::Absent).await, Put::Written);

    let late = next(&before);
    let condition = Condition::Version(before.version);
    assert_eq!(put(store, &late, condition).await, is(&after));
    assert_eq!(delete(store, &before).await, is(&after));
    assert_eq!(store.get(&after.key).await.expect(WORKS), Some(after));
}

/// Eight workers make five conditional increments each: none is lost.
pub async fn conditional_increments_add_up(store: &dyn ConnectionStore) {
    const WORKERS: usize = 8;
    const INCREMENTS: usize = 5;
    let start = connection(&key(&tenant(), "alice"));
    assert_eq!(put(store, &start, Condition::Absent).await, Put::Written);

    let _: [(); WORKERS] = race(async |_| {
        for _ in 0..INCREMENTS {
            increment(store, &start).await;
        }
    });
    let end = store.get(&start.key).await.expect(WORKS).expect("stored");
    let expected = start.generation as usize + WORKERS * INCREMENTS;
    assert_eq!(end.generation, expected as u64);
}

async fn increment(store: &dyn ConnectionStore, record: &ConnectionRecord) {
    loop {
        let current = store.get(&record.key).await.expect(WORKS).expect("stored");
        let more = next(&current);
        match put(store, &more, Condition::Version(current.version)).await {
            Put::Written => return,
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
    one_winner(store, &key, &outcomes).await;
}

/// Two handles, such as two processes have, are on one store: a write through one shows through the other, of two who
/// swap the same record one wins and the other sees its version, and a lease keeps out the other handle.
///
/// Not part of the macro, which has but one handle: call it with two.
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
        current = one_winner(two, &first.key, &outcomes).await;
    }

    let ttl = std::time::Duration::from_secs(60);
    let taken = one.acquire_lease(&first.key, attempt(), ttl).await.expect(WORKS);
    assert!(matches!(taken, LeaseAcquire::Acquired(_)), "{taken:?}");
    let refused = two.acquire_lease(&first.key, attempt(), ttl).await.expect(WORKS);
    assert!(matches!(refused, LeaseAcquire::Held { .. }), "{refused:?}");
}

async fn one_winner(
    store: &dyn ConnectionStore,
    key: &vault_core::id::ConnectionKey,
    outcomes: &[(Version, Put)],
) -> Version {
    let winners: Vec<_> = outcomes.iter().filter(|(_, put)| *put == Put::Written).collect();
    let [(winner, _)] = winners[..] else {
        panic!("one must win: {outcomes:?}");
    };
    for (version, put) in outcomes {
        if version != winner {
            assert_eq!(*put, Put::Conflict(Some(*winner)));
        }
    }
    let stored = store.get(key).await.expect(WORKS).expect("stored");
    assert_eq!(stored.version, *winner);
    *winner
}

/// Of many who delete one record at once, one does.
pub async fn a_race_to_delete_has_one_winner(store: &dyn ConnectionStore) {
    let record = connection(&key(&tenant(), "alice"));
    assert_eq!(put(store, &record, Condition::Absent).await, Put::Written);
    let wrong = next(&record);
    assert_eq!(delete(store, &wrong).await, is(&record));

    let outcomes: [_; 8] = race(async |_| delete(store, &record).await);
    let won = outcomes.iter().filter(|put| **put == Put::Written).count();
    assert_eq!(won, 1, "{outcomes:?}");
    let lost = outcomes.iter().filter(|put| **put == Put::Conflict(None)).count();
    assert_eq!(lost, 7, "{outcomes:?}");
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
    store.put(record, condition, None).await.expect(WORKS)
}

async fn delete(store: &dyn ConnectionStore, record: &ConnectionRecord) -> Put {
    store.delete(&record.key, record.version, None).await.expect(WORKS)
}

fn is(record: &ConnectionRecord) -> Put {
    Put::Conflict(Some(record.version))
}
