//! Reads of credentials, which have connections of their own and are answered together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_core::store::{Bytes, ConnectionRecord, ConnectionStore as _, StoreError, StoreErrorKind};
use vault_servers::postgres::{Options, Postgres};
use vault_sqlx::{PostgresOptions, PostgresStore};
use vault_tests::servers::{address, unique_name};

use super::support::{connection, execute, fresh, insert, number, on, pool_with};
use crate::outages::support::{blocking, on as on_server};

type Read = Result<Option<Bytes>, StoreError>;

/// Records whose credentials tell them apart, in a schema of their own.
struct World {
    host: PgPool,
    schema: String,
    /// Of connections to the tests' server that nobody else makes.
    name: String,
    records: Vec<ConnectionRecord>,
}

impl World {
    async fn with(records: usize) -> Self {
        let (store, host, schema) = fresh().await;
        let records: Vec<_> = (0..records).map(record).collect();
        for record in &records {
            insert(&store, record).await.expect("works");
        }
        Self { host, schema, name: unique_name(), records }
    }

    fn options(&self) -> PostgresOptions {
        PostgresOptions::new().schema(&self.schema).expect("a plain name")
    }

    /// A store with nothing in its pool. `options` are as on the server's command line.
    fn store(&self, options: &str) -> PostgresStore {
        on(pool_with(&format!("application_name={} {options}", self.name)), &self.schema)
    }

    async fn connections(&self) -> i64 {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'", self.name);
        number(&self.host, sql).await
    }

    async fn until(&self, condition: &str) {
        let named = format!("FROM pg_stat_activity WHERE application_name = '{}'", self.name);
        while number(&self.host, format!("SELECT count(*) {named} AND {condition}")).await == 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Nobody can read until this is dropped.
    async fn lock(&self) -> sqlx::Transaction<'static, sqlx::Postgres> {
        let mut tx = self.host.begin().await.expect("begun");
        let sql = format!("LOCK TABLE {}.vault_connections IN ACCESS EXCLUSIVE MODE", self.schema);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.expect("locked");
        tx
    }

    async fn terminate(&self) {
        let named = format!("FROM pg_stat_activity WHERE application_name = '{}'", self.name);
        execute(&self.host, format!("SELECT pg_terminate_backend(pid, 10000) {named}")).await;
    }
}

fn record(n: usize) -> ConnectionRecord {
    let record = connection(&format!("user {n}"), 1);
    ConnectionRecord { credential: format!("sealed credential {n}").into_bytes().into(), ..record }
}

fn read(store: &PostgresStore, record: &ConnectionRecord) -> JoinHandle<Read> {
    let (store, key) = (store.clone(), record.key.clone());
    tokio::spawn(async move { store.read(&key).await })
}

async fn answer(reading: JoinHandle<Read>) -> Read {
    reading.await.expect("no panic")
}

fn random(below: usize) -> usize {
    let mut bytes = [0; 8];
    SystemEntropy::default().fill(&mut bytes).expect("the system has random bytes");
    usize::try_from(u64::from_le_bytes(bytes) % below as u64).expect("small")
}

/// Passes on what clients and the tests' server say to each other, and counts what clients say at a time.
async fn counted() -> (u16, Arc<AtomicUsize>) {
    let server: PgConnectOptions = address("VAULT_TEST_POSTGRES").parse().expect("a URL");
    let server = (server.get_host().to_owned(), server.get_port());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let messages = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&messages);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server.clone()).await.expect("the server takes connections");
            tokio::spawn(pass(client, server, Arc::clone(&counter)));
        }
    });
    (port, messages)
}

async fn pass(client: TcpStream, server: TcpStream, messages: Arc<AtomicUsize>) -> io::Result<()> {
    let ((mut said, mut heard), (mut answers, mut server)) = (client.into_split(), server.into_split());
    tokio::spawn(async move { copy(&mut answers, &mut heard).await });
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = said.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        messages.fetch_add(1, Ordering::Relaxed);
        server.write_all(&buffer[..length]).await?;
    }
}

#[tokio::test]
async fn reads_that_wait_are_answered_by_few_statements() {
    count_statements(PostgresOptions::new()).await;
}

#[tokio::test]
async fn reads_that_wait_behind_a_transaction_pooler_are_answered_by_few_statements() {
    count_statements(PostgresOptions::new().transaction_pooler()).await;
}

