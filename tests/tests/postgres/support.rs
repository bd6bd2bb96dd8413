use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, ConnectorId, Incarnation, Owner, RevocationId, Slot};
use vault_core::id::{TenantId, UserId};
use vault_core::store::{
    Condition, ConnectionRecord, ConnectionStatus, ConnectionStore as _, FlowRecord, Put, RevocationRecord,
    StoreError, Version,
};
use vault_sqlx::{PostgresOptions, PostgresStore};
use vault_tests::servers::{address, unique_name};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(crate) fn pool() -> PgPool {
    pool_with("")
}

/// With `options` as on the server's command line.
pub(crate) fn pool_with(options: &str) -> PgPool {
    let url = address("VAULT_TEST_POSTGRES");
    let options = url.parse::<sqlx::postgres::PgConnectOptions>().expect("a URL").options(pairs(options));
    let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(5));
    pool.connect_lazy_with(options)
}

fn pairs(options: &str) -> Vec<(&str, &str)> {
    options.split_whitespace().filter_map(|option| option.split_once('=')).collect()
}

/// A store with tables of its own, and a pool to look at them with.
pub(crate) async fn fresh() -> (PostgresStore, PgPool, String) {
    let schema = unique_name();
    let store = on(pool(), &schema);
    store.migrate().await.expect("an empty schema");
    (store, pool(), schema)
}

pub(crate) fn on(pool: PgPool, schema: &str) -> PostgresStore {
    PostgresOptions::new().schema(schema).expect("a plain name").on(pool)
}

pub(crate) async fn execute(pool: &PgPool, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.expect("works");
}

pub(crate) async fn number(pool: &PgPool, sql: String) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.expect("works")
}

pub(crate) fn connection(user: &str, version: i64) -> ConnectionRecord {
    ConnectionRecord {
        key: ConnectionKey {
            tenant: TenantId::default(),
            owner: Owner::User(UserId::new(user).expect("valid")),
            connector: ConnectorId::new("mail").expect("valid"),
            slot: Slot::default(),
        },
        version: Version::from_i64(version),
        incarnation: Incarnation::from_bytes([7; 16]),
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: Some(NOW),
        expires_at: None,
        created_at: NOW,
        updated_at: NOW,
        summary: b"sealed summary".to_vec(),
        credential: b"sealed credential".to_vec().into(),
        refresh: Vec::new(),
    }
}

/// To that connection.
pub(crate) fn flow(record: &ConnectionRecord, hash: u8, expires_at: Timestamp) -> FlowRecord {
    FlowRecord {
        state_hash: [hash; 32],
        tenant: record.key.tenant.clone(),
        owner: record.key.owner.clone(),
        connector: record.key.connector.clone(),
        slot: record.key.slot.clone(),
        created_at: NOW,
        expires_at,
        sealed: b"sealed flow".to_vec(),
    }
}

pub(crate) fn changed(record: &ConnectionRecord) -> ConnectionRecord {
    ConnectionRecord { version: Version::from_i64(record.version.as_i64() + 1), ..record.clone() }
}

pub(crate) fn owed(record: &ConnectionRecord, id: u8) -> RevocationRecord {
    RevocationRecord {
        id: RevocationId::from_bytes([id; 16]),
        key: record.key.clone(),
        incarnation: record.incarnation,
        version: Version::from_i64(1),
        due_at: NOW,
        attempts: 0,
        created_at: NOW,
        sealed: vec![1],
    }
}

pub(crate) async fn insert(store: &PostgresStore, record: &ConnectionRecord) -> Result<(), StoreError> {
    let put = store.put(record, Condition::Absent, None, None).await?;
    assert_eq!(put, Put::Written);
    Ok(())
}
