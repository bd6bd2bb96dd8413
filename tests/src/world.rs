use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use url::Url;
use vault_core::connect::{Connect, Connected};
use vault_core::connector::Connector;
use vault_core::event::{Event, Observer};
use vault_core::{
    AccessToken, Callback, ClientSecret, Error, KeyRing, NewConnector, OwnerHandle, Provider, SessionBinding,
    TokenCache, TokenRequest, Vault, VaultBuilder,
};
use vault_http::GuardedHttp;
use vault_testkit::clock::ManualClock;
use vault_testkit::faults::FaultStore;
use vault_testkit::simulator::{Simulator, Switches};

use crate::Canary;
use crate::backend::{Backend, Memory, SqliteFile};

/// The session secret of the user's browser.
pub const BINDING: &str = "the session of the user's own browser";
/// The key of every scenario. Several vaults on one database need the same.
pub const KEYS: &str = "k1:c2Nhbi1mb3ItdGhpcy1rZXktMDEyMzQ1Njc4OWFiY2Q=";
/// Options for what must hold without a token cache, and with one.
pub const CACHES: [fn(VaultBuilder) -> VaultBuilder; 2] =
    [|builder| builder, |builder| builder.token_cache(TokenCache::new())];
/// Where the provider sends the browser back to.
const REDIRECT_URI: &str = "https://app.example.com/connect/callback";

/// The session of the user's own browser.
#[must_use]
pub fn binding() -> SessionBinding {
    SessionBinding::new(BINDING).expect("long enough")
}

/// Somebody else's session.
#[must_use]
pub fn other_binding() -> SessionBinding {
    SessionBinding::new("the session of somebody else's browser").expect("long enough")
}

/// A vault and all that it stands on.
#[derive(Debug)]
pub struct World {
    /// The provider.
    pub provider: Simulator,
    /// Time, for vault and provider.
    pub clock: ManualClock,
    /// Every call to the stores goes through here.
    pub faults: FaultStore,
    /// The vault.
    pub vault: Vault,
    /// A connector at the provider, named `demo`.
    pub connector: Connector,
    /// Where secrets are looked for.
    pub canary: Canary,
    /// Where the data is.
    pub backend: Arc<dyn Backend>,
    events: Events,
    /// Where it is SQLite's.
    database: Option<PathBuf>,
    /// Besides those that the provider knows.
    secrets: Mutex<Vec<String>>,
}

/// Options of a [`World`].
#[derive(Debug, Default)]
#[must_use]
pub struct WorldBuilder {
    backend: Option<Arc<dyn Backend>>,
    in_memory: bool,
    provider: Option<fn(&Simulator) -> Provider>,
    vault: Option<fn(VaultBuilder) -> VaultBuilder>,
    connector: Option<fn(NewConnector) -> NewConnector>,
    switches: Option<fn(&mut Switches)>,
}

impl WorldBuilder {
    /// Another backend than SQLite, or SQLite as any other: the raw rows are out of reach.
    pub fn backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.backend = Some(backend);
        self
    }

    /// In memory, on the same clock as everything else: leases, too, end when the test says so.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Another provider definition than [`Simulator::provider`].
    pub fn provider(mut self, provider: fn(&Simulator) -> Provider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// More options for the vault.
    pub fn vault(mut self, vault: fn(VaultBuilder) -> VaultBuilder) -> Self {
        self.vault = Some(vault);
        self
    }

    /// More options for the connector.
    pub fn connector(mut self, connector: fn(NewConnector) -> NewConnector) -> Self {
        self.connector = Some(connector);
        self
    }

    /// How the provider behaves from the start.
    pub fn switches(mut self, switches: fn(&mut Switches)) -> Self {
        self.switches = Some(switches);
        self
    }

    /// Starts everything.
    pub async fn start(self) -> World {
        let clock = ManualClock::new();
        let mut provider = Simulator::builder().clock(Arc::new(clock.clone()));
        if let Some(switches) = self.switches {
            provider = provider.switch(switches);
        }
        let provider = provider.start().await.expect("a free port");
        let (backend, database) = match self.backend {
            Some(backend) => (backend, None),
            None if self.in_memory => (Arc::new(Memory::new(&clock)) as Arc<dyn Backend>, None),
            None => on_sqlite(),
        };
        let canary = Canary::new();
        let events = Events::new(&canary);
        let options = self.vault.unwrap_or(|builder| builder);
        let (vault, faults) = vault(&*backend, &clock, &events, options).await.expect("the vault starts");
        let definition = self.provider.map_or_else(|| provider.provider(), |provide| provide(&provider));
        let new = NewConnector::new("demo", definition)
            .client(provider.client_id(), ClientSecret::new(provider.client_secret()));
        let new = match self.connector {
            Some(change) => change(new),
            None => new,
        };
        let connector = vault.connectors().register(new).await.expect("the connector registers");
        let secrets = Mutex::new(vec![provider.client_secret().to_owned()]);
        World { provider, clock, faults, vault, connector, canary, backend, events, database, secrets }
    }
}

