//! A whole vault on SQLite, one person, and one client of the real provider.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use url::{Url, form_urlencoded};
use vault_core::connect::Connected;
use vault_core::connector::Connector;
use vault_core::event::Event;
use vault_core::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use vault_core::{
    AccessToken, Callback, ClientSecret, Disconnected, Error, ErrorKind, KeyRing, NewConnector, Provider,
    ReauthReason, Vault,
};
use vault_http::GuardedHttp;
use vault_testkit::clock::ManualClock;
use vault_tests::backend::{Backend as _, SqliteFile};
use vault_tests::{Canary, Events, KEYS, binding};

use super::http;
use super::provider::{Client, OidcProvider, random};

/// Registered at the provider for every client. Nothing listens there: the test reads the redirect itself.
const REDIRECT_URI: &str = "http://127.0.0.1/connect/callback";

pub(super) struct World {
    pub(super) provider: OidcProvider,
    pub(super) client: Client,
    pub(super) vault: Vault,
    pub(super) connector: Connector,
    /// Who has an account at the provider, and is the app's user of the same name.
    pub(super) person: String,
    clock: Option<ManualClock>,
    wire: Wire,
    events: Events,
    canary: Canary,
    backend: SqliteFile,
}

impl World {
    /// By the system's clock, as the provider.
    pub(super) async fn start(client: Client) -> Self {
        Self::with_clock(client, None).await
    }

    pub(super) async fn with_clock(client: Client, clock: Option<ManualClock>) -> Self {
        let provider = OidcProvider::running();
        let definition = Provider::oidc("peer", provider.issuer()).expect("an issuer on loopback");
        Self::with(provider, definition, client, clock).await
    }

    /// Of a provider whose definition allows one refresh right after the other.
    pub(super) async fn tireless(client: Client, clock: Option<ManualClock>) -> Self {
        let provider = OidcProvider::running();
        let definition = format!(
            r#"
            id = "peer"
            name = "Peer"
            endpoints = {{ issuer = "{}", discovery = {{}} }}
            authorize.pkce.mode = "required"
            client_auth.kinds = ["basic"]
            identity.source = "id_token"
            refresh_policy.min_interval = 0
            "#,
            provider.issuer()
        );
        let definition = Provider::from_toml(&definition).expect("a valid provider file");
        Self::with(provider, definition, client, clock).await
    }

    async fn with(
        provider: OidcProvider,
        definition: Provider,
        client: Client,
        clock: Option<ManualClock>,
    ) -> Self {
        provider.register(&client).await;
        let backend = SqliteFile::new();
        let (canary, wire) = (Canary::new(), Wire::new());
        wire.remember(client.secret.clone());
        let events = Events::new(&canary);
        let vault = vault(&backend, clock.as_ref(), &wire, &events).await;
        let connector = NewConnector::new("peer", definition)
            .scopes(["openid", "offline_access", "read"])
            // OpenID Connect Core section 11: without it there is no offline access.
            .authorize_param("prompt", "consent");
        let connector = vault.connectors().register(client.connect(connector)).await;
        let connector = connector.expect("the connector registers");
        let person = format!("person-{}", random());
        Self { provider, client, vault, connector, person, clock, wire, events, canary, backend }
    }

    /// Another vault on the same database: another process, as far as the two can tell.
    pub(super) async fn second_vault(&self) -> Vault {
        vault(&self.backend, self.clock.as_ref(), &self.wire, &self.events).await
    }

    /// Starts an authorization: where the browser goes.
    pub(super) async fn start_as(&self, login_hint: &str) -> Url {
        let connect = self.vault.user(&*self.person).connect(self.connector.id());
        let started = connect.authorize_param("login_hint", login_hint).start(&binding()).await;
        let url = started.expect("the flow starts").url().clone();
        self.wire.remember_query(&url, &["nonce", "state"]);
        url
    }

    /// The browser's trip to the provider, as far as the callback.
    pub(super) async fn visit_as(&self, login_hint: &str) -> Url {
        let callback = http::browse(self.start_as(login_hint).await).await;
        assert!(callback.as_str().starts_with(REDIRECT_URI), "sent back to the app");
        self.wire.remember_query(&callback, &["code"]);
        callback
    }

    pub(super) async fn complete(&self, callback: &Url) -> Result<Connected, Error> {
        let callback = Callback::from_query(callback.query().expect("a query")).expect("a callback");
        self.note(self.vault.complete(callback, &binding()).await)
    }

    /// The whole flow.
    pub(super) async fn connect(&self) -> Result<Connected, Error> {
        self.complete(&self.visit_as(&self.person).await).await
    }

    pub(super) async fn token(&self) -> Result<AccessToken, Error> {
        self.note(self.vault.user(&*self.person).token(self.connector.id()).await)
    }

