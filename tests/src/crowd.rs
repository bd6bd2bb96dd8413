//! Many connections at several providers that are a function call away: no sockets, no disk, a clock that the test moves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;
use vault_core::clock::Clock as _;
use vault_core::connector::Connector;
use vault_core::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use vault_core::id::{ConnectionKey, ConnectorId, Owner, Slot, TenantId, UserId};
use vault_core::secret::SecretBytes;
use vault_core::store::{ConnectionStore as _, Stores};
use vault_core::{Callback, ClientSecret, KeyRing, NewConnector, Provider, Vault, VaultBuilder};
use vault_memory::MemoryStore;
use vault_testkit::clock::ManualClock;

use crate::{Canary, Events, KEYS, binding};

/// A vault in memory, and its providers.
#[derive(Debug)]
#[non_exhaustive]
pub struct Crowd {
    /// The vault.
    pub vault: Vault,
    /// Time, for vault and store.
    pub clock: ManualClock,
    /// Where everything is.
    pub store: MemoryStore,
    /// What happened.
    pub events: Events,
    /// The providers, by host.
    pub providers: Providers,
}

impl Crowd {
    /// Nobody yet.
    pub async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// The same with options for the vault.
    pub async fn with(options: impl FnOnce(VaultBuilder) -> VaultBuilder) -> Self {
        let clock = ManualClock::new();
        let providers = Providers::new(&clock);
        let store = MemoryStore::with_clock(Arc::new(clock.clone()));
        let events = Events::new(&Canary::new());
        let builder = Vault::builder()
            .stores(Stores::from_backend(store.clone()))
            .keys(KeyRing::from_text(KEYS).expect("a key"))
            .http(providers.clone())
            .redirect_uri("https://app.example.com/callback")
            .observer(events.clone())
            .clock(clock.clone());
        let vault = options(builder).build().await.expect("the vault starts");
        Self { vault, clock, store, events, providers }
    }

    /// A connector at the provider of that host; `policy` is its `refresh_policy`.
    pub async fn connector(&self, host: &str, policy: &str) -> Connector {
        let definition = format!(
            r#"
            id = "scripted"
            name = "Scripted"
            [endpoints]
            authorize = "https://{host}/authorize"
            token = "https://{host}/token"
            revoke = "https://{host}/revoke"
            [refresh_policy]
            {policy}
            "#
        );
        let provider = Provider::from_toml(&definition).expect("a valid provider file");
        let new = NewConnector::new(host, provider).client("client", ClientSecret::new("client secret"));
        self.vault.connectors().register(new).await.expect("it registers")
    }

