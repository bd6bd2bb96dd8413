//! PostgreSQL's own counters tell whether a call looked through a whole table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, Slot, TenantId, UserId};
use vault_core::store::{ConnectionFilter, ConnectionStore as _, FlowRecord, FlowStore as _, Page};
use vault_sqlx::{PostgresOptions, PostgresStore};
use vault_tests::servers::{address, unique_name};

const ROWS: i64 = 20_000;
/// So often that PostgreSQL has settled for one plan of a prepared statement, which it does after five.
const TIMES: i64 = 8;
const PATIENCE: Duration = Duration::from_secs(20);

/// Three tenants, a thousand users, fifty connectors.
fn filled(schema: &str) -> String {
    let shared = "CASE WHEN n % 10 = 0 THEN 'small ' || n % 2 ELSE 'default' END, 1, 'user ' || n % 1000";
    format!(
        "SET search_path TO {schema};
         INSERT INTO vault_connections (id, tenant, owner_kind, owner_id, connector, slot, version, incarnation,
             generation, status, due_at, created_at, updated_at, refresh, summary, credential)
         SELECT sha256(('c' || n)::bytea), {shared}, 'connector ' || n % 50, 'slot ' || n, n,
             '\\x00000000000000000000000000000000', 1, n % 3, n, n, n, '', 'summary', 'credential'
         FROM generate_series(1, {ROWS}) n;
         INSERT INTO vault_owed (id, connection, tenant, owner_kind, owner_id, connector, slot, incarnation, version,
             due_at, attempts, created_at, sealed)
         SELECT decode(md5('o' || n), 'hex'), sha256(('c' || n)::bytea), {shared}, 'connector ' || n % 50, 'slot ' || n,
             '\\x00000000000000000000000000000000', n, n, 0, n, 'sealed'
         FROM generate_series(1, {ROWS}) n;
         INSERT INTO vault_flows (state_hash, tenant, owner_kind, owner_id, place, connector, slot, created_at,
             expires_at, sealed)
         SELECT sha256(('f' || n)::bytea), {shared}, n, 'connector ' || n % 50, 'slot ' || n, n, n, 'sealed'
         FROM generate_series(1, {ROWS}) n;
         ANALYZE vault_connections, vault_owed, vault_flows;"
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scans {
    whole: i64,
    by_index: i64,
}

/// By table.
async fn scans(connection: &mut PgConnection, schema: &str) -> BTreeMap<String, Scans> {
    let scans = "SELECT relname::text, seq_scan, idx_scan FROM pg_stat_user_tables
                 WHERE schemaname = $1 AND relname IN ('vault_connections', 'vault_owed', 'vault_flows')";
    let scans: Vec<(String, i64, i64)> =
        sqlx::query_as(scans).bind(schema).fetch_all(connection).await.expect("good SQL");
    scans.into_iter().map(|(table, whole, by_index)| (table, Scans { whole, by_index })).collect()
}

/// What looks for rows: by their ids, owners, connectors and times. In each table at least three times.
async fn every_call(store: &PostgresStore) {
    let tenant = TenantId::default();
    let owner = Owner::User(UserId::new("user 7").expect("valid"));
    let connector = ConnectorId::new("connector 7").expect("valid");
    for by_owner in [false, true] {
        for by_connector in [false, true] {
            let filter = ConnectionFilter {
                tenant: tenant.clone(),
                owner: by_owner.then(|| owner.clone()),
                connector: by_connector.then(|| connector.clone()),
            };
            let first = store.list(&filter, &Page::first(10)).await.expect("a listing");
            assert!(first.items.len() >= 10 || first.next.is_none());
            let page = Page { after: first.next, limit: 10 };
            assert!(!store.list(&filter, &page).await.expect("a listing").items.is_empty());
        }
    }
    assert_eq!(store.due(Timestamp::from_millis(100), 10).await.expect("a scan").len(), 10);
    assert_eq!(store.owed_due(Timestamp::from_millis(100), 10).await.expect("a scan").len(), 10);
    for owner in [None, Some(&owner)] {
        let owed = store.list_owed(&tenant, owner, &Page::first(10)).await.expect("a listing");
        assert_eq!(owed.items.len(), 10);
    }
    let key = &store.due(Timestamp::from_millis(ROWS), 1).await.expect("a scan")[0];
    assert!(store.get(key).await.expect("a read").is_none(), "its id is none of ours");
    assert!(
        store
            .take(&[7; 32], Timestamp::from_millis(1), Timestamp::from_millis(0))
            .await
            .expect("a read")
            .is_none()
    );
    let nobodys = FlowRecord {
        state_hash: [7; 32],
        tenant: tenant.clone(),
        owner: owner.clone(),
        connector: connector.clone(),
        slot: Slot::default(),
        created_at: Timestamp::from_millis(0),
        expires_at: Timestamp::from_millis(1),
        sealed: Vec::new(),
    };
    assert!(!store.finish(&nobodys).await.expect("a write"));
    assert_eq!(store.purge_expired(Timestamp::from_millis(ROWS), 10).await.expect("a purge"), 10);
    let cancelled = store.cancel(&tenant, &Owner::User(UserId::new("nobody").expect("valid")), None).await;
    assert_eq!(cancelled.expect("a read"), 0);
}

async fn x01(options: fn(PostgresOptions) -> PostgresOptions) {
    let (url, schema) = (address("VAULT_TEST_POSTGRES"), unique_name());
    let options = || options(PostgresOptions::new().schema(&schema).expect("plain"));
    options().connect(&url).await.expect("the server works").close().await;
    let mut loader = PgConnection::connect(&url).await.expect("the server works");
    sqlx::raw_sql(AssertSqlSafe(filled(&schema))).execute(&mut loader).await.expect("good SQL");
    // A session's counts are out when it has ended.
    loader.close().await.expect("it ends");

    let mut host = PgConnection::connect(&url).await.expect("the server works");
    let deadline = Instant::now() + PATIENCE;
    let analyzed = "SELECT count(*) FROM pg_stat_user_tables WHERE schemaname = $1 AND n_tup_ins = $2 \
                    AND last_analyze IS NOT NULL";
    while sqlx::query_scalar::<_, i64>(analyzed)
        .bind(&schema)
        .bind(ROWS)
        .fetch_one(&mut host)
        .await
        .expect("good SQL")
        < 3
    {
        assert!(Instant::now() < deadline, "the rows are not counted");
        tokio::task::yield_now().await;
    }
    let before = scans(&mut host, &schema).await;

    let store = options().connect(&url).await.expect("the server works");
    for _ in 0..TIMES {
        every_call(&store).await;
    }
    store.close().await;
    loop {
        let after = scans(&mut host, &schema).await;
        for (table, scans) in &after {
            assert_eq!(scans.whole, before[table].whole, "{table} was looked through");
        }
        if after.iter().all(|(table, scans)| scans.by_index >= before[table].by_index + 3 * TIMES) {
            break;
        }
        assert!(Instant::now() < deadline, "indexes were not used: {before:?}, then {after:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x01_postgres_answers_every_call_from_an_index() {
    x01(|options| options).await;
}

/// Whose statements carry their values, so that each is planned by itself.
#[tokio::test(flavor = "multi_thread")]
async fn x01_postgres_answers_every_call_behind_a_pooler_from_an_index() {
    x01(PostgresOptions::transaction_pooler).await;
}
