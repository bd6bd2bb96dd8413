//! Starting a simulator.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::TcpListener;
use vault_core::clock::{Clock, SystemClock};

use super::accounts::Account;
use super::clients::{Client, ClientAuth};
use super::faults::Faults;
use super::id_token::Signer;
use super::ledger::Ledger;
use super::log::Log;
use super::server::{Server, Shared};
use super::switches::Switches;
use super::world::World;
use super::{Simulator, random};

/// Says how a [`Simulator`] begins.
#[must_use]
pub struct SimulatorBuilder {
    name: String,
    port: u16,
    clock: Arc<dyn Clock>,
    accounts: Vec<Account>,
    client: Client,
    switches: Switches,
}

impl fmt::Debug for SimulatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatorBuilder")
            .field("name", &self.name)
            .field("port", &self.port)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl SimulatorBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: "Demo Calendar".to_owned(),
            port: 0,
            clock: Arc::new(SystemClock::new()),
            accounts: Account::demo(),
            client: Client {
                id: "sim-client".to_owned(),
                secret: format!("simcs_{}", random::text()),
                auth: ClientAuth::Any,
            },
            switches: Switches::default(),
        }
    }

    /// The provider's name on its pages. `Demo Calendar`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The port on 127.0.0.1. 0, the default, takes any that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// What time it is at the provider. The system's, by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Who has an account, in place of Ada and Grace. The first is who signs in when nothing says who.
    pub fn accounts(mut self, accounts: impl IntoIterator<Item = Account>) -> Self {
        self.accounts = accounts.into_iter().collect();
        self
    }

    /// The first client, in place of `sim-client` with a random secret and any authentication.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>, auth: ClientAuth) -> Self {
        self.client = Client { id: id.into(), secret: secret.into(), auth };
        self
    }

    /// Shows a consent page instead of granting at once.
    pub fn interactive(self, interactive: bool) -> Self {
        self.switch(|switches| switches.interactive = interactive)
    }

    /// Sets switches.
    pub fn switch(mut self, set: impl FnOnce(&mut Switches)) -> Self {
        set(&mut self.switches);
        self
    }

    /// Starts serving, in a task of the current tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(self) -> io::Result<Simulator> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let (client_id, client_secret) = (self.client.id.clone(), self.client.secret.clone());
        let world = World {
            issuer: format!("http://{}", listener.local_addr()?),
            name: self.name,
            clock: self.clock,
            signer: Signer::new(),
            switches: self.switches,
            clients: vec![self.client],
            accounts: self.accounts,
            ledger: Ledger::default(),
            tickets: Default::default(),
            faults: Faults::default(),
            holds: Vec::new(),
            log: Log::default(),
            received: Vec::new(),
        };
        let shared = Arc::new(Shared::new(world));
        let server = Server::start(listener, &shared);
        Ok(Simulator { shared, server: Arc::new(server), client: Arc::new((client_id, client_secret)) })
    }
}