fn on_sqlite() -> (Arc<dyn Backend>, Option<PathBuf>) {
    let file = SqliteFile::new();
    let path = file.path();
    (Arc::new(file), Some(path))
}

async fn vault(
    backend: &dyn Backend,
    clock: &ManualClock,
    events: &Events,
    options: impl FnOnce(VaultBuilder) -> VaultBuilder,
) -> Result<(Vault, FaultStore), Error> {
    let faults = FaultStore::with_clock(backend.open().await, Arc::new(clock.clone()));
    let builder = Vault::builder()
        .stores(faults.stores())
        .keys(KeyRing::from_text(KEYS).expect("a key"))
        .http(http())
        .redirect_uri(REDIRECT_URI)
        .observer(events.clone())
        .clock(clock.clone());
    Ok((options(builder).build().await?, faults))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn http() -> GuardedHttp {
    GuardedHttp::builder().danger_allow_loopback_http().build().expect("an HTTP client")
}

impl World {
    /// With every default.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// With options.
    pub fn builder() -> WorldBuilder {
        WorldBuilder::default()
    }

    /// Another vault on the same data, clock and keys: a second process, as far as the vault can tell.
    pub async fn second_vault(&self) -> (Vault, FaultStore) {
        self.second_vault_with(|builder| builder).await.expect("the vault starts")
    }

    /// The same with options.
    ///
    /// # Errors
    /// Those of [`VaultBuilder::build`].
    pub async fn second_vault_with(
        &self,
        options: impl FnOnce(VaultBuilder) -> VaultBuilder,
    ) -> Result<(Vault, FaultStore), Error> {
        self.note(vault(&*self.backend, &self.clock, &self.events, options).await)
    }

    async fn database_connection(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.database());
        options.busy_timeout(Duration::from_secs(30)).connect().await.expect("the database opens")
    }

    /// Does to the database what somebody with access to it could; answers how many rows it changed.
    pub async fn sql(&self, statement: impl Into<String>) -> u64 {
        let mut connection = self.database_connection().await;
        let done = sqlx::query(AssertSqlSafe(statement.into())).execute(&mut connection).await;
        done.expect("good SQL").rows_affected()
    }

    /// What a query finds, as bytes.
    pub async fn cell(&self, query: impl Into<String>) -> Vec<u8> {
        let mut connection = self.database_connection().await;
        let cell = sqlx::query_scalar(AssertSqlSafe(query.into())).fetch_one(&mut connection).await;
        cell.expect("good SQL and a row")
    }

    /// How many rows a table has.
    pub async fn rows(&self, table: &str) -> i64 {
        let mut connection = self.database_connection().await;
        let query = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("good SQL")
    }

    /// One sealed column of a user's connection.
    pub async fn blob(&self, user: &str, column: &str) -> Vec<u8> {
        self.cell(format!("SELECT {column} FROM vault_connections WHERE owner_id = '{user}'")).await
    }

    /// The same of the connection of that id.
    pub async fn blob_of(&self, id: &[u8], column: &str) -> Vec<u8> {
        self.cell(format!("SELECT {column} FROM vault_connections WHERE id = x'{}'", hex(id))).await
    }

    /// Overwrites one.
    pub async fn set_blob(&self, user: &str, column: &str, bytes: &[u8]) {
        let hex = hex(bytes);
        let changed = self
            .sql(format!("UPDATE vault_connections SET {column} = x'{hex}' WHERE owner_id = '{user}'"))
            .await;
        assert_eq!(changed, 1, "{user} has one connection");
    }

    /// Ends every refresh lease, as time would: the database's clock is the machine's, which no test moves.
    pub async fn lapse_leases(&self) {
        self.sql("UPDATE vault_connections SET lease_until = 0 WHERE lease_until IS NOT NULL").await;
    }

    /// Moves time past the end of every access token.
    pub fn expire_tokens(&self) {
        self.clock.advance(Duration::from_secs(2 * 60 * 60));
    }

    /// If a refresh of the user's is waiting to send once more, because the outcome of its first request is unknown: time
    /// passes until that has settled, and the second request has an outcome.
    pub async fn settle(&self, user: &str) {
        let explained = self.note(self.user(user).explain(self.connector.id()).await);
        if explained.expect("the store is there").lease.is_none() {
            return;
        }
        let outcome = |event: &Event| {
            matches!(
                event,
                Event::Refreshed { .. } | Event::RefreshFailed { .. } | Event::NeedsReauthorization { .. }
            )
        };
        let before = self.count_events(outcome);
        let more = |events: &[Event]| events.iter().filter(|event| outcome(event)).count() > before;
        tokio::select! {
            biased;
            () = self.events.until(more) => {}
            () = async {
                run_on(&self.clock, Duration::from_secs(30)).await;
                std::future::pending().await
            } => {}
        }
    }

    /// A connector like [`connector`](Self::connector), not registered yet.
    pub fn new_connector(&self, name: &str) -> NewConnector {
        let secret = ClientSecret::new(self.provider.client_secret());
        NewConnector::new(name, self.connector.provider().clone()).client(self.provider.client_id(), secret)
    }

    /// The whole flow from any start, as that account at the provider.
    ///
    /// # Errors
    /// Those of [`Vault::complete`].
    pub async fn connect_as(&self, connect: Connect, account: &str) -> Result<Connected, Error> {
        self.deliver(&self.query_of(connect, account).await).await
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.database.clone().expect("a world on SQLite, by default")
    }

    /// An app user.
    #[must_use]
    pub fn user(&self, user: &str) -> OwnerHandle {
        self.vault.user(user)
    }

    /// An authorization about to start for `user`.
    pub fn connecting(&self, user: &str) -> Connect {
        self.user(user).connect(self.connector.id())
    }

    /// Starts an authorization, and is the user at the provider: the callback that the browser brings.
    pub async fn callback(&self, user: &str) -> Callback {
        Callback::from_query(self.query(user).await).expect("an honest callback")
    }

    /// The same, as the query of the redirect.
    pub async fn query(&self, user: &str) -> String {
        self.query_of(self.connecting(user), user).await
    }

    /// The same for an authorization with options, as any account.
    pub async fn query_of(&self, connect: Connect, account: &str) -> String {
        let started = connect.start(&binding()).await.expect("the flow starts");
        self.visit(started.url().clone(), account).await.query().expect("a query").to_owned()
    }

    /// The browser's trip to the provider as the account named like the user.
    pub async fn visit(&self, url: Url, account: &str) -> Url {
        for name in ["state", "nonce"] {
            self.remember(
                url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()),
            );
        }
        self.provider.browse(url).as_account(account).await.expect("the provider redirects")
    }

    /// A secret of this scenario that neither vault nor provider may show.
    pub fn remember(&self, secret: Option<String>) {
        self.secrets.lock().expect("no panics while noting").extend(secret);
    }

    /// The whole flow.
    ///
    /// # Errors
    /// Those of [`Vault::complete`].
    pub async fn connect(&self, user: &str) -> Result<Connected, Error> {
        self.complete(self.callback(user).await).await
    }

    /// A query arrives at the callback in the user's own session.
    ///
    /// # Errors
    /// Those of [`Callback::from_query`] and [`Vault::complete`].
    pub async fn deliver(&self, query: &str) -> Result<Connected, Error> {
        self.complete(self.note(Callback::from_query(query))?).await
    }

    /// The callback arrives in the user's own session.
    ///
    /// # Errors
    /// Those of [`Vault::complete`].
    pub async fn complete(&self, callback: Callback) -> Result<Connected, Error> {
        self.note(self.vault.complete(callback, &binding()).await)
    }

    /// Reads the user's token.
    ///
    /// # Errors
    /// Those of a token read.
    pub async fn token(&self, user: &str) -> Result<AccessToken, Error> {
        self.note(self.user(user).token(self.connector.id()).await)
    }

    /// A read of `user`'s token through `vault`, with what `ask` adds, for a task of its own.
    ///
    /// # Errors
    /// Those of a token read.
    pub fn reads<F>(
        &self,
        vault: &Vault,
        user: &str,
        ask: F,
    ) -> impl Future<Output = Result<AccessToken, Error>> + Send + use<F>
    where
        F: for<'a> FnOnce(TokenRequest<'a>) -> TokenRequest<'a> + Send,
    {
        let (owner, connector) = (vault.user(user), self.connector.id().clone());
        async move { ask(owner.token(&connector)).await }
    }

    /// Has the canary look at a result.
    ///
    /// # Errors
    /// The result's own.
    pub fn note<T: std::fmt::Debug>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match &result {
            Ok(value) => self.canary.shown(value),
            Err(error) => self.canary.error(error),
        }
        result
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.seen()
    }

    /// How many of the events so far are such.
    #[must_use]
    pub fn count_events(&self, such: impl Fn(&Event) -> bool) -> usize {
        self.events.seen.borrow().iter().filter(|event| such(event)).count()
    }

    /// Waits until there was such an event.
    pub async fn until_event(&self, such: impl Fn(&Event) -> bool + Send + Sync) {
        self.events.until(|events| events.iter().any(&such)).await;
    }
}

