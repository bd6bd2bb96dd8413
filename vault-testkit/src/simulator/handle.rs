//! The handle that tests hold.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::accounts::Account;
use super::browse::Browse;
use super::builder::SimulatorBuilder;
use super::clients::{Client, ClientAuth};
use super::fault::Fault;
use super::gate::{Gate, gate};
use super::ledger::TokenInfo;
use super::log::{Call, Endpoint};
use super::server::{Server, Shared};
use super::switches::Switches;
use super::world::{Hold, Stage};

/// A running provider. Clones are handles to the same one; it stops when the last is dropped.
///
/// Methods that change something take effect for requests that arrive afterwards.
#[derive(Clone)]
pub struct Simulator {
    pub(super) shared: Arc<Shared>,
    pub(super) server: Arc<Server>,
    /// Id and secret of the first client.
    pub(super) client: Arc<(String, String)>,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

/// Running it.
impl Simulator {
    /// Starts one with everything as usual.
    ///
    /// # Panics
    /// When this machine has no port left.
    pub async fn start() -> Self {
        Self::builder().start().await.expect("a free port on 127.0.0.1")
    }

    /// For one that begins otherwise.
    pub fn builder() -> SimulatorBuilder {
        SimulatorBuilder::new()
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// The URL of a path that begins with a slash.
    ///
    /// # Panics
    /// When there is no such URL.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.issuer())).expect("a path of a URL")
    }

    /// The first client's id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client.0
    }

    /// The first client's secret, as registered at the start.
    #[must_use]
    pub fn client_secret(&self) -> &str {
        &self.client.1
    }

    /// Stops serving: no new connections, held requests go on, and this waits for those under way, two seconds at most.
    /// Cancel safe; every handle sees it stopped.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
    }
}

/// Setting it up.
impl Simulator {
    /// Registers a client. One of the same id is replaced, which is how its secret changes.
    pub fn add_client(&self, id: impl Into<String>, secret: impl Into<String>, auth: ClientAuth) {
        let client = Client { id: id.into(), secret: secret.into(), auth };
        let mut world = self.shared.world();
        world.clients.retain(|known| known.id != client.id);
        world.clients.push(client);
    }

    /// Opens an account, or replaces the one of the same id.
    pub fn add_account(&self, account: Account) {
        let mut world = self.shared.world();
        world.accounts.retain(|known| known.id != account.id);
        world.accounts.push(account);
    }

    /// Changes how the provider behaves.
    ///
    /// ```
    /// # use vault_testkit::simulator::{Rotation, Simulator};
    /// # fn f(provider: &Simulator) {
    /// provider.switch(|switches| {
    ///     switches.rotation = Rotation::LeewaySiblings { secs: 30 };
    ///     switches.granted_scopes = Some(vec!["calendar.read".to_owned()]);
    /// });
    /// # }
    /// ```
    pub fn switch(&self, set: impl FnOnce(&mut Switches)) {
        set(&mut self.shared.world().switches);
    }

    /// Lines up a fault. Each call meets the oldest that befalls it, and no other.
    pub fn inject(&self, endpoint: Endpoint, fault: Fault) {
        self.shared.world().faults.add(endpoint, fault);
    }

    /// Drops the faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.shared.world().faults.clear();
    }

    /// Holds the next request to that endpoint before the provider acts on it. Later ones pass.
    pub fn hold_next(&self, endpoint: Endpoint) -> Gate {
        self.hold(endpoint, Stage::Arrival)
    }

    /// Holds the next reply of that endpoint: the provider has acted, and nobody knows.
    pub fn hold_next_reply(&self, endpoint: Endpoint) -> Gate {
        self.hold(endpoint, Stage::Answer)
    }

    fn hold(&self, endpoint: Endpoint, stage: Stage) -> Gate {
        let (gate, barrier) = gate();
        self.shared.world().holds.push(Hold { endpoint, stage, barrier });
        gate
    }
}

/// Being the user.
impl Simulator {
    /// Visits an authorization URL as the user's browser does, and gives the URL that it is sent back to, which it
    /// does not visit.
    ///
    /// # Errors
    /// From awaiting it: when the visit does not end in a redirect, for instance because the client is unknown.
    pub fn browse(&self, authorize_url: Url) -> Browse {
        Browse::new(authorize_url)
    }

    /// Takes back, in the account's settings at the provider, what it granted to any client.
    pub fn revoke_grant(&self, account: &str) {
        self.shared.world().ledger.kill_grant(None, account);
    }
}

/// Finding out what happened.
impl Simulator {
    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.world().log.calls().to_vec()
    }

    /// How many requests came to that endpoint.
    #[must_use]
    pub fn count(&self, endpoint: Endpoint) -> usize {
        let world = self.shared.world();
        world.log.calls().iter().filter(|call| call.endpoint == endpoint).count()
    }

    /// The requests for a refresh.
    #[must_use]
    pub fn refreshes(&self) -> Vec<Call> {
        self.token_requests("refresh_token")
    }

    /// The requests to exchange a code.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Call> {
        self.token_requests("authorization_code")
    }

    fn token_requests(&self, grant_type: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| {
            call.endpoint == Endpoint::Token && call.grant_type.as_deref() == Some(grant_type)
        });
        calls
    }

    /// The most requests to that endpoint that there were at once.
    #[must_use]
    pub fn max_in_flight(&self, endpoint: Endpoint) -> usize {
        self.shared.world().log.most_in_flight(endpoint)
    }

    /// Waits until that endpoint has had so many requests, counted from the start. They may still be under way. Cancel safe.
    pub async fn arrived(&self, endpoint: Endpoint, requests: usize) {
        let mut arrivals = self.shared.arrivals();
        // The sender lives as long as this handle.
        while self.count(endpoint) < requests && arrivals.changed().await.is_ok() {}
    }

    /// What the provider knows of a token or code; `None` if it is not one of its own.
    #[must_use]
    pub fn describe(&self, token: &str) -> Option<TokenInfo> {
        self.shared.world().ledger.describe(token)
    }

    /// Whether the provider would accept the token if it were presented now. That includes a spent refresh token that
    /// the rotation mode still honours.
    #[must_use]
    pub fn is_live(&self, token: &str) -> bool {
        self.shared.world().accepts(token)
    }

    /// Every token and code of that account, authorization by authorization, oldest first.
    #[must_use]
    pub fn tokens_of(&self, account: &str) -> Vec<TokenInfo> {
        self.shared.world().ledger.of_account(account)
    }

    /// Every secret that the provider ever gave out: codes, access, refresh and id tokens. To search logs and stores for.
    #[must_use]
    pub fn issued(&self) -> Vec<String> {
        self.shared.world().ledger.issued().to_vec()
    }

    /// Every secret that clients showed: states, nonces, code verifiers.
    #[must_use]
    pub fn received(&self) -> Vec<String> {
        self.shared.world().received.clone()
    }
}
