use std::time::Duration;

use vault_core::id::{AttemptId, ConnectorId, Owner, Slot, TenantId};
use vault_core::store::{
    Condition, ConnectionStore, ConnectorRecord, ConnectorStore, FlowInsert, FlowRecord, FlowStore,
    KeyRecord, KeyScope, KeyStore, LeaseAcquire, NamedPut, Page, Put, Version,
};
use vault_sqlx::SqliteStore;
use vault_testkit::conformance::connections;

use crate::support::{NOW, connection, fresh, insert, owed};

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let (store, folder) = fresh().await;
    let (tenant, version) = (TenantId::default(), Version::from_i64(1));
    let connector = ConnectorRecord {
        tenant: tenant.clone(),
        id: ConnectorId::new("c1").expect("valid"),
        name: "mail".to_owned(),
        version,
        created_at: NOW,
        updated_at: NOW,
        sealed: vec![1],
    };
    let flow = FlowRecord {
        state_hash: [2; 32],
        tenant: tenant.clone(),
        owner: Owner::Shared,
        connector: connector.id.clone(),
        slot: Slot::default(),
        created_at: NOW,
        expires_at: NOW,
        sealed: vec![2],
    };
    let key = KeyRecord { scope: KeyScope::Vault, version, wrapped: vec![3] };
    let (kept, gone) = (connection("alice", 1), connection("bob", 1));
    let owed = owed(&gone, 1, vec![4]);
    let (holder, hour) = (AttemptId::from_bytes([5; 16]), Duration::from_secs(3600));

    let put = ConnectorStore::put(&store, &connector, Condition::Absent).await;
    assert_eq!(put.expect("works"), NamedPut::Written);
    let inserted = store.insert(&flow, 1, NOW).await;
    assert_eq!(inserted.expect("works"), FlowInsert::Inserted);
    let put = KeyStore::put(&store, &key, Condition::Absent).await;
    assert_eq!(put.expect("works"), Put::Written);
    insert(&store, &kept).await.expect("works");
    insert(&store, &gone).await.expect("works");
    let deleted = ConnectionStore::delete(&store, &gone.key, version, Some(&owed)).await;
    assert_eq!(deleted.expect("works"), Put::Written);
    let leased = store.acquire_lease(&kept.key, holder, hour).await;
    let LeaseAcquire::Acquired(lease, _) = leased.expect("works") else {
        panic!("a new record has no lease");
    };
    store.close().await;

    let store = SqliteStore::open(folder.path().join("vault.db")).await.expect("the same database");
    let found = ConnectorStore::find(&store, &tenant, "mail").await;
    assert_eq!(found.expect("works"), Some(connector));
    assert_eq!(store.take(&[2; 32], flow.expires_at, NOW).await.expect("works"), Some(flow));
    let found = KeyStore::get(&store, &KeyScope::Vault).await;
    assert_eq!(found.expect("works"), Some(key));
    let found = ConnectionStore::get(&store, &kept.key).await;
    assert_eq!(found.expect("works").as_ref(), Some(&kept));
    let found = ConnectionStore::get(&store, &gone.key).await;
    assert_eq!(found.expect("works"), None);
    let listed = store.list_owed(&tenant, None, &Page::first(9)).await;
    assert_eq!(listed.expect("works").items, [owed]);
    let renewed = store.renew_lease(&kept.key, holder, lease.fence, hour).await;
    assert!(renewed.expect("works"), "leases outlive the process");
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_two_stores_on_one_file_are_one_store() {
    let (one, folder) = fresh().await;
    let two = SqliteStore::open(folder.path().join("vault.db")).await.expect("the same database");
    connections::s16_two_handles_share_one_store(&one, &two).await;
}