    /// Refreshes first.
    pub(super) async fn fresh(&self) -> Result<AccessToken, Error> {
        self.fresh_from(&self.vault).await
    }

    pub(super) async fn fresh_from(&self, vault: &Vault) -> Result<AccessToken, Error> {
        self.note(vault.user(&*self.person).token(self.connector.id()).fresh().await)
    }

    pub(super) async fn disconnect(&self) -> Result<Disconnected, Error> {
        self.note(self.vault.user(&*self.person).disconnect(self.connector.id()).await)
    }

    /// The operator says which secret comes next.
    pub(super) async fn rotate_secret(&self, next: &str) {
        self.wire.remember([next.to_owned()]);
        let secret = ClientSecret::new(next);
        let rotated = self.vault.connectors().rotate_secret(self.connector.id(), secret).await;
        self.note(rotated).expect("the next secret is stored");
    }

    /// The latest token of that kind that the provider gave the vault.
    pub(super) fn latest(&self, kind: &str) -> String {
        let replies = self.wire.replies.lock().expect("no panics while noting");
        let found = replies.iter().rev().find_map(|reply| reply[kind].as_str());
        found.unwrap_or_else(|| panic!("the provider gave no {kind}")).to_owned()
    }

    /// Whether the vault asked for something at that path.
    pub(super) fn has_asked(&self, path: &str) -> bool {
        self.wire.paths.lock().expect("no panics while noting").iter().any(|asked| asked == path)
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.seen()
    }

    /// Waits until there was such an event.
    pub(super) async fn until_event(&self, such: impl Fn(&Event) -> bool + Send + Sync) {
        self.events.until(|events| events.iter().any(&such)).await;
    }

    /// The connection is marked, and every read says so.
    pub(super) async fn assert_needs_reauthorization(&self, reason: ReauthReason) {
        let expected = ErrorKind::NeedsReauthorization { reason };
        assert_eq!(self.token().await.expect_err("marked").kind(), &expected);
        let marked =
            |event: &Event| matches!(event, Event::NeedsReauthorization { reason: r, .. } if *r == reason);
        assert!(self.events().iter().any(marked));
    }

    pub(super) fn note<T: fmt::Debug>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match &result {
            Ok(value) => self.canary.shown(value),
            Err(error) => self.canary.error(error),
        }
        result
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let secrets = self.wire.secrets.lock().expect("no panics while noting").clone();
            assert!(!secrets.is_empty(), "there are secrets to look for");
            self.canary.check(&secrets, &self.backend);
        }
    }
}

async fn vault(backend: &SqliteFile, clock: Option<&ManualClock>, wire: &Wire, events: &Events) -> Vault {
    let builder = Vault::builder()
        .stores(backend.open().await)
        .keys(KeyRing::from_text(KEYS).expect("a key"))
        .http(wire.clone())
        .redirect_uri(REDIRECT_URI)
        .observer(events.clone());
    let builder = match clock {
        Some(clock) => builder.clock(clock.clone()),
        None => builder,
    };
    builder.build().await.expect("the vault starts")
}

/// The guarded client, with a note of the secrets that pass: those that the vault never shows.
#[derive(Clone)]
struct Wire {
    http: GuardedHttp,
    paths: Arc<Mutex<Vec<String>>>,
    replies: Arc<Mutex<Vec<Value>>>,
    secrets: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    fn new() -> Self {
        let http = GuardedHttp::builder().danger_allow_loopback_http().build().expect("an HTTP client");
        Self { http, paths: Arc::default(), replies: Arc::default(), secrets: Arc::default() }
    }

    fn remember(&self, secrets: impl IntoIterator<Item = String>) {
        self.secrets.lock().expect("no panics while noting").extend(secrets);
    }

    fn remember_query(&self, url: &Url, names: &[&str]) {
        let wanted = url.query_pairs().filter(|(name, _)| names.contains(&&**name));
        self.remember(wanted.map(|(_, value)| value.into_owned()));
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.paths.lock().expect("no panics while noting").push(request.uri().path().to_owned());
        let form = form_urlencoded::parse(request.body().expose_secret());
        let verifiers = form.filter(|(name, _)| name == "code_verifier");
        self.remember(verifiers.map(|(_, value)| value.into_owned()));
        let reply = self.http.send(request).await?;
        if let Ok(json) = serde_json::from_slice::<Value>(reply.body().expose_secret()) {
            let tokens = ["access_token", "id_token", "refresh_token"].map(|kind| json[kind].as_str());
            self.remember(tokens.into_iter().flatten().map(str::to_owned));
            self.replies.lock().expect("no panics while noting").push(json);
        }
        Ok(reply)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("http", &self.http).finish_non_exhaustive()
    }
}
