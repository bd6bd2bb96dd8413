use std::collections::BTreeMap;
use std::time::SystemTime;

use tokio::sync::OnceCell;
use url::Url;

use super::{Connector, Registration};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectorId, TenantId};
use crate::oauth;
use crate::provider::Provider;
use crate::provider::endpoints::{Endpoints, PartialEndpoints};
use crate::provider::spec::{ClientAuthKind, Discovery};
use crate::provider::vars::CLIENT_ID;
use crate::seal::{Context, Purpose};
use crate::secret::{ClientSecret, SecretBytes};
use crate::store::{ConnectorRecord, Version};

/// A connector, opened for use.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) record: ConnectorRecord,
    pub(crate) registration: Registration,
    pub(crate) provider: Provider,
    secrets: Vec<ClientSecret>,
    key_confirmed: OnceCell<()>,
}

impl Registered {
    pub(crate) fn new(record: ConnectorRecord, registration: Registration) -> Result<Self, Error> {
        let provider = registration.provider()?;
        let secrets = [&registration.secret, &registration.next_secret];
        let secrets = secrets.into_iter().flatten().map(ClientSecret::new).collect();
        Ok(Self { record, registration, provider, secrets, key_confirmed: OnceCell::new() })
    }

    /// A connector that is no longer registered, for what is still owed through it.
    pub(crate) fn detached(
        tenant: &TenantId,
        id: &ConnectorId,
        registration: Registration,
    ) -> Result<Self, Error> {
        let record = ConnectorRecord {
            tenant: tenant.clone(),
            id: id.clone(),
            name: String::new(),
            version: Version::from_i64(0),
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
            sealed: Vec::new(),
        };
        Self::new(record, registration)
    }

    /// Makes sure that the store still has the tenant's data key before something new is sealed under it. Once for each
    /// reading of the connector, which is soon read again.
    pub(crate) async fn confirm_key(&self, core: &Core) -> Result<(), Error> {
        let confirm = async || core.sealer.confirm(&context(&self.record)).await;
        self.key_confirmed.get_or_try_init(confirm).await.copied()
    }

    pub(super) fn view(&self) -> Connector {
        let Self { record, registration, provider, .. } = self;
        Connector {
            id: record.id.clone(),
            name: record.name.clone(),
            provider: provider.clone(),
            client_id: registration.client_id.clone(),
            scopes: registration.scopes.clone(),
            redirect_uri: registration.redirect_uri.clone(),
            owners: registration.owners,
            policy: registration.policy,
            enabled: registration.enabled,
            rotating: registration.next_secret.is_some(),
            created_at: SystemTime::from(record.created_at),
            updated_at: SystemTime::from(record.updated_at),
        }
    }

    /// The provider's endpoints for a connection with that config: from the provider file, and from its metadata where
    /// the file leaves them out.
    pub(crate) async fn endpoints(
        &self,
        core: &Core,
        config: &BTreeMap<String, String>,
    ) -> Result<Endpoints, Error> {
        let mut partial = self.provider.configured(&self.vars(config))?;
        if let Some((issuer, discovery)) = self.discovery(&partial) {
            let metadata = core.discovery.metadata(&issuer, &discovery).await?;
            fill(&mut partial, &metadata);
        }
        partial.complete()
    }

    /// Where the provider describes itself, if it does.
    fn discovery(&self, partial: &PartialEndpoints) -> Option<(String, Discovery)> {
        let discovery = self.provider.spec().endpoints.discovery.clone()?;
        let url = partial.metadata.as_ref().map(Url::to_string);
        Some((partial.issuer.clone()?, Discovery { url, ..discovery }))
    }

    fn vars(&self, config: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut vars = self.registration.vars.clone();
        for (name, value) in config {
            if self.provider.spec().vars.contains_key(name) {
                vars.insert(name.clone(), value.clone());
            }
        }
        vars.insert(CLIENT_ID.to_owned(), self.registration.client_id.clone());
        vars
    }

    pub(crate) fn client<'a>(&'a self, core: &'a Core, endpoints: &'a Endpoints) -> oauth::Client<'a> {
        oauth::Client {
            spec: self.provider.spec(),
            endpoints,
            client_id: &self.registration.client_id,
            secrets: &self.secrets,
            auth: fitting_auth(self.registration.auth, endpoints),
            http: &*core.http,
            clock: &*core.clock,
            timeout: core.settings.http_timeout,
        }
    }
}

/// What the file leaves out comes from the metadata.
fn fill(partial: &mut PartialEndpoints, metadata: &oauth::Metadata) {
    let or = |own: &mut Option<Url>, found: &Option<Url>| *own = own.take().or_else(|| found.clone());
    or(&mut partial.authorize, &metadata.authorize);
    or(&mut partial.token, &metadata.token);
    or(&mut partial.revoke, &metadata.revoke);
    or(&mut partial.jwks, &metadata.jwks);
    or(&mut partial.userinfo, &metadata.userinfo);
    partial.issuer = Some(metadata.issuer.clone());
    partial.sends_iss |= metadata.sends_iss;
    partial.auth_methods.clone_from(&metadata.auth_methods);
    partial.pkce_methods.clone_from(&metadata.pkce_methods);
}

/// Where the metadata names the ways a server takes and the registered one is not among them, one that is.
fn fitting_auth(auth: ClientAuthKind, endpoints: &Endpoints) -> ClientAuthKind {
    let offers = |method: &str| endpoints.auth_methods.iter().any(|offered| offered == method);
    match auth {
        ClientAuthKind::Basic if offers("client_secret_post") && !offers("client_secret_basic") => {
            ClientAuthKind::Post
        }
        ClientAuthKind::Post if offers("client_secret_basic") && !offers("client_secret_post") => {
            ClientAuthKind::Basic
        }
        other => other,
    }
}

impl Core {
    /// The connector as it stands in the store, where that is what matters: to change it, or to show it.
    pub(crate) async fn stored_connector(
        &self,
        tenant: &TenantId,
        id: &ConnectorId,
    ) -> Result<Registered, Error> {
        let record = self.stores.connectors.get(tenant, id).await?.ok_or_else(|| unknown(id))?;
        self.open_registration(record).await
    }

    pub(crate) async fn open_registration(&self, record: ConnectorRecord) -> Result<Registered, Error> {
        let plain = self.sealer.open(&context(&record), &record.sealed).await?;
        let registration = postcard::from_bytes(plain.expose_secret()).map_err(|error| {
            Error::new(ErrorKind::CorruptRecord, format!("connector {} does not decode", record.id))
                .with_source(error)
        })?;
        Registered::new(record, registration)
    }

    pub(super) async fn seal_registration(
        &self,
        record: &ConnectorRecord,
        registration: &Registration,
    ) -> Result<Vec<u8>, Error> {
        let plain = SecretBytes::new(postcard::to_allocvec(registration).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the connector cannot be encoded").with_source(error)
        })?);
        self.sealer.confirm(&context(record)).await?;
        self.sealer.seal(&context(record), plain.expose_secret()).await
    }
}

/// The name is bound too: renaming a row by hand would make another connector answer to it.
fn context(record: &ConnectorRecord) -> Context<'_> {
    Context {
        connector: Some(&record.id),
        subject: Some(record.name.as_bytes()),
        ..Context::new(Purpose::Connector, &record.tenant)
    }
}

pub(super) fn unknown(id: &ConnectorId) -> Error {
    Error::new(ErrorKind::UnknownConnector, format!("no connector {id}"))
}
