//! What is in the server, looked at from behind.

use std::time::Duration;

use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectorId, Owner, RevocationId, Slot, TenantId, UserId};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStore, ConnectorRecord, ConnectorStore,
    FlowInsert, FlowRecord, FlowStore, KeyRecord, KeyScope, KeyStore, LeaseAcquire, NamedPut, Page, Put,
    RevocationRecord, StoreErrorKind,
};
use vault_redis::RedisStore;
use vault_redis::redis;

use crate::support::{NOW, WORKS, connection, key, keys_with, prefix, raw, server, version};

async fn store(prefix: &str) -> RedisStore {
    let builder = RedisStore::builder().prefix(prefix);
    builder.connect(server()).await.expect("the server is up")
}

fn connector(id: &str, name: &str) -> ConnectorRecord {
    ConnectorRecord {
        tenant: TenantId::default(),
        id: ConnectorId::new(id).expect("valid"),
        name: name.to_owned(),
        version: version(),
        created_at: NOW,
        updated_at: NOW,
        sealed: vec![4],
    }
}

/// Whether there was a flow to take and to finish.
async fn take_out(store: &RedisStore) -> bool {
    match store.take(&[1; 32], NOW.saturating_add(Duration::from_secs(60)), NOW).await.expect(WORKS) {
        Some(taken) => store.finish(&taken).await.expect(WORKS),
        None => false,
    }
}

fn flow(user: &str, number: u8) -> FlowRecord {
    FlowRecord {
        state_hash: [number; 32],
        tenant: TenantId::default(),
        owner: Owner::User(UserId::new(user).expect("valid")),
        connector: ConnectorId::new("mail").expect("valid"),
        slot: Slot::default(),
        created_at: NOW,
        expires_at: NOW.saturating_add(Duration::from_secs(600)),
        sealed: vec![5],
    }
}

fn owed(record: &ConnectionRecord) -> RevocationRecord {
    RevocationRecord {
        id: RevocationId::from_bytes([9; 16]),
        key: record.key.clone(),
        incarnation: record.incarnation,
        version: version(),
        due_at: NOW,
        attempts: 0,
        created_at: NOW,
        sealed: vec![6],
    }
}

/// One record of each kind, all of that user.
async fn fill(store: &RedisStore, user: &str) -> (ConnectionRecord, ConnectorRecord, KeyScope) {
    let record = connection(&key(user));
    let put = ConnectionStore::put(store, &record, Condition::Absent, Some(&owed(&record)), None).await;
    assert_eq!(put.expect(WORKS), Put::Written);
    let holder = AttemptId::from_bytes([8; 16]);
    let lease = store.acquire_lease(&record.key, holder, Duration::from_secs(60)).await.expect(WORKS);
    assert!(matches!(lease, LeaseAcquire::Acquired(..)));

    let app = connector(user, user);
    let put = ConnectorStore::put(store, &app, Condition::Absent).await.expect(WORKS);
    assert_eq!(put, NamedPut::Written);
    let scope = KeyScope::User(TenantId::default(), UserId::new(user).expect("valid"));
    let data_key = KeyRecord { scope: scope.clone(), version: version(), wrapped: vec![7] };
    assert_eq!(KeyStore::put(store, &data_key, Condition::Absent).await.expect(WORKS), Put::Written);
    assert_eq!(store.insert(&flow(user, 1), 9, NOW).await.expect(WORKS), FlowInsert::Inserted);
    (record, app, scope)
}

#[tokio::test]
async fn s06_no_byte_of_an_identifier_is_in_a_key() {
    let prefix = prefix();
    let store = store(&prefix).await;
    let users = ["user{1}", "user:*", "user 2 %_'", "user;--", "user😀", "USER\u{7f}\r\n"];
    for (number, user) in users.into_iter().enumerate() {
        fill(&store, user).await;
        assert!(take_out(&store).await, "{number}");
        assert_eq!(store.insert(&flow(user, 1), 9, NOW).await.expect(WORKS), FlowInsert::Inserted);
        assert_eq!(store.cancel(&TenantId::default(), &flow(user, 1).owner, None).await.expect(WORKS), 1);
    }
    let keys = keys_with(&prefix).await;
    assert!(keys.len() > 4 * users.len(), "{}", keys.len());
    for key in keys {
        let key = String::from_utf8(key).expect("printable");
        let tag = format!("{{{prefix}:");
        let rest = key.strip_prefix(&tag).and_then(|rest| rest.split_once("}:")).map(|(_, rest)| rest);
        let rest = rest.or_else(|| key.strip_prefix(&format!("{prefix}:"))).expect("a key of ours");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
        assert!(rest.chars().all(plain) && !rest.to_lowercase().contains("user"), "{key}");
    }
}

