use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::Vault;
use crate::audit::{Audit, AuditPolicy, AuditSink};
use crate::cache::{self, Cache, TokenCache, Told};
use crate::clock::{Clock, SystemClock};
use crate::connect::check_return_target;
use crate::connector::Recent;
use crate::core::{Core, Settings};
use crate::entropy::{Entropy, SystemEntropy};
use crate::error::{Error, ErrorKind, printable};
use crate::event::{NoObserver, Observer};
use crate::http::HttpClient;
use crate::oauth::{Discovery, Jwks};
use crate::refresh::{self, Breakers, Flights, Spill};
use crate::seal::{DataKeyScope, KeyRing, Sealer};
use crate::store::Stores;
use crate::store_clock::StoreClock;
use crate::tasks::Tasks;
use crate::upkeep::Slots;

/// Puts a [`Vault`] together. `stores`, `keys`, `http` and `redirect_uri` are required.
#[derive(Debug)]
#[must_use]
pub struct VaultBuilder {
    stores: Option<Stores>,
    keys: Option<KeyRing>,
    http: Option<Arc<dyn HttpClient>>,
    clock: Arc<dyn Clock>,
    follow_store: bool,
    entropy: Arc<dyn Entropy>,
    observer: Arc<dyn Observer>,
    audit: Option<Audit>,
    key_scope: DataKeyScope,
    spill: Option<Arc<dyn Spill>>,
    cache: Option<TokenCache>,
    settings: Settings,
}

impl VaultBuilder {
    pub(super) fn new() -> Self {
        Self {
            stores: None,
            keys: None,
            http: None,
            clock: Arc::new(SystemClock::new()),
            follow_store: true,
            entropy: Arc::new(SystemEntropy::default()),
            observer: Arc::new(NoObserver::default()),
            audit: None,
            key_scope: DataKeyScope::default(),
            spill: None,
            cache: None,
            settings: Settings::default(),
        }
    }

    /// Where everything is stored. Required.
    pub fn stores(mut self, stores: Stores) -> Self {
        self.stores = Some(stores);
        self
    }

    /// The keys that protect the data keys. Required: there is no plaintext mode.
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The way to the providers. Required.
    pub fn http(mut self, client: impl HttpClient) -> Self {
        self.http = Some(Arc::new(client));
        self
    }

