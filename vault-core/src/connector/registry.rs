use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use url::Url;

use super::registration::check_name;
use super::{Connector, ConnectorUpdate, NewConnector, Registration};
use crate::clock::Timestamp;
use crate::core::Core;
use crate::error::{Error, ErrorKind, printable};
use crate::id::{ConnectorId, TenantId};
use crate::oauth;
use crate::provider::Provider;
use crate::provider::endpoints::{Endpoints, PartialEndpoints};
use crate::provider::spec::{ClientAuthKind, Discovery};
use crate::provider::vars::CLIENT_ID;
use crate::revoke_all::{RevokePace, RevokeReport, Scope, revoke_all};
use crate::seal::{Context, Purpose};
use crate::secret::ClientSecret;
use crate::store::{Condition, ConnectorRecord, NamedPut, Page, Version};

/// How often a change is tried again when another one came first.
const TRIES: usize = 8;
const PAGE: u32 = 200;

/// The connectors of one tenant.
///
/// What is changed here counts at once for everything that begins in this process after the change. Other processes keep
/// a connector in memory and follow within ten seconds; sooner where the provider refuses a client whose secret was
/// changed. What is shown or changed here is always read from the store.
///
/// # Errors
/// Every method can fail with [`ErrorKind::StoreUnavailable`], with a key or sealing error, and, where it names a
/// connector, with [`ErrorKind::UnknownConnector`].
///
/// # Cancel safety
/// Dropping a future leaves the registry with either the whole change or none.
#[derive(Debug, Clone)]
pub struct Connectors {
    core: Arc<Core>,
    tenant: TenantId,
}

impl Connectors {
    pub(crate) const fn new(core: Arc<Core>, tenant: TenantId) -> Self {
        Self { core, tenant }
    }

    /// Registers a connector and gives it an id. The client secret is sealed; it is never given back.
    ///
    /// # Errors
    /// [`ErrorKind::NameTaken`]; [`ErrorKind::InvalidInput`] or [`ErrorKind::InvalidConfig`] naming what is wrong.
    pub async fn register(&self, new: NewConnector) -> Result<Connector, Error> {
        let (name, registration) = Registration::new(new, &self.core.settings)?;
        let id = ConnectorId::random(&*self.core.entropy)?;
        let now = self.core.now();
        let mut record = ConnectorRecord {
            tenant: self.tenant.clone(),
            id,
            name,
            version: Version::random(&*self.core.entropy)?,
            created_at: now,
            updated_at: now,
            sealed: Vec::new(),
        };
        record.sealed = self.core.seal_registration(&record, &registration).await?;
        match self.core.stores.connectors.put(&record, Condition::Absent).await? {
            NamedPut::Written => Ok(Registered::new(record, registration)?.view()),
            NamedPut::NameTaken => Err(name_taken(&record.name)),
            NamedPut::Conflict(_) => Err(Error::new(ErrorKind::Contended, "the new connector's id is taken")),
        }
    }

    /// The connector of that id.
    ///
    /// # Errors
    /// As the type says.
    pub async fn get(&self, id: &ConnectorId) -> Result<Connector, Error> {
        Ok(self.core.stored_connector(&self.tenant, id).await?.view())
    }

