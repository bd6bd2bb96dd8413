use std::time::Duration;

use http::header::AUTHORIZATION;
use tokio::sync::OnceCell;
use vault_core::http::{HttpClient as _, HttpRequest};
use vault_core::id::ConnectorId;
use vault_core::secret::SecretBytes;
use vault_core::{AccessToken, Callback, ClientSecret, Error, NewConnector, Provider, Vault};
use vault_http::GuardedHttp;
use vault_testkit::faults::FaultStore;

use super::clock::SkipClock;
use super::protocol::{Command, Outcome, Read, Setup};
use super::steps::Steps;
use crate::binding;

const NAME: &str = "chaos";

/// A worker's vault, and what it takes to do as told.
#[derive(Debug)]
pub(super) struct Desk {
    vault: Vault,
    clock: SkipClock,
    steps: Steps,
    stores: FaultStore,
    http: GuardedHttp,
    setup: Setup,
    connector: OnceCell<ConnectorId>,
}

impl Desk {
    pub(super) fn new(
        vault: Vault,
        clock: SkipClock,
        steps: Steps,
        stores: FaultStore,
        http: GuardedHttp,
        setup: Setup,
    ) -> Self {
        Self { vault, clock, steps, stores, http, setup, connector: OnceCell::new() }
    }

    pub(super) async fn execute(&self, command: Command) -> Outcome {
        self.perform(command).await.unwrap_or_else(|error| failed(&error))
    }

    async fn perform(&self, command: Command) -> Result<Outcome, Error> {
        Ok(match command {
            Command::Arm { step, side, signal } => {
                self.steps.arm(step, side, signal);
                done(&())
            }
            Command::Complete { query } => {
                let connected = self.vault.complete(Callback::from_query(&query)?, &binding()).await?;
                done(&connected.connection())
            }
            Command::Disconnect { user } => {
                done(&self.vault.user(user).disconnect(self.connector().await?).await?)
            }
            Command::Maintain => done(&self.vault.maintain(100).await?),
            Command::Read(read) => self.read(&read, read.wait).await,
            Command::Register => done(&self.register().await?),
            Command::RotateSecret { next } => {
                let next = ClientSecret::new(next);
                done(&self.vault.connectors().rotate_secret(self.connector().await?, next).await?.id())
            }
            Command::Shutdown => done(&self.vault.shutdown(Duration::from_secs(30)).await),
            Command::Skip { span } => {
                self.clock.skip(span);
                done(&())
            }
            Command::Start { user } => {
                let mut connect = self.vault.user(user).connect(self.connector().await?);
                for (name, value) in &self.setup.authorize {
                    connect = connect.authorize_param(name, value);
                }
                Outcome::Url(connect.start(&binding()).await?.url().to_string())
            }
        })
    }

    pub(super) async fn read(&self, read: &Read, wait: Duration) -> Outcome {
        self.try_read(read, wait).await.unwrap_or_else(|error| failed(&error))
    }

    /// A host that is refused says so, and uses what it gets instead.
    async fn try_read(&self, read: &Read, wait: Duration) -> Result<Outcome, Error> {
        let before = self.stores.total_calls();
        let token = self.token(read, wait).await?;
        if read.show {
            let calls = self.stores.total_calls() - before;
            return Ok(Outcome::Shown { secret: token.expose_secret().to_owned(), calls });
        }
        let Some(url) = &read.use_at else {
            return Ok(Outcome::Token { generation: token.generation(), status: None, second: false });
        };
        let status = self.use_at(url, &token).await;
        if status != Some(401) {
            return Ok(Outcome::Token { generation: token.generation(), status, second: false });
        }
        let token = self.vault.report_rejected(&token).await?;
        let status = self.use_at(url, &token).await;
        Ok(Outcome::Token { generation: token.generation(), status, second: true })
    }

    async fn token(&self, read: &Read, wait: Duration) -> Result<AccessToken, Error> {
        let owner = self.vault.user(&*read.user);
        let request = owner.token(self.connector().await?).wait_at_most(wait);
        if read.fresh { request.fresh().await } else { request.await }
    }

    async fn use_at(&self, url: &str, token: &AccessToken) -> Option<u16> {
        let mut request = HttpRequest::new(SecretBytes::default());
        *request.uri_mut() = url.parse().expect("a URL");
        let bearer = format!("Bearer {}", token.expose_secret());
        request.headers_mut().insert(AUTHORIZATION, bearer.parse().expect("a header"));
        self.http.send(request).await.ok().map(|reply| reply.status().as_u16())
    }

    async fn connector(&self) -> Result<&ConnectorId, Error> {
        self.connector
            .get_or_try_init(async || {
                let found = self.vault.connectors().find(NAME).await?;
                Ok(found.expect("somebody registered it").id().clone())
            })
            .await
    }

    async fn register(&self) -> Result<ConnectorId, Error> {
        let Setup { provider, client_id, client_secret, scopes, .. } = &self.setup;
        let provider = match provider.starts_with("http") {
            true => Provider::oidc("peer", provider)?,
            false => Provider::from_toml(provider)?,
        };
        let mut new = NewConnector::new(NAME, provider).client(client_id, ClientSecret::new(client_secret));
        if !scopes.is_empty() {
            new = new.scopes(scopes);
        }
        Ok(self.vault.connectors().register(new).await?.id().clone())
    }
}

fn done(what: &dyn std::fmt::Debug) -> Outcome {
    Outcome::Done(format!("{what:?}"))
}

fn failed(error: &Error) -> Outcome {
    Outcome::Failed {
        kind: format!("{:?}", error.kind()),
        message: error.to_string(),
        retryable: error.is_retryable(),
    }
}
