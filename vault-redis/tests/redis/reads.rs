//! Reads of credentials, which are asked for together where many are.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
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
    /// Whether the first connection is to end.
    cut: watch::Sender<bool>,
    /// How many reads came by each connection so far.
    reads: Arc<Mutex<Vec<usize>>>,
}

impl Way {
    /// Hangs up on whoever comes when there are `most` already.
    async fn with_at_most(most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let way = Self {
            port,
            open: watch::Sender::new(true),
            cut: watch::Sender::new(false),
            reads: Arc::default(),
        };
        let passing = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = passing.reads().len();
                if connection < most {
                    passing.reads.lock().expect("no panic").push(0);
                    tokio::spawn(passing.clone().pass(client, connection));
                }
            }
        });
        way
    }

    fn reads(&self) -> Vec<usize> {
        self.reads.lock().expect("no panic").clone()
    }

    async fn pass(self, client: TcpStream, connection: usize) -> io::Result<()> {
        let address = server().trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let ((mut said, mut heard), (mut answers, mut asked)) =
            (client.into_split(), TcpStream::connect(address).await?.into_split());
        let (mut open, mut cut) = (self.open.subscribe(), self.cut.subscribe());
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
            let length = tokio::select! {
                length = said.read(&mut buffer) => length?,
                _ = cut.wait_for(|cut| *cut), if connection == 0 => 0,
            };
            if length == 0 {
                answering.abort();
                return Ok(());
            }
            // One that is cut in two is not counted.
            let reads = buffer[..length].windows(4).filter(|word| word == b"HGET").count();
            self.reads.lock().expect("no panic")[connection] += reads;
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
async fn many_reads_are_shared_by_several_connections() {
    const READS: usize = 300;
    let prefix = seed(READS).await;
    let way = Way::with_at_most(usize::MAX).await;
    let store = way.store(&prefix).await;
    store.read(&record(0).key).await.expect(WORKS);
    assert_eq!(way.reads().len(), 1, "one is enough for who reads alone");

    for _ in 0..2 {
        let reading = way.waiting::<READS>(&store).await;
        way.open.send_replace(true);
        for (n, reading) in reading.into_iter().enumerate() {
            is_answered(reading, n).await;
        }
        // The others are made meanwhile.
        in_time(async {
            while way.reads().len() < 4 {
                yield_now().await;
            }
        })
        .await;
        for _ in 0..100 {
            is_answered(read(&store, 0), 0).await;
        }
    }
    let reads = way.reads();
    assert_eq!(reads.len(), 4);
    assert!(reads.iter().all(|reads| *reads > 0), "{reads:?}");
}

#[tokio::test]
async fn readers_who_are_not_polled_keep_nobody_waiting_for_long() {
    let prefix = seed(20).await;
    let store = Way::with_at_most(usize::MAX).await.store(&prefix).await;
    let keys: Vec<_> = (0..4).map(|n| record(n).key).collect();
    let mut held: Vec<_> = keys.iter().map(|key| store.read(key)).collect();
    for read in &mut held {
        assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    for n in 0..20 {
        is_answered(read(&store, n), n).await;
    }
    for (n, read) in held.into_iter().enumerate() {
        assert_eq!(in_time(read).await.expect(WORKS), Some(record(n).credential));
    }
    for n in 0..20 {
        is_answered(read(&store, n), n).await;
    }
}

/// What stands on the way to the server may have forgotten them.
#[tokio::test]
async fn connections_that_nobody_used_are_made_anew_when_many_read_again() {
    let prefix = seed(40).await;
    let way = Way::with_at_most(usize::MAX).await;
    let store = way.store(&prefix).await;
    let until = async |connections| {
        while way.reads().len() < connections {
            for (n, reading) in (0..40).map(|n| (n, read(&store, n))).collect::<Vec<_>>() {
                is_answered(reading, n).await;
            }
        }
    };
    in_time(until(4)).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    in_time(until(7)).await;
}

/// It may have become a replica, which would go on answering.
#[tokio::test]
async fn when_the_first_connection_is_lost_so_are_the_others() {
    let prefix = seed(40).await;
    let way = Way::with_at_most(usize::MAX).await;
    let store = way.store(&prefix).await;
    while way.reads().len() < 4 {
        for reading in (0..40).map(|n| read(&store, n)).collect::<Vec<_>>() {
            in_time(reading).await.expect("no panic").expect(WORKS);
        }
    }
    way.cut.send_replace(true);
    // Until the store has noticed, and made another.
    in_time(async {
        while store.read(&record(0).key).await.is_err() || way.reads().len() == 4 {
            yield_now().await;
        }
    })
    .await;
    let before = way.reads();
    for _ in 0..3 {
        for (n, reading) in (0..40).map(|n| (n, read(&store, n))).collect::<Vec<_>>() {
            is_answered(reading, n).await;
        }
    }
    assert_eq!(way.reads()[1..4], before[1..4], "none went over one of before");
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
    assert_eq!(way.reads().len(), 1);
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
    let mut names = redis::cmd("KEYS");
    names.arg(format!("{{{prefix}:*}}:c:*"));
    let names: Vec<String> = names.query_async(&mut raw().await).await.expect(WORKS);
    redis::cmd("SET").arg(&names[0]).arg("x").exec_async(&mut raw().await).await.expect(WORKS);
    let mut order: Vec<_> = (0..40).collect();
    for n in 0..40 {
        if store.read(&record(n).key).await.is_err() {
            // The first few are asked for alone.
            order.swap(n, 20);
        }
    }

    way.open.send_replace(false);
    let reading: Vec<_> = order.into_iter().map(|n| (n, read(&store, n))).collect();
    for _ in 0..10 {
        yield_now().await;
    }
    way.open.send_replace(true);
    let mut faults = 0;
    for (n, reading) in reading {
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