#[tokio::test]
async fn x05_what_is_removed_leaves_nothing_behind() {
    let prefix = prefix();
    let store = store(&prefix).await;
    for _ in 0..3 {
        let (record, app, scope) = fill(&store, "alice").await;
        let changed = ConnectionRecord {
            version: version(),
            due_at: Some(NOW.saturating_add(Duration::from_secs(1))),
            ..record.clone()
        };
        let condition = Condition::Version(record.version);
        let put = ConnectionStore::put(&store, &changed, condition, None, None).await.expect(WORKS);
        assert_eq!(put, Put::Written);
        let deferred = RevocationRecord { due_at: Timestamp::from_millis(0), ..owed(&record) };
        let gone = ConnectionStore::delete(&store, &record.key, changed.version, Some(&deferred)).await;
        assert_eq!(gone.expect(WORKS), Put::Written);
        assert_eq!(store.owed_due(NOW, 10).await.expect(WORKS), std::slice::from_ref(&deferred));
        store.delete_owed(&record.key, deferred.id).await.expect(WORKS);

        let renamed = ConnectorRecord { name: "other".into(), version: version(), ..app.clone() };
        let put = ConnectorStore::put(&store, &renamed, Condition::Version(app.version)).await;
        assert_eq!(put.expect(WORKS), NamedPut::Written);
        assert_eq!(store.find(&app.tenant, &app.name).await.expect(WORKS), None, "the old name is free");
        let gone = ConnectorStore::delete(&store, &app.tenant, &app.id, renamed.version).await;
        assert!(gone.expect(WORKS));
        assert!(KeyStore::delete(&store, &scope).await.expect(WORKS));
        assert!(take_out(&store).await);
    }
    assert_eq!(keys_with(&prefix).await, [format!("{prefix}:meta").into_bytes()]);
}

#[tokio::test]
async fn scripts_are_sent_again_when_the_server_forgets_them() {
    let prefix = prefix();
    let (store, mut raw) = (store(&prefix).await, raw().await);
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH");
    for number in 0..20 {
        flush.query_async::<()>(&mut raw).await.expect(WORKS);
        let user = format!("u{number}");
        let flushing = flush.query_async::<()>(&mut raw);
        let ((), flushed) = tokio::join!(
            async {
                fill(&store, &user).await;
                assert!(take_out(&store).await);
            },
            flushing
        );
        flushed.expect(WORKS);
    }
    let filter = ConnectionFilter { tenant: TenantId::default(), owner: None, connector: None };
    let listed = ConnectionStore::list(&store, &filter, &Page::first(100)).await.expect(WORKS);
    assert_eq!(listed.items.len(), 20);
}

#[tokio::test]
async fn s04_a_damaged_record_is_named_corrupt_and_harms_no_other() {
    let prefix = prefix();
    let (store, mut raw) = (store(&prefix).await, raw().await);
    let (alice, bob) = (connection(&key("alice")), connection(&key("bob")));
    let alices = async || keys_with(&prefix).await.into_iter().find(|key| is_record(key));
    let put = ConnectionStore::put(&store, &alice, Condition::Absent, None, None).await.expect(WORKS);
    assert_eq!(put, Put::Written);
    let name = alices().await.expect("alice's");
    let put = ConnectionStore::put(&store, &bob, Condition::Absent, None, None).await.expect(WORKS);
    assert_eq!(put, Put::Written);

    let cases: [(&[u8], StoreErrorKind); 4] = [
        (b"", StoreErrorKind::Corrupt),
        (b"\x01", StoreErrorKind::Corrupt),
        (b"\x01\xff\xff\xff\xff\xff\xff\xff", StoreErrorKind::Corrupt),
        (b"\x02whatever comes", StoreErrorKind::SchemaTooNew),
    ];
    for (damage, kind) in cases {
        let mut set = redis::cmd("HSET");
        set.arg(&name).arg("record").arg(damage);
        set.query_async::<()>(&mut raw).await.expect(WORKS);
        let error = ConnectionStore::get(&store, &alice.key).await.expect_err("damaged");
        assert_eq!(error.kind(), kind, "{damage:?}");
        assert_eq!(ConnectionStore::get(&store, &bob.key).await.expect(WORKS).as_ref(), Some(&bob));
        let mut get = redis::cmd("HGET");
        get.arg(&name).arg("record");
        assert_eq!(get.query_async::<Vec<u8>>(&mut raw).await.expect(WORKS), damage, "it is left alone");
    }

    let mut set = redis::cmd("SET");
    set.arg(&name).arg("something else");
    set.query_async::<()>(&mut raw).await.expect(WORKS);
    let error = store.read(&alice.key).await.expect_err("not a hash");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.read(&bob.key).await.expect(WORKS).as_ref(), Some(&bob.credential));
}

/// Whether it is the key of a connection: shard, letter, id.
fn is_record(key: &[u8]) -> bool {
    String::from_utf8_lossy(key).contains("}:c:")
}
