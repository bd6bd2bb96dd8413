//! The worker: a process that does with its vault what it is told.

use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use vault_core::event::{Event, Observer};
use vault_core::{KeyRing, TokenCache, Vault};
use vault_http::GuardedHttp;
use vault_testkit::faults::FaultStore;

use super::clock::SkipClock;
use super::desk::Desk;
use super::protocol::{Answer, Cached, Command, Line, Order, Setup};
use super::steps::{Steps, Wire, say};
use crate::KEYS;

/// Nothing listens there: the test reads the redirect itself.
const REDIRECT_URI: &str = "http://127.0.0.1/connect/callback";

/// Obeys stdin until it ends; answers on stdout.
///
/// It wants a runtime of one thread: a process that dies or stops at a step then does nothing else there.
pub async fn run() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let setup = lines.next_line().await.expect("a pipe").expect("a first line");
    let setup: Setup = serde_json::from_str(&setup).expect("a setup");
    let desk = Arc::new(start(setup).await);
    say(&Line::Ready);
    // Who started this process is gone when the pipe ends.
    while let Some(line) = lines.next_line().await.expect("a pipe") {
        let Order { id, command } = serde_json::from_str(&line).expect("an order");
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let last = matches!(command, Command::Shutdown);
            let answers = answers(&desk, command).await;
            say(&Line::Answer { id, answers });
            if last {
                process::exit(0);
            }
        });
    }
    process::exit(0);
}

async fn start(setup: Setup) -> Desk {
    let steps = Steps::new(setup.trace);
    let clock = SkipClock::new(setup.clock_ahead);
    let (stores, _) = setup.storage.open().await.expect("the storage opens");
    let stores = FaultStore::new(stores).watched_by(steps.clone());
    let http = GuardedHttp::builder().danger_allow_loopback_http().build().expect("an HTTP client");
    let mut vault = Vault::builder();
    if let Some(cached) = &setup.cache {
        vault = vault.token_cache(cache(cached).await);
    }
    let vault = vault
        .stores(stores.stores())
        .keys(KeyRing::from_text(KEYS).expect("a key"))
        .http(Wire { http: http.clone(), steps: steps.clone() })
        .redirect_uri(REDIRECT_URI)
        .observer(Reporter)
        .clock(clock.clone())
        .follow_store_clock(setup.follow_store)
        .lease_ttl(setup.lease_ttl)
        .http_timeout(setup.http_timeout)
        .build()
        .await
        .expect("the vault starts");
    Desk::new(vault, clock, steps, stores, http, setup)
}

async fn cache(Cached { max_age, watch }: &Cached) -> TokenCache {
    let cache = TokenCache::new().max_age(*max_age);
    let Some(storage) = watch else { return cache };
    let (_, watch) = storage.open().await.expect("the storage opens");
    cache.watch(watch.expect("a backend that tells of changes"))
}

/// One answer for each reader, one for any other command.
async fn answers(desk: &Arc<Desk>, command: Command) -> Vec<Answer> {
    let Command::Read(read) = command else {
        return vec![timed(desk.execute(command)).await];
    };
    let mut readers = Vec::new();
    for n in 0..read.readers {
        let wait = read.wait + read.patience * u32::try_from(n).expect("not that many");
        let (desk, read) = (Arc::clone(desk), read.clone());
        readers.push(tokio::spawn(async move { timed(desk.read(&read, wait)).await }));
    }
    let mut answers = Vec::new();
    for reader in readers {
        answers.push(reader.await.expect("a reader does not panic"));
    }
    answers
}

async fn timed(work: impl Future<Output = super::protocol::Outcome>) -> Answer {
    let began = Instant::now();
    let outcome = work.await;
    Answer { after: began.elapsed().max(Duration::from_millis(1)), outcome }
}

/// Passes the vault's events on.
#[derive(Debug)]
struct Reporter;

impl Observer for Reporter {
    fn event(&self, event: &Event) {
        say(&Line::Event(format!("{event:?}")));
    }
}