async fn count_statements(options: PostgresOptions) {
    const READS: usize = 300;
    let world = World::with(READS).await;
    let (port, messages) = counted().await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?application_name={}", world.name);
    let options = options.schema(&world.schema).expect("a plain name");
    let store = options.on(PgPool::connect_lazy(&url).expect("a URL"));
    store.read(&world.records[0].key).await.expect("works");

    let lock = world.lock().await;
    let first = read(&store, &world.records[0]);
    world.until("wait_event_type = 'Lock'").await;
    // Each asked for twice.
    let reading: Vec<_> = [&world.records, &world.records]
        .into_iter()
        .flatten()
        .map(|record| (record, read(&store, record)))
        .collect();
    world.until("wait_event_type = 'Lock'").await;
    let before = messages.load(Ordering::Relaxed);
    lock.rollback().await.expect("unlocked");
    answer(first).await.expect("works");
    for (record, reading) in reading {
        assert_eq!(answer(reading).await.expect("works").as_ref(), Some(&record.credential));
    }
    let statements = messages.load(Ordering::Relaxed) - before;
    // The second connection is being opened meanwhile, and prepares its own.
    assert!(statements <= 20, "{statements} messages for {READS} reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_their_own_answer_on_no_more_connections_than_allowed() {
    const CALLERS: usize = 32;
    let world = World::with(100).await;
    let pool = pool_with(&format!("application_name={}", world.name));
    let options = world.options().read_connections(3);
    let stores = [options.on(pool)];
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let store = stores[0].clone();
        callers.spawn(async move {
            for _ in 0..100 {
                // Every other one is not there.
                let n = random(200);
                let read = store.read(&record(n).key).await.expect("works");
                assert_eq!(read, (n < 100).then(|| record(n).credential));
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.expect("every answer was right");
        assert!(world.connections().await <= 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_are_dropped_take_nobodys_answer_along() {
    let world = World::with(50).await;
    let store = world.store("");
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let store = store.clone();
        callers.spawn(async move {
            for _ in 0..200 {
                let n = random(50);
                let patience = async {
                    for _ in 0..random(40) {
                        tokio::task::yield_now().await;
                    }
                };
                let key = record(n).key;
                tokio::select! {
                    read = store.read(&key) => {
                        assert_eq!(read.expect("works"), Some(record(n).credential));
                    }
                    () = patience, if n.is_multiple_of(2) => {}
                }
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.expect("every answer was right");
        assert!(world.connections().await <= 2);
    }
    assert_eq!(store.read(&record(1).key).await.expect("works"), Some(record(1).credential));
}

#[tokio::test]
async fn who_reads_alone_has_a_task_for_the_first_read_only() {
    let world = World::with(1).await;
    let (store, key) = (world.store(""), &world.records[0].key);
    for _ in 0..3 {
        store.read(key).await.expect("works");
        let tasks = Handle::current().metrics().num_alive_tasks();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks, "none that was about to end");
    }
}

#[tokio::test]
async fn a_caller_dropped_in_the_middle_of_its_statement_leaves_a_connection_that_works() {
    let world = World::with(2).await;
    let options = world.options().read_connections(1);
    let store = options.on(pool_with(&format!("application_name={}", world.name)));
    store.read(&world.records[0].key).await.expect("works");

    let lock = world.lock().await;
    let impatient = read(&store, &world.records[0]);
    world.until("wait_event_type = 'Lock'").await;
    let patient = read(&store, &world.records[1]);
    tokio::task::yield_now().await;
    impatient.abort();
    lock.rollback().await.expect("unlocked");
    assert_eq!(answer(patient).await.expect("works"), Some(record(1).credential));
    assert_eq!(world.connections().await, 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced_unnoticed() {
    let world = World::with(20).await;
    let store = world.store("");
    for _ in 0..3 {
        // On all connections.
        let reading: Vec<_> = world.records.iter().map(|record| (record, read(&store, record))).collect();
        for (record, reading) in reading {
            assert_eq!(answer(reading).await.expect("works").as_ref(), Some(&record.credential));
        }
        world.terminate().await;
        let record = &world.records[0];
        assert_eq!(store.read(&record.key).await.expect("on a new one").as_ref(), Some(&record.credential));
        world.terminate().await;
    }
}

#[tokio::test]
async fn a_fault_is_told_to_all_whom_it_concerns() {
    let world = World::with(20).await;
    let store = world.store("statement_timeout=200");
    store.read(&world.records[0].key).await.expect("works");
    let lock = world.lock().await;
    let reading: Vec<_> = world.records.iter().map(|record| read(&store, record)).collect();
    for reading in reading {
        assert_eq!(answer(reading).await.expect_err("locked").kind(), StoreErrorKind::Busy);
    }
    lock.rollback().await.expect("unlocked");
    assert_eq!(store.read(&record(3).key).await.expect("works"), Some(record(3).credential));
}

#[tokio::test]
async fn s04_a_corrupt_row_is_its_own_callers_fault_alone() {
    let world = World::with(20).await;
    let table = format!("{}.vault_connections", world.schema);
    let edit = format!(
        "ALTER TABLE {table} ALTER credential DROP NOT NULL;
         UPDATE {table} SET credential = NULL WHERE owner_id = 'user 7';"
    );
    execute(&world.host, edit).await;
    let store = world.store("");
    store.read(&world.records[0].key).await.expect("works");
    let lock = world.lock().await;
    let reading: Vec<_> = world.records.iter().map(|record| read(&store, record)).collect();
    world.until("wait_event_type = 'Lock'").await;
    lock.rollback().await.expect("unlocked");
    for (n, reading) in reading.into_iter().enumerate() {
        match answer(reading).await {
            Ok(credential) => assert_eq!(credential, Some(record(n).credential)),
            Err(error) => assert_eq!((n, error.kind()), (7, StoreErrorKind::Corrupt)),
        }
    }
}

#[tokio::test]
async fn closing_ends_the_connections_and_later_reads() {
    let world = World::with(1).await;
    let store = world.store("");
    store.read(&world.records[0].key).await.expect("works");
    assert_eq!(world.connections().await, 1);
    store.close().await;
    let error = store.read(&world.records[0].key).await.expect_err("closed");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    while world.connections().await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_pool_that_its_host_closed_leaves_no_connections() {
    let world = World::with(1).await;
    let pool = pool_with(&format!("application_name={}", world.name));
    let store = on(pool.clone(), &world.schema);
    store.read(&world.records[0].key).await.expect("works");
    pool.close().await;
    // Whoever read first may not have left its connection yet.
    loop {
        let error = store.read(&world.records[0].key).await.expect_err("closed");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        if world.connections().await == 0 {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_older_than_the_pool_allows_is_replaced() {
    let world = World::with(1).await;
    let pool = pool_with(&format!("application_name={}", world.name));
    let options = [
        PgPoolOptions::new().idle_timeout(Duration::ZERO),
        PgPoolOptions::new().max_lifetime(Duration::ZERO),
    ];
    for options in options {
        let store = on(options.connect_lazy_with(pool.connect_options().as_ref().clone()), &world.schema);
        store.read(&world.records[0].key).await.expect("works");
        let named = format!("FROM pg_stat_activity WHERE application_name = '{}'", world.name);
        let first = number(&world.host, format!("SELECT max(pid)::bigint {named}")).await;
        store.read(&world.records[0].key).await.expect("works");
        let others = number(&world.host, format!("SELECT count(*) {named} AND pid <> {first}")).await;
        assert!(others >= 1, "another one has answered");
        store.close().await;
        while world.connections().await > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_time_without_end_may_be_allowed_for_an_answer() {
    let world = World::with(1).await;
    let options = world.options();
    let store = options.response_timeout(Duration::MAX).on(pool_with(""));
    for _ in 0..2 {
        let read = store.read(&world.records[0].key).await;
        assert_eq!(read.expect("works").as_ref(), Some(&world.records[0].credential));
    }
}

#[test]
fn a_connection_of_a_runtime_that_does_not_run_keeps_no_reader_of_another() {
    let runtime = || Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (opens, reads) = (runtime(), runtime());
    let (world, store) = opens.block_on(async {
        let world = World::with(1).await;
        let options = world.options().read_connections(1);
        let store = options.response_timeout(Duration::from_millis(100)).on(pool_with(""));
        for _ in 0..2 {
            store.read(&world.records[0].key).await.expect("works");
            // Until the task that opened the connection has left it.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        (world, store)
    });
    reads.block_on(async {
        let key = &world.records[0].key;
        let first = timeout(Duration::from_secs(30), store.read(key)).await.expect("in time");
        assert!(
            first.is_ok_and(|read| read.is_some()) || store.read(key).await.is_ok(),
            "on a new connection"
        );
    });
}

#[test]
fn who_waits_is_answered_though_the_runtime_of_whoever_led_has_stopped() {
    let runtime = || Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (leads, waits) = (runtime(), runtime());
    let (world, store) = waits.block_on(async {
        let world = World::with(1).await;
        let options = world.options().read_connections(1);
        let options = options.response_timeout(Duration::from_secs(2));
        let store = options.on(pool_with(&format!("application_name={}", world.name)));
        (world, store)
    });
    let record = &world.records[0];
    leads.block_on(store.read(&record.key)).expect("works");

    let lock = waits.block_on(world.lock());
    let waiting = std::thread::scope(|threads| {
        let leading = threads.spawn(|| leads.block_on(store.read(&record.key)));
        waits.block_on(world.until("wait_event_type = 'Lock'"));
        let waiting = waits.block_on(async { [read(&store, record)] });
        waits.block_on(async {
            tokio::task::yield_now().await;
            lock.rollback().await.expect("unlocked");
        });
        // From here on nobody runs that runtime.
        leading.join().expect("no panic").expect("works");
        waiting
    });
    waits.block_on(async {
        let [waiting] = waiting;
        let first = timeout(Duration::from_secs(10), answer(waiting)).await.expect("in time");
        // The connection's own runtime is the one that has stopped.
        assert!(first.is_ok() || store.read(&record.key).await.is_ok(), "on a new connection");
        timeout(Duration::from_secs(10), store.close()).await.expect("nobody has a connection");
    });
}

#[tokio::test]
async fn without_read_connections_reads_are_made_on_the_pool() {
    let world = World::with(1).await;
    let options = world.options().read_connections(0);
    let pool = pool_with("");
    let store = options.on(pool.clone());
    assert_eq!(store.read(&record(0).key).await.expect("works"), Some(record(0).credential));
    assert_eq!(pool.size(), 1);
    let store = on(pool_with(""), &world.schema);
    assert_eq!(store.read(&record(0).key).await.expect("works"), Some(record(0).credential));
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_reads_fail_while_the_server_is_down_and_go_on_when_it_is_back() {
    let server = blocking(|| Postgres::start(&Options::durable())).await;
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(2));
    let store = PostgresOptions::new().pool(pool).connect(&server.url()).await.expect("the server works");
    let record = record(0);
    insert(&store, &record).await.expect("works");
    store.read(&record.key).await.expect("works");

    let server = on_server(server, Postgres::kill).await;
    let reading: Vec<_> = (0..50).map(|_| read(&store, &record)).collect();
    for reading in reading {
        assert_eq!(answer(reading).await.expect_err("down").kind(), StoreErrorKind::Unavailable);
    }
    let server = on_server(server, Postgres::restart).await;
    assert_eq!(store.read(&record.key).await.expect("works").as_ref(), Some(&record.credential));
    // What was open is stale, and nobody has been told.
    let _server = on_server(on_server(server, Postgres::kill).await, Postgres::restart).await;
    assert_eq!(store.read(&record.key).await.expect("works").as_ref(), Some(&record.credential));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_keeps_no_reader_longer_than_allowed() {
    let server = blocking(|| Postgres::start(&Options::fast())).await;
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(1));
    let options = PostgresOptions::new().pool(pool).response_timeout(Duration::from_millis(500));
    let store = options.connect(&server.url()).await.expect("the server works");
    let record = record(0);
    insert(&store, &record).await.expect("works");
    store.read(&record.key).await.expect("works");

    let server = on_server(server, Postgres::pause).await;
    let reading: Vec<_> = (0..500).map(|_| read(&store, &record)).collect();
    let all = async {
        for reading in reading {
            assert_eq!(answer(reading).await.expect_err("it hangs").kind(), StoreErrorKind::Unavailable);
        }
    };
    timeout(Duration::from_secs(10), all).await.expect("in time");
    let _server = on_server(server, Postgres::resume).await;
    assert_eq!(store.read(&record.key).await.expect("on a new connection"), Some(record.credential));
}