/// Moves time on while a refresh sleeps, no faster than it renews its lease.
pub async fn run_on(clock: &ManualClock, span: Duration) {
    const RENEWAL: Duration = Duration::from_millis(11_250);
    let mut left = span;
    while !left.is_zero() {
        // The renewal, and the refresh.
        clock.wait_for_sleepers(2).await;
        let step = RENEWAL.min(left);
        clock.advance(step);
        left -= step;
    }
}

/// Lets simulated time pass, twice as fast as time does, until the task is done.
///
/// # Errors
/// When it panicked.
pub async fn run_until<T>(clock: &ManualClock, mut task: JoinHandle<T>) -> Result<T, JoinError> {
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    loop {
        tokio::select! {
            biased;
            done = &mut task => return done,
            _ = pace.tick() => clock.advance(Duration::from_millis(2)),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut secrets = self.secrets.lock().expect("no panics while noting").clone();
        secrets.extend(self.provider.issued());
        secrets.extend(self.provider.received());
        assert!(!secrets.is_empty(), "there are secrets to look for");
        self.canary.check(&secrets, &*self.backend);
    }
}

/// Keeps every event, and has the canary look at it.
#[derive(Debug, Clone)]
pub struct Events {
    seen: Arc<watch::Sender<Vec<Event>>>,
    canary: Canary,
}

impl Events {
    /// None yet.
    #[must_use]
    pub fn new(canary: &Canary) -> Self {
        Self { seen: Arc::default(), canary: canary.clone() }
    }

    /// The events so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Event> {
        self.seen.borrow().clone()
    }

    /// Waits until they are such.
    pub async fn until(&self, such: impl Fn(&[Event]) -> bool + Send + Sync) {
        let mut seen = self.seen.subscribe();
        let _ = seen.wait_for(|events| such(events)).await.expect("the observer lives on");
    }
}

impl Observer for Events {
    fn event(&self, event: &Event) {
        self.canary.shown(event);
        self.seen.send_modify(|seen| seen.push(event.clone()));
    }
}