    /// The connector of that name, if there is one.
    ///
    /// # Errors
    /// As the type says.
    pub async fn find(&self, name: &str) -> Result<Option<Connector>, Error> {
        match self.core.stores.connectors.find(&self.tenant, name).await? {
            Some(record) => Ok(Some(self.core.open_registration(record).await?.view())),
            None => Ok(None),
        }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// As the type says.
    pub async fn list(&self) -> Result<Vec<Connector>, Error> {
        let mut all = Vec::new();
        let mut page = Page::first(PAGE);
        loop {
            let listed = self.core.stores.connectors.list(&self.tenant, &page).await?;
            for record in listed.items {
                all.push(self.core.open_registration(record).await?.view());
            }
            page.after = listed.next;
            if page.after.is_none() {
                all.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(all);
            }
        }
    }

    /// Changes a connector.
    ///
    /// # Errors
    /// [`ErrorKind::NameTaken`]; [`ErrorKind::InvalidInput`] naming what is wrong; [`ErrorKind::Contended`].
    pub async fn update(&self, id: &ConnectorId, update: ConnectorUpdate) -> Result<Connector, Error> {
        self.change(id, |registered| {
            let ConnectorUpdate { name, .. } = &update;
            if let Some(name) = name {
                registered.record.name = check_name(name.clone())?;
            }
            let provider = registered.provider.clone();
            registered.registration.apply(update.clone(), &provider, &self.core.settings)
        })
        .await
    }

    /// Sets the secret that will replace the current one. Until [`promote_secret`](Self::promote_secret), the current
    /// one is tried first and the next one when the provider refuses it, so the provider may switch at any moment.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the client has no secret to rotate.
    pub async fn rotate_secret(&self, id: &ConnectorId, next: ClientSecret) -> Result<Connector, Error> {
        self.change(id, |Registered { registration, .. }| {
            if registration.secret.is_none() {
                return Err(Error::new(ErrorKind::InvalidInput, "a public client has no secret to rotate"));
            }
            registration.next_secret = Some(next.expose_secret().to_owned());
            Ok(())
        })
        .await
    }

    /// Makes the next secret the current one and forgets the old one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when no next secret was set.
    pub async fn promote_secret(&self, id: &ConnectorId) -> Result<Connector, Error> {
        self.change(id, |Registered { registration, .. }| match registration.next_secret.take() {
            Some(next) => {
                registration.secret = Some(next);
                Ok(())
            }
            None => Err(Error::new(ErrorKind::InvalidInput, "no next secret was set")),
        })
        .await
    }

    /// Removes a connector. Its connections must be gone first: disconnect them, so that their grants are revoked.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when a connection still uses it.
    pub async fn delete(&self, id: &ConnectorId) -> Result<(), Error> {
        let filter = crate::store::ConnectionFilter {
            tenant: self.tenant.clone(),
            owner: None,
            connector: Some(id.clone()),
        };
        for _ in 0..TRIES {
            let Some(record) = self.core.stores.connectors.get(&self.tenant, id).await? else {
                return Err(unknown(id));
            };
            if !self.core.stores.connections.list(&filter, &Page::first(1)).await?.items.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!("connector {id} still has connections"),
                ));
            }
            let deleted = self.core.stores.connectors.delete(&self.tenant, id, record.version).await;
            self.core.connectors.forget(&self.tenant, id);
            if deleted? {
                return Ok(());
            }
        }
        Err(contended(id))
    }

    /// Disconnects every connection through the connector, then revokes the grants:
    /// [`Vault::revoke_all`](crate::Vault::revoke_all) for one connector. Switch it off first, with
    /// [`ConnectorUpdate::enabled`], and where other processes connect users, give them the ten seconds to follow.
    ///
    /// # Errors
    /// [`ErrorKind::ShuttingDown`]. Everything else is in the report.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn revoke_all(&self, id: &ConnectorId, pace: RevokePace) -> Result<RevokeReport, Error> {
        let scope = Scope::Connector(self.tenant.clone(), id.clone());
        revoke_all(&self.core, &scope, pace).await
    }

    async fn change(
        &self,
        id: &ConnectorId,
        mut change: impl FnMut(&mut Registered) -> Result<(), Error> + Send,
    ) -> Result<Connector, Error> {
        for _ in 0..TRIES {
            let mut registered = self.core.stored_connector(&self.tenant, id).await?;
            let before = registered.record.version;
            change(&mut registered)?;
            let record = &mut registered.record;
            record.version = Version::random(&*self.core.entropy)?;
            record.updated_at = self.core.now();
            record.sealed = self.core.seal_registration(record, &registered.registration).await?;
            let put = self.core.stores.connectors.put(record, Condition::Version(before)).await;
            self.core.connectors.forget(&self.tenant, id);
            match put? {
                NamedPut::Written => return Ok(registered.view()),
                NamedPut::NameTaken => return Err(name_taken(&record.name)),
                NamedPut::Conflict(_) => {}
            }
        }
        Err(contended(id))
    }
}

/// A connector, opened for use.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) record: ConnectorRecord,
    pub(crate) registration: Registration,
    pub(crate) provider: Provider,
    secrets: Vec<ClientSecret>,
}

impl Registered {
    pub(crate) fn new(record: ConnectorRecord, registration: Registration) -> Result<Self, Error> {
        let provider = registration.provider()?;
        let secrets = [&registration.secret, &registration.next_secret];
        let secrets = secrets.into_iter().flatten().map(ClientSecret::new).collect();
        Ok(Self { record, registration, provider, secrets })
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

    fn view(&self) -> Connector {
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

    async fn seal_registration(
        &self,
        record: &ConnectorRecord,
        registration: &Registration,
    ) -> Result<Vec<u8>, Error> {
        let plain =
            crate::secret::SecretBytes::new(postcard::to_allocvec(registration).map_err(|error| {
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

fn unknown(id: &ConnectorId) -> Error {
    Error::new(ErrorKind::UnknownConnector, format!("no connector {id}"))
}

fn contended(id: &ConnectorId) -> Error {
    Error::new(ErrorKind::Contended, format!("connector {id} kept changing"))
}

fn name_taken(name: &str) -> Error {
    Error::new(ErrorKind::NameTaken, format!("another connector is named `{}`", printable(name)))
}