    /// A redirect URI of the host, compared exactly. The first is the default of new connectors; at least one is
    /// required. It is never built from a request's `Host`.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.settings.redirect_uris.push(uri.into());
        self
    }

    /// An absolute URL that flows may return to, compared exactly. Paths on the host's own site need no permission.
    pub fn allow_return_to(mut self, url: impl Into<String>) -> Self {
        self.settings.return_targets.push(url.into());
        self
    }

    /// Receives lifecycle events.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Keeps an audit trail: operations answer only once `sink` has their entry. `policy` says what they do when it has
    /// not.
    pub fn audit(mut self, sink: impl AuditSink, policy: AuditPolicy) -> Self {
        self.audit = Some(Audit { sink: Arc::new(sink), policy });
        self
    }

    /// How long an operation waits for the audit sink; 2 s by default.
    pub const fn audit_timeout(mut self, timeout: Duration) -> Self {
        self.settings.audit_timeout = timeout;
        self
    }

    /// Another clock than the system's, for tests and simulations. It is believed as it is, unless
    /// [`follow_store_clock`](Self::follow_store_clock) says otherwise.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        (self.clock, self.follow_store) = (Arc::new(clock), false);
        self
    }

    /// Whether the time of day is the store's, which all processes share, rather than this machine's; so it is by
    /// default. A machine whose clock is off then neither refreshes early nor uses a token too long. The store is asked
    /// at the start, by maintenance, and at every refresh.
    pub const fn follow_store_clock(mut self, follow: bool) -> Self {
        self.follow_store = follow;
        self
    }

    /// Another random source than the system's, for tests and simulations. Every key, state and token bound to it is as
    /// predictable as it is.
    pub fn danger_entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// A data key per user instead of per tenant: destroying it destroys all that the user stored, backups included.
    pub const fn data_key_per_user(mut self) -> Self {
        self.key_scope = DataKeyScope::User;
        self
    }

    /// Where refreshed tokens go, sealed, while the store is down, such as
    /// [`SpillFolder`](crate::spill::SpillFolder): without it they are held in memory, and lost if the process ends before
    /// the store is back.
    pub fn spill(mut self, spill: impl Spill) -> Self {
        self.spill = Some(Arc::new(spill));
        self
    }

    /// Keeps opened tokens in memory; without it every token read asks the store. What that gives up is on
    /// [`TokenCache`].
    pub fn token_cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// How long a user may take at the provider; 10 minutes by default.
    pub const fn flow_ttl(mut self, ttl: Duration) -> Self {
        self.settings.flow_ttl = ttl;
        self
    }

    /// How many authorizations one owner may have under way; 20 by default.
    pub const fn flow_cap(mut self, cap: u32) -> Self {
        self.settings.flow_cap = cap;
        self
    }

    /// The deadline of one request to a provider; 20 s by default. The HTTP client's own should not be longer.
    pub const fn http_timeout(mut self, timeout: Duration) -> Self {
        self.settings.http_timeout = timeout;
        self
    }

    /// How long a refresh lease lasts unless it is renewed, which happens four times as often; 45 s by default, and at
    /// least twice [`http_timeout`](Self::http_timeout). The same in all processes.
    pub const fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.settings.lease_ttl = ttl;
        self
    }

    /// How long a token that is handed out lives at least; 30 s by default. Single reads can ask for more.
    pub const fn min_ttl(mut self, min_ttl: Duration) -> Self {
        self.settings.min_ttl = min_ttl;
        self
    }

    /// How long owed revocations are tried again before they are given up with an event; 7 days by default.
    pub const fn revocation_limit(mut self, limit: Duration) -> Self {
        self.settings.revocation_limit = limit;
        self
    }

    /// Checks everything, and that the keys open what the store holds.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming what is missing or wrong, also a key that is not the one of its id that the store
    /// was written with. [`ErrorKind::KeyUnavailable`] when the store was written with keys that the ring lacks, or a key
    /// service does not answer; [`ErrorKind::StoreUnavailable`] when the store does not. Nothing is written then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves at most the store's canary record.
    pub async fn build(self) -> Result<Vault, Error> {
        let mut stores = self.stores.ok_or_else(|| missing("stores"))?;
        let keys = self.keys.ok_or_else(|| missing("keys"))?;
        let http = self.http.ok_or_else(|| missing("http"))?;
        check(&self.settings)?;
        self.cache.as_ref().map_or(Ok(()), check_cache)?;
        // Before the cache is put in front of one of them.
        let finishes_in_one_step = stores.finish_in_one_step();
        let sealer = Sealer::start(keys, Arc::clone(&stores.keys), Arc::clone(&self.entropy)).await?;
        let sealer = sealer.with_data_key_scope(self.key_scope);
        let mut process = [0; 16];
        self.entropy.fill(&mut process)?;
        let timeout = self.settings.http_timeout;
        let tasks = Tasks::new(Arc::clone(&self.observer));
        let store_clock = self.follow_store.then(|| Arc::new(StoreClock::new(Arc::clone(&self.clock))));
        let clock = store_clock.clone().map_or(self.clock, |clock| clock);
        let cache = self.cache.as_ref().map(|options| Arc::new(Cache::new(options)));
        if let Some(cache) = &cache {
            stores.connections =
                Arc::new(Told::new(stores.connections, Arc::clone(cache), Arc::clone(&clock)));
        }
        let discovery = Discovery::new(Arc::clone(&http), Arc::clone(&clock), timeout);
        let jwks = Jwks::new(Arc::clone(&http), Arc::clone(&clock), timeout);
        let core = Arc::new(Core {
            finishes_in_one_step,
            stores,
            sealer,
            http,
            clock,
            store_clock,
            entropy: self.entropy,
            observer: self.observer,
            audit: self.audit,
            settings: self.settings,
            cache,
            discovery,
            jwks,
            connectors: Recent::new(),
            flights: Flights::default(),
            breakers: Breakers::default(),
            spill: self.spill,
            process,
            refresh_slots: Slots::default(),
            revocation_slots: Slots::default(),
            tasks,
            closing: CancellationToken::new(),
        });
        core.ask_time().await?;
        refresh::import(&core).await;
        if let Some(options) = self.cache {
            cache::look_after(&core, options);
        }
        Ok(Vault::new(core))
    }
}

fn check(settings: &Settings) -> Result<(), Error> {
    if settings.redirect_uris.is_empty() {
        return Err(missing("redirect_uri"));
    }
    settings.redirect_uris.iter().try_for_each(|uri| check_redirect_uri(uri))?;
    settings.return_targets.iter().try_for_each(|target| check_return_target(target))?;
    // The lease must outlive the request that it covers.
    if settings.http_timeout.is_zero() || settings.http_timeout * 2 > settings.lease_ttl {
        return Err(invalid("http_timeout must be between 0 and half of lease_ttl"));
    }
    if settings.flow_cap == 0 || settings.flow_ttl.is_zero() {
        return Err(invalid("flow_cap and flow_ttl must be more than nothing"));
    }
    Ok(())
}

fn check_cache(cache: &TokenCache) -> Result<(), Error> {
    if cache.entries == 0 || cache.bytes == 0 || cache.max_age.is_zero() {
        return Err(invalid("token_cache: entries, bytes and max_age must be more than nothing"));
    }
    Ok(())
}

/// HTTPS, or HTTP on loopback; no fragment (RFC 6749 section 3.1.2), no user info.
fn check_redirect_uri(uri: &str) -> Result<(), Error> {
    let fits = Url::parse(uri).is_ok_and(|url| {
        let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        (url.scheme() == "https" || url.scheme() == "http" && loopback)
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if fits { Ok(()) } else { Err(invalid(format!("invalid redirect URI: {}", printable(uri)))) }
}

fn missing(what: &str) -> Error {
    invalid(format!("the vault needs `{what}`"))
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