    /// So many users connect.
    pub async fn connect(&self, connector: &Connector, users: usize) {
        const AT_ONCE: usize = 4;
        let mut tasks = JoinSet::new();
        for part in 0..AT_ONCE {
            let (vault, id) = (self.vault.clone(), connector.id().clone());
            tasks.spawn(async move {
                for n in (part..users).step_by(AT_ONCE) {
                    connect_one(&vault, &id, n).await;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("all connect");
        }
    }

    /// The generation of a user's connection, and when it is due.
    pub async fn schedule(&self, connector: &Connector, n: usize) -> (u64, i64) {
        let record = self.store.get(&key(connector.id(), n)).await.expect("memory works");
        let record = record.expect("connected");
        (record.generation, record.due_at.expect("there is a refresh token").as_millis())
    }
}

async fn connect_one(vault: &Vault, connector: &ConnectorId, n: usize) {
    let started = vault.user(user(n)).connect(connector).start(&binding()).await.expect("it starts");
    let state = started.url().query_pairs().find(|(name, _)| name == "state").expect("a state").1;
    let callback = Callback::from_query(format!("code=c&state={state}")).expect("an honest callback");
    vault.complete(callback, &binding()).await.expect("connected");
}

/// The name of the user of that number.
#[must_use]
pub fn user(n: usize) -> String {
    format!("user {n}")
}

/// Their connection.
#[must_use]
pub fn key(connector: &ConnectorId, n: usize) -> ConnectionKey {
    ConnectionKey {
        tenant: TenantId::default(),
        owner: Owner::User(UserId::new(user(n)).expect("a good id")),
        connector: connector.clone(),
        slot: Slot::default(),
    }
}

/// What a provider does with a request, by its number from 0.
pub type Script = fn(usize) -> Answer;

/// One answer.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Answer {
    /// As it should.
    Good,
    /// When the test lets it, by [`Providers::release`].
    Held,
    /// Never: the client panics.
    Panic,
    /// 429, to come back after so many seconds.
    Throttled(u32),
}

/// Providers that answer every token request with new tokens, and every revocation with 200, unless scripted otherwise.
#[derive(Debug, Clone)]
pub struct Providers {
    hosts: Arc<Mutex<HashMap<String, Arc<Host>>>>,
    clock: ManualClock,
}

#[derive(Debug, Default)]
struct Host {
    script: Mutex<Option<Script>>,
    /// When each came.
    requests: Mutex<Vec<Duration>>,
    good: AtomicUsize,
    in_flight: AtomicUsize,
    most: AtomicUsize,
    released: watch::Sender<bool>,
    changed: watch::Sender<()>,
}

impl Providers {
    fn new(clock: &ManualClock) -> Self {
        Self { hosts: Arc::default(), clock: clock.clone() }
    }

    /// From now on the provider of that host answers so; numbers start again at 0.
    pub fn script(&self, host: &str, script: Script) {
        let host = self.host(host);
        *host.script.lock().expect("no panics inside") = Some(script);
        host.requests.lock().expect("no panics inside").clear();
        for count in [&host.good, &host.most] {
            count.store(0, Ordering::SeqCst);
        }
        host.released.send_replace(false);
    }

    /// Answers what is held, and holds nothing any more.
    pub fn release(&self, host: &str) {
        self.host(host).released.send_replace(true);
    }

    /// How many requests came since the script.
    #[must_use]
    pub fn requests(&self, host: &str) -> usize {
        self.times(host).len()
    }

    /// When they came, by the monotonic clock.
    #[must_use]
    pub fn times(&self, host: &str) -> Vec<Duration> {
        self.host(host).requests.lock().expect("no panics inside").clone()
    }

    /// Moves time on by `step` whenever somebody sleeps and no provider is at work, until `done`.
    pub async fn pass_time(&self, step: Duration, done: impl Future) {
        let go = async {
            loop {
                self.clock.wait_for_sleepers(1).await;
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                let hosts: Vec<_> = self.hosts.lock().expect("no panics inside").values().cloned().collect();
                if hosts.iter().all(|host| host.in_flight.load(Ordering::SeqCst) == 0) {
                    self.clock.advance(step);
                }
            }
        };
        tokio::select! {
            _ = done => {}
            () = go => {}
        }
    }

    /// How many of them were answered as they should.
    #[must_use]
    pub fn good(&self, host: &str) -> usize {
        self.host(host).good.load(Ordering::SeqCst)
    }

    /// The most that there were at once.
    #[must_use]
    pub fn most_in_flight(&self, host: &str) -> usize {
        self.host(host).most.load(Ordering::SeqCst)
    }

    /// Waits until so many requests came, and so many were answered well.
    pub async fn until(&self, host: &str, requests: usize, good: usize) {
        let mut changes = self.host(host).changed.subscribe();
        while self.requests(host) < requests || self.good(host) < good {
            changes.changed().await.expect("the host is there");
        }
    }

    fn host(&self, host: &str) -> Arc<Host> {
        Arc::clone(self.hosts.lock().expect("no panics inside").entry(host.to_owned()).or_default())
    }
}

#[async_trait]
impl HttpClient for Providers {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = self.host(request.uri().host().expect("an absolute URI"));
        let script = *host.script.lock().expect("no panics inside");
        let number = {
            let mut requests = host.requests.lock().expect("no panics inside");
            requests.push(self.clock.monotonic());
            requests.len() - 1
        };
        let _in_flight = InFlight::new(&host);
        // Others get a chance to be in flight too.
        tokio::task::yield_now().await;
        let answer = script.map_or(Answer::Good, |script| script(number));
        match answer {
            Answer::Good => {}
            Answer::Held => {
                let mut released = host.released.subscribe();
                let _ = released.wait_for(|released| *released).await.expect("the host is there");
            }
            Answer::Panic => panic!("the client has a bug: secret-in-a-panic"),
            Answer::Throttled(secs) => {
                return Ok(reply(429, b"{}", |reply| reply.header("retry-after", secs)));
            }
        }
        host.good.fetch_add(1, Ordering::SeqCst);
        host.changed.send_replace(());
        let tokens = format!(
            r#"{{"access_token":"at-{number}","refresh_token":"rt-{number}","token_type":"Bearer","expires_in":3600}}"#
        );
        Ok(reply(200, tokens.as_bytes(), |reply| reply))
    }
}

fn reply(
    status: u16,
    body: &[u8],
    more: impl FnOnce(http::response::Builder) -> http::response::Builder,
) -> HttpResponse {
    let reply = http::Response::builder().status(status).header("content-type", "application/json");
    more(reply).body(SecretBytes::new(body.to_vec())).expect("a good reply")
}

struct InFlight<'a>(&'a Host);

impl<'a> InFlight<'a> {
    fn new(host: &'a Host) -> Self {
        let now = host.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        host.most.fetch_max(now, Ordering::SeqCst);
        host.changed.send_replace(());
        Self(host)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
