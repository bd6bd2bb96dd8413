mod builder;
mod events;
mod rows;
mod time;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;
use vault_core::connect::{Connect, Connected};
use vault_core::connector::Connector;
use vault_core::event::Event;
use vault_core::{
    AccessToken, Callback, ClientSecret, Error, NewConnector, OwnerHandle, SessionBinding, TokenCache,
    TokenRequest, Vault, VaultBuilder,
};
use vault_testkit::clock::ManualClock;
use vault_testkit::faults::FaultStore;
use vault_testkit::simulator::Simulator;

pub use self::builder::WorldBuilder;
use self::builder::vault;
pub use self::events::Events;
pub use self::time::{run_on, run_until};
use crate::Canary;
use crate::backend::Backend;

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
    flows_apart: bool,
    events: Events,
    /// Where it is SQLite's.
    database: Option<PathBuf>,
    /// Besides those that the provider knows.
    secrets: Mutex<Vec<String>>,
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
        self.note(vault(&*self.backend, self.flows_apart, &self.clock, &self.events, options).await)
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
