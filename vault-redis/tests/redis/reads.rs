//! Reads of credentials, which are asked for together where many are.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::timeout;
use vault_core::entropy::{Entropy as _, SystemEntropy};
use vault_core::store::{Bytes, Condition, ConnectionRecord, ConnectionStore as _, Put, StoreErrorKind};
use vault_redis::{RedisStore, RedisStoreBuilder, redis};

use crate::support::{WORKS, connection, key, prefix, raw, server};

type Read = Result<Option<Bytes>, vault_core::store::StoreError>;

/// Passes on what clients and the server say to each other, answers only while it is open, and counts.
#[derive(Clone)]
struct Way {
    port: u16,
    open: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
    /// How often clients said something.
    said: Arc<AtomicUsize>,
}

impl Way {
    /// Hangs up on whoever comes when there are `most` already.
    async fn with_at_most(most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let way =
            Self { port, open: watch::Sender::new(true), connections: Arc::default(), said: Arc::default() };
        let passing = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if passing.connections.load(Ordering::Relaxed) < most {
                    passing.connections.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(passing.clone().pass(client));
                }
            }
        });
        way
    }

    async fn pass(self, client: TcpStream) -> io::Result<()> {
        let address = server().trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let ((mut said, mut heard), (mut answers, mut asked)) =
            (client.into_split(), TcpStream::connect(address).await?.into_split());
        let mut open = self.open.subscribe();
        let answering = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            loop {
                let length = answers.read(&mut buffer).await?;
                if length == 0 || open.wait_for(|open| *open).await.is_err() {
                    return io::Result::Ok(());
                }
                heard.write_all(&buffer[..length]).await?;
            }
        });
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = said.read(&mut buffer).await?;
            if length == 0 {
                answering.abort();
                return Ok(());
            }
            self.said.fetch_add(1, Ordering::Relaxed);
            asked.write_all(&buffer[..length]).await?;
        }
    }

    async fn store(&self, prefix: &str) -> RedisStore {
        self.store_with(RedisStore::builder().prefix(prefix)).await
    }

    async fn store_with(&self, builder: RedisStoreBuilder) -> RedisStore {
        let builder = builder.response_timeout(Duration::from_secs(30));
        builder.connect(format!("redis://127.0.0.1:{}", self.port)).await.expect(WORKS)
    }

    /// Those who were asked for reads, when all of them wait.
    async fn waiting<const N: usize>(&self, store: &RedisStore) -> [JoinHandle<Read>; N] {
        self.open.send_replace(false);
        let reading = std::array::from_fn(|n| read(store, n));
        for _ in 0..10 {
            yield_now().await;
        }
        reading
    }
}

/// Its credential tells it apart.
fn record(n: usize) -> ConnectionRecord {
    ConnectionRecord {
        credential: format!("credential {n}").into(),
        ..connection(&key(&format!("user {n}")))
    }
}

/// A store of its own with so many records.
async fn seed(records: usize) -> String {
    let prefix = prefix();
    let store = RedisStore::builder().prefix(prefix.clone()).connect(server()).await.expect(WORKS);
    for n in 0..records {
        let written = store.put(&record(n), Condition::Absent, None, None).await;
        assert_eq!(written.expect(WORKS), Put::Written);
    }
    prefix
}

fn read(store: &RedisStore, n: usize) -> JoinHandle<Read> {
    let store = store.clone();
    tokio::spawn(async move { store.read(&record(n).key).await })
}

async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), answer).await.expect("in time")
}

async fn is_answered(reading: JoinHandle<Read>, n: usize) {
    let read = in_time(reading).await.expect("no panic");
    assert_eq!(read.expect(WORKS), Some(record(n).credential));
}

