use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use url::Url;
use vault_testkit::simulator::{Call, Endpoint, Rotation, Simulator, TokenInfo};

use super::clock::SkipClock;
use super::process::{PATIENCE, Worker};
use super::protocol::{Command, Outcome, Read, Setup};
use super::storage::{Kind, Storage};

/// How an [`Arena`] is laid out.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "of a test harness")]
pub struct Options {
    /// What the provider does with refresh tokens.
    pub rotation: Rotation,
    /// How long a successor waits for a request that may be on its way, in seconds; the provider's own where `None`.
    pub settle: Option<u64>,
    /// The refresh lease.
    pub lease_ttl: Duration,
    /// The deadline of a request to the provider.
    pub http_timeout: Duration,
}

impl Default for Options {
    /// Scaled: an hour is a minute, and a lease is three seconds.
    fn default() -> Self {
        Self {
            rotation: Rotation::Strict,
            settle: Some(1),
            lease_ttl: Duration::from_secs(3),
            http_timeout: Duration::from_millis(1400),
        }
    }
}

/// The provider, the storage, and the program that the workers run.
#[derive(Debug)]
pub struct Arena {
    /// The provider.
    pub provider: Simulator,
    /// What workers are told at the start.
    pub setup: Setup,
    clock: SkipClock,
    program: PathBuf,
    _folder: Option<TempDir>,
}

/// What the provider has seen of one user's refresh tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sends {
    /// Requests for a refresh.
    pub sends: usize,
    /// Refresh tokens that came.
    pub generations: usize,
    /// The most that one of them came.
    pub most: usize,
    /// The most requests with one token that were under way at once.
    pub rivals: usize,
}

impl Sends {
    /// So many tokens, each sent once.
    #[must_use]
    pub const fn once_each(tokens: usize) -> Self {
        Self { sends: tokens, generations: tokens, most: 1, rivals: 1 }
    }
}

impl Arena {
    /// On the servers that all tests share.
    pub async fn start(program: &str, kind: Kind, options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = Storage::shared(kind, folder.path());
        Self { _folder: Some(folder), ..Self::on(program, storage, options).await }
    }

    /// On any storage.
    pub async fn on(program: &str, storage: Storage, options: Options) -> Self {
        let clock = SkipClock::new(0);
        let provider = Simulator::builder().clock(Arc::new(clock.clone()));
        let provider = provider.switch(|switches| switches.rotation = options.rotation);
        let provider = provider.start().await.expect("a free port");
        let setup = Setup {
            storage,
            provider: definition(&provider, options.settle),
            client_id: provider.client_id().to_owned(),
            client_secret: provider.client_secret().to_owned(),
            scopes: Vec::new(),
            authorize: Vec::new(),
            lease_ttl: options.lease_ttl,
            http_timeout: options.http_timeout,
            cache: None,
            clock_ahead: 0,
            follow_store: false,
            trace: false,
        };
        let arena = Self { provider, setup, clock, program: Path::new(program).to_owned(), _folder: None };
        let first = arena.worker().await;
        assert!(matches!(first.tell(Command::Register).await, Outcome::Done(_)), "the connector registers");
        arena
    }

    /// Another process.
    pub async fn worker(&self) -> Worker {
        Worker::start(&self.program, &self.setup).await
    }

    /// Another process, whose setup differs.
    pub async fn worker_with(&self, change: impl FnOnce(&mut Setup)) -> Worker {
        let mut setup = self.setup.clone();
        change(&mut setup);
        Worker::start(&self.program, &setup).await
    }

    /// So many processes, started at once.
    pub async fn workers(&self, count: usize) -> Vec<Arc<Worker>> {
        let starting: Vec<_> = (0..count)
            .map(|_| {
                let (program, setup) = (self.program.clone(), self.setup.clone());
                tokio::spawn(async move { Worker::start(&program, &setup).await })
            })
            .collect();
        let mut workers = Vec::new();
        for worker in starting {
            workers.push(Arc::new(worker.await.expect("a worker starts")));
        }
        workers
    }

    /// Time passes for the provider and for all of these.
    pub async fn pass_time(&self, workers: &[Arc<Worker>], span: Duration) {
        self.clock.skip(span);
        for worker in workers {
            worker.tell(Command::Skip { span }).await;
        }
    }

    /// Where a token can be used.
    #[must_use]
    pub fn calendar(&self) -> String {
        self.provider.url("/calendar").to_string()
    }

    /// The user goes to the provider and says yes: the query of the callback.
    pub async fn visit(&self, url: &str, user: &str) -> String {
        let url = Url::parse(url).expect("a URL");
        let callback = self.provider.browse(url).as_account(user).await.expect("the provider redirects");
        callback.query().expect("a query").to_owned()
    }

    /// The whole flow, in that process.
    pub async fn connect(&self, worker: &Worker, user: &str) {
        let started = worker.tell(Command::Start { user: user.to_owned() }).await;
        let Outcome::Url(url) = started else { panic!("{user} cannot start: {started:?}") };
        let query = self.visit(&url, user).await;
        let connected = worker.tell(Command::Complete { query }).await;
        assert!(matches!(connected, Outcome::Done(_)), "{user} cannot connect: {connected:?}");
    }

    /// Reads until the answer is no mere "later".
    pub async fn settled(&self, worker: &Worker, read: &Read) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcome = worker.read(read.clone()).await;
            if !matches!(&outcome, Outcome::Failed { retryable: true, .. }) {
                return outcome;
            }
            assert!(Instant::now() < deadline, "{} is told to come back later for ever", read.user);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The refreshes of that user's tokens, as the provider saw them.
    #[must_use]
    pub fn sends(&self, user: &str) -> Sends {
        let of_user = |call: &Call| call.presented.as_ref().is_some_and(|token| token.account == user);
        let calls: Vec<Call> = self.provider.refreshes().into_iter().filter(of_user).collect();
        let mut tokens = BTreeMap::<_, usize>::new();
        for call in &calls {
            *tokens.entry(call.param("refresh_token")).or_default() += 1;
        }
        Sends {
            sends: calls.len(),
            generations: tokens.len(),
            most: tokens.values().copied().max().unwrap_or_default(),
            rivals: calls.iter().map(|call| call.rivals).max().unwrap_or_default(),
        }
    }

    /// Disconnects the user: what the provider knew of the refresh token that was stored, when it came to be revoked.
    pub async fn stored_token(&self, worker: &Worker, user: &str) -> Option<TokenInfo> {
        let before = self.provider.count(Endpoint::Revoke);
        let gone = worker.tell(Command::Disconnect { user: user.to_owned() }).await;
        assert!(matches!(gone, Outcome::Done(_)), "{user} cannot disconnect: {gone:?}");
        let calls = self.provider.calls().into_iter().filter(|call| call.endpoint == Endpoint::Revoke);
        let mut presented = calls.skip(before).filter_map(|call| call.presented);
        presented.find(|token| token.account == user)
    }
}

/// The simulator's definition, with a settle time of its own; a connection may be refreshed again at once.
fn definition(provider: &Simulator, settle: Option<u64>) -> String {
    let settle = settle.map(|secs| format!("settle = {secs}\n")).unwrap_or_default();
    let policy = format!("[refresh_policy]\nmin_interval = 0\n{settle}");
    provider.provider_toml().replace("[refresh_policy]\n", &policy)
}
