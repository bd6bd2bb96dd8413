use std::sync::Arc;

use super::registered::{Registered, unknown};
use super::registration::check_name;
use super::{Connector, ConnectorUpdate, NewConnector, Registration};
use crate::core::Core;
use crate::error::{Error, ErrorKind, printable};
use crate::id::{ConnectorId, TenantId};
use crate::revoke_all::{RevokePace, RevokeReport, Scope, revoke_all};
use crate::secret::ClientSecret;
use crate::store::{Condition, ConnectionFilter, ConnectorRecord, NamedPut, Page, Version};

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
        let filter =
            ConnectionFilter { tenant: self.tenant.clone(), owner: None, connector: Some(id.clone()) };
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

fn contended(id: &ConnectorId) -> Error {
    Error::new(ErrorKind::Contended, format!("connector {id} kept changing"))
}

fn name_taken(name: &str) -> Error {
    Error::new(ErrorKind::NameTaken, format!("another connector is named `{}`", printable(name)))
}