fn random(below: usize) -> usize {
    let mut bytes = [0; 8];
    SystemEntropy::default().fill(&mut bytes).expect("the system has random bytes");
    usize::try_from(u64::from_le_bytes(bytes) % below as u64).expect("small")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[tokio::test]
async fn reads_that_wait_are_asked_for_together() {
    const READS: usize = 300;
    let prefix = seed(READS).await;
    let way = Way::with_at_most(usize::MAX).await;
    let store = way.store(&prefix).await;
    store.read(&record(0).key).await.expect(WORKS);
    assert_eq!(way.connections.load(Ordering::Relaxed), 1, "one is enough for who reads alone");

    let before = way.said.load(Ordering::Relaxed);
    let reading = way.waiting::<READS>(&store).await;
    way.open.send_replace(true);
    for (n, reading) in reading.into_iter().enumerate() {
        is_answered(reading, n).await;
    }
    let said = way.said.load(Ordering::Relaxed) - before;
    // Three more connections introduce themselves meanwhile.
    assert!(said <= 40, "{said} messages for {READS} reads");
    assert!(way.connections.load(Ordering::Relaxed) <= 4);
}

#[tokio::test]
async fn where_no_more_connections_are_to_be_had_one_carries_all() {
    let prefix = seed(100).await;
    let way = Way::with_at_most(1).await;
    let store = way.store(&prefix).await;
    for _ in 0..3 {
        let reading: Vec<_> = (0..100).map(|n| read(&store, n)).collect();
        for (n, reading) in reading.into_iter().enumerate() {
            is_answered(reading, n).await;
        }
    }
}

#[tokio::test]
async fn without_read_connections_reads_go_one_by_one_over_the_one_connection() {
    let prefix = seed(100).await;
    let way = Way::with_at_most(usize::MAX).await;
    let store = way.store_with(RedisStore::builder().prefix(&prefix).read_connections(0)).await;
    let reading = way.waiting::<100>(&store).await;
    way.open.send_replace(true);
    for (n, reading) in reading.into_iter().enumerate() {
        is_answered(reading, n).await;
    }
    assert_eq!(way.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_are_dropped_take_nobodys_answer_along() {
    let prefix = seed(50).await;
    let store = Way::with_at_most(usize::MAX).await.store(&prefix).await;
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let store = store.clone();
        callers.spawn(async move {
            for _ in 0..100 {
                // Every other one is not there.
                let n = random(100);
                let patience = async {
                    for _ in 0..random(40) {
                        yield_now().await;
                    }
                };
                let key = record(n).key;
                tokio::select! {
                    read = store.read(&key) => {
                        assert_eq!(read.expect(WORKS), (n < 50).then(|| record(n).credential));
                    }
                    () = patience, if n.is_multiple_of(2) => {}
                }
            }
        });
    }
    while let Some(ended) = in_time(callers.join_next()).await {
        ended.expect("every answer was right");
    }
    assert_eq!(store.read(&record(1).key).await.expect(WORKS), Some(record(1).credential));
}

#[tokio::test]
async fn s04_a_damaged_record_is_its_own_callers_fault_alone() {
    let prefix = seed(40).await;
    let way = Way::with_at_most(usize::MAX).await;
    let store = way.store(&prefix).await;
    let damaged = {
        let mut scan = redis::cmd("KEYS");
        scan.arg(format!("{{{prefix}:*}}:c:*"));
        let names: Vec<String> = scan.query_async(&mut raw().await).await.expect(WORKS);
        names.into_iter().next().expect("there are connections")
    };
    redis::cmd("SET").arg(&damaged).arg("x").exec_async(&mut raw().await).await.expect(WORKS);

    let reading = way.waiting::<40>(&store).await;
    way.open.send_replace(true);
    let mut faults = 0;
    for (n, reading) in reading.into_iter().enumerate() {
        match in_time(reading).await.expect("no panic") {
            Ok(read) => assert_eq!(read, Some(record(n).credential)),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Corrupt);
                faults += 1;
            }
        }
    }
    assert_eq!(faults, 1);
}

#[test]
fn who_waits_is_answered_though_the_runtime_of_whoever_reads_has_stopped() {
    let (waits, leads) = (runtime(), runtime());
    let (way, store) = waits.block_on(async {
        let prefix = seed(20).await;
        let way = Way::with_at_most(usize::MAX).await;
        let store = way.store(&prefix).await;
        for reading in (0..20).map(|n| read(&store, n)).collect::<Vec<_>>() {
            reading.await.expect("no panic").expect(WORKS);
        }
        // Until the tasks that read have left their lanes.
        for _ in 0..10 {
            yield_now().await;
        }
        (way, store)
    });
    let leading: [_; 4] = {
        way.open.send_replace(false);
        let _entered = leads.enter();
        std::array::from_fn(|n| read(&store, n))
    };
    leads.block_on(async {
        for _ in 0..10 {
            yield_now().await;
        }
    });
    let waiting = waits.block_on(way.waiting::<20>(&store));
    way.open.send_replace(true);
    drop((leads, leading));
    waits.block_on(async {
        for (n, waiting) in waiting.into_iter().enumerate() {
            is_answered(waiting, n).await;
        }
    });
}
