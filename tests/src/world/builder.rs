use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use vault_core::{ClientSecret, Error, KeyRing, NewConnector, Provider, Vault, VaultBuilder};
use vault_http::GuardedHttp;
use vault_testkit::clock::ManualClock;
use vault_testkit::faults::FaultStore;
use vault_testkit::simulator::{Simulator, Switches};

use super::{Events, KEYS, REDIRECT_URI, World};
use crate::Canary;
use crate::backend::{Backend, Memory, SqliteFile};

/// Options of a [`World`].
#[derive(Debug, Default)]
#[must_use]
pub struct WorldBuilder {
    backend: Option<Arc<dyn Backend>>,
    in_memory: bool,
    flows_apart: bool,
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

    /// Flows in a store of their own, as far as the vault can tell: no write ends one.
    pub fn flows_apart(mut self) -> Self {
        self.flows_apart = true;
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
        let flows_apart = self.flows_apart;
        let vault = vault(&*backend, flows_apart, &clock, &events, options).await;
        let (vault, faults) = vault.expect("the vault starts");
        let definition = self.provider.map_or_else(|| provider.provider(), |provide| provide(&provider));
        let new = NewConnector::new("demo", definition)
            .client(provider.client_id(), ClientSecret::new(provider.client_secret()));
        let new = match self.connector {
            Some(change) => change(new),
            None => new,
        };
        let connector = vault.connectors().register(new).await.expect("the connector registers");
        let secrets = Mutex::new(vec![provider.client_secret().to_owned()]);
        World {
            provider,
            clock,
            faults,
            vault,
            connector,
            canary,
            backend,
            flows_apart,
            events,
            database,
            secrets,
        }
    }
}

fn on_sqlite() -> (Arc<dyn Backend>, Option<PathBuf>) {
    let file = SqliteFile::new();
    let path = file.path();
    (Arc::new(file), Some(path))
}

pub(super) async fn vault(
    backend: &dyn Backend,
    flows_apart: bool,
    clock: &ManualClock,
    events: &Events,
    options: impl FnOnce(VaultBuilder) -> VaultBuilder,
) -> Result<(Vault, FaultStore), Error> {
    let faults = FaultStore::with_clock(backend.open().await, Arc::new(clock.clone()));
    let mut stores = faults.stores();
    if flows_apart {
        stores.flows = Arc::new(faults.clone());
    }
    let builder = Vault::builder()
        .stores(stores)
        .keys(KeyRing::from_text(KEYS).expect("a key"))
        .http(http())
        .redirect_uri(REDIRECT_URI)
        .observer(events.clone())
        .clock(clock.clone());
    Ok((options(builder).build().await?, faults))
}

fn http() -> GuardedHttp {
    GuardedHttp::builder().danger_allow_loopback_http().build().expect("an HTTP client")
}
