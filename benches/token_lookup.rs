//! `vault.user(..).token(..)` of a connected user, beside the least that the same store and the same bytes cost.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use tokio::runtime::Runtime;
use vault_core::connector::Connector;
use vault_core::entropy::SystemEntropy;
use vault_core::id::ConnectionKey;
use vault_core::seal::{Context, Purpose, Sealer};
use vault_core::store::{ConnectionRecord, ConnectionStore};
use vault_core::{Callback, ClientSecret, KeyRing, NewConnector, SessionBinding, Stores, Vault};
use vault_http::GuardedHttp;
use vault_memory::MemoryStore;
use vault_sqlx::SqliteStore;
use vault_testkit::simulator::{Endpoint, Fault, Simulator};

/// Of the access token, in bytes: opaque, a usual JWT, a large one.
const SIZES: [usize; 3] = [512, 2048, 4096];
const KEYS: &str = "bench:c2Nhbi1mb3ItdGhpcy1rZXktMDEyMzQ1Njc4OWFiY2Q=";
const USER: &str = "alice";
/// In front of the sealed credential: status, incarnation, generation.
const CLEAR_BYTES: usize = 1 + 16 + 8;

/// Floor: the store's own read, and opening what it gives.
fn memory(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("token_lookup/memory");
    for size in SIZES {
        let store = MemoryStore::new();
        let stores = Stores::from_backend(store.clone());
        let connected = runtime.block_on(Connected::new(stores.clone(), size));
        let record = &connected.record;
        let ring = KeyRing::from_text(KEYS).expect("a key");
        let sealer = Sealer::start(ring, stores.keys, Arc::new(SystemEntropy::default()));
        let sealer = runtime.block_on(sealer).expect("the vault's own keys");

        group.bench_function(BenchmarkId::new("vault", size), |bencher| {
            bencher.to_async(&runtime).iter(|| connected.read());
        });
        group.bench_function(BenchmarkId::new("floor", size), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let packed = store.read(black_box(&record.key)).await.expect("up").expect("there");
                let context = Context {
                    incarnation: Some(record.incarnation),
                    generation: Some(record.generation),
                    ..Context::of_connection(Purpose::Credential, &record.key)
                };
                sealer.open(&context, &packed[CLEAR_BYTES..]).await.expect("opened")
            });
        });
    }
    group.finish();
}

/// Floor: one keyed select of the same column, through a pool with the store's settings.
fn sqlite(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("token_lookup/sqlite");
    for size in SIZES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("vault.db");
        let store = runtime.block_on(SqliteStore::open(&path)).expect("the database opens");
        let connected = runtime.block_on(Connected::new(Stores::from_backend(store), size));
        let pool = runtime.block_on(async { pool(&path) });

        group.bench_function(BenchmarkId::new("vault", size), |bencher| {
            bencher.to_async(&runtime).iter(|| connected.read());
        });
        group.bench_function(BenchmarkId::new("floor", size), |bencher| {
            bencher.to_async(&runtime).iter(|| select(&pool, black_box(&connected.record.key)));
        });
    }
    group.finish();
}

fn pool(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .synchronous(SqliteSynchronous::Full);
    SqlitePoolOptions::new()
        .max_connections(4)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options)
}

async fn select(pool: &SqlitePool, key: &ConnectionKey) -> Vec<u8> {
    sqlx::query_scalar("SELECT credential FROM vault_connections WHERE id = $1")
        .bind(key.digest().as_slice())
        .fetch_one(pool)
        .await
        .expect("the row is there")
}

/// A vault with one connection.
struct Connected {
    vault: Vault,
    connector: Connector,
    record: ConnectionRecord,
}

impl Connected {
    /// Connects through the simulator, whose access token gets that many bytes.
    async fn new(stores: Stores, token_bytes: usize) -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        let provider = Simulator::builder().switch(|switches| switches.access_ttl = day).start().await;
        let provider = provider.expect("a free port");
        let token = "x".repeat(token_bytes);
        provider.inject(Endpoint::Token, Fault::genuine().set("access_token", token.as_str()));

        let vault = Vault::builder()
            .stores(stores.clone())
            .keys(KeyRing::from_text(KEYS).expect("a key"))
            .http(GuardedHttp::builder().danger_allow_loopback_http().build().expect("an HTTP client"))
            .redirect_uri("https://app.example.com/connect/callback")
            .build()
            .await
            .expect("the vault starts");
        // The account comes from the id_token: the provider does not know the access token that it is made to give.
        let connector = NewConnector::new("demo", provider.discovered_provider())
            .client(provider.client_id(), ClientSecret::new(provider.client_secret()));
        let connector = vault.connectors().register(connector).await.expect("the connector registers");
        let binding = SessionBinding::insecure_unbound();
        let started = vault.user(USER).connect(connector.id()).start(&binding).await;
        let visit = provider.browse(started.expect("the flow starts").url().clone()).as_account(USER);
        let callback = visit.await.expect("the provider redirects");
        let callback = Callback::from_query(callback.query().expect("a query")).expect("a callback");
        let connected = vault.complete(callback, &binding).await.expect("the user connects");

        let record = stores.connections.get(connected.connection()).await;
        let record = record.expect("the store is up").expect("the connection is stored");
        let connected = Self { vault, connector, record };
        assert_eq!(connected.read().await, token_bytes);
        connected
    }

    async fn read(&self) -> usize {
        let token = self.vault.user(USER).token(self.connector.id()).await.expect("a live token");
        token.expose_secret().len()
    }
}

criterion_group!(benches, memory, sqlite);
criterion_main!(benches);
