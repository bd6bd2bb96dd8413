//! The vault and what it stands on: how a host application puts it together.

use std::time::Duration;

use vault_core::connector::{AccountPolicy, Connector, ConnectorUpdate};
use vault_core::{ClientSecret, ConnectionInfo, Error, NewConnector, Vault};
use vault_http::GuardedHttp;
use vault_testkit::simulator::{Account, ClientAuth, Simulator, SimulatorBuilder};

use crate::Result;
use crate::folder::Folder;
use crate::storage::{Opened, Storage};

/// What the provider knows this app by. The secret protects nothing but a simulation: a real one is no part of a program,
/// it is given to the vault once and stays there, sealed.
const CLIENT_ID: &str = "Quickstart";
pub(crate) const CLIENT_SECRET: &str = "simcs_the-secret-of-a-simulation";
/// What the connector is called in this app.
const CONNECTOR: &str = "calendar";

/// A user of this app, with an account of the same name at the provider.
pub(crate) struct User {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) email: &'static str,
}

pub(crate) const ALICE: &User = &User { id: "alice", name: "Alice Martin", email: "alice@example.com" };
pub(crate) const BOB: &User = &User { id: "bob", name: "Bob Keller", email: "bob@example.com" };

/// Everything that requests need.
pub(crate) struct Demo {
    pub(crate) vault: Vault,
    pub(crate) connector: Connector,
    pub(crate) had_connector: bool,
    pub(crate) http: GuardedHttp,
    pub(crate) provider: Simulator,
    pub(crate) folder: Folder,
    pub(crate) storage: Storage,
    /// The storage itself, to show what is in it. Applications need only the vault.
    pub(crate) opened: Opened,
}

impl Demo {
    /// Opens the vault on its storage, with the key in `folder`; the provider sends browsers back to `redirect_uri`.
    pub(crate) async fn start(folder: Folder, storage: &Storage, redirect_uri: String) -> Result<Self> {
        let provider = folder.start(provider).await?;
        // With loopback allowed, because the demo provider is there. For real ones: `GuardedHttp::new()`, which speaks
        // TLS to public addresses only.
        let http = GuardedHttp::builder().danger_allow_loopback_http().build()?;
        let keys = folder.keys()?;
        let opened = storage.open(&folder).await?;
        let vault = Vault::builder()
            .stores(opened.stores.clone())
            .keys(keys)
            .http(http.clone())
            .redirect_uri(&redirect_uri)
            .build()
            .await?;
        let found = vault.connectors().find(CONNECTOR).await?;
        let had_connector = found.is_some();
        let connector = match found {
            // The web app may have another port than the last time.
            Some(found) if found.redirect_uri() != redirect_uri => {
                let update = ConnectorUpdate::new().redirect_uri(redirect_uri);
                vault.connectors().update(found.id(), update).await?
            }
            Some(found) => found,
            None => register(&vault, &provider).await?,
        };
        let storage = storage.clone();
        Ok(Self { vault, connector, had_connector, http, provider, folder, storage, opened })
    }

    /// The user's connection, if there is one, without any token.
    pub(crate) async fn connection(&self, user: &User) -> Result<Option<ConnectionInfo>, Error> {
        let connections = self.vault.user(user.id).connections().await?;
        Ok(connections.into_iter().find(|connection| connection.key().connector == *self.connector.id()))
    }

    /// Lets what is under way end: tokens that a refresh brought are stored, revocations sent.
    pub(crate) async fn stop(&self) {
        if !self.vault.shutdown(Duration::from_secs(10)).await {
            eprintln!("quickstart: the vault was still busy after 10 s");
        }
        self.opened.close().await;
        self.provider.shutdown().await;
    }
}

/// What an administrator does once, with the client id and secret that the provider gave them.
async fn register(vault: &Vault, provider: &Simulator) -> Result<Connector, Error> {
    let new = NewConnector::new(CONNECTOR, provider.provider())
        .client(CLIENT_ID, ClientSecret::new(CLIENT_SECRET))
        .scopes(["openid", "email", "calendar.read"])
        // Who connects with another account than before wants that one.
        .account_policy(AccountPolicy::Replace);
    vault.connectors().register(new).await
}

fn provider() -> SimulatorBuilder {
    let account = |user: &User| Account::new(user.id).named(user.name);
    Simulator::builder()
        .client(CLIENT_ID, CLIENT_SECRET, ClientAuth::Any)
        .accounts([account(ALICE), account(BOB)])
        .interactive(true)
}
