use std::sync::Arc;

use super::owner_of;
use crate::connect::Connect;
use crate::connector::Connectors;
use crate::core::Core;
use crate::disconnect::{self, Disconnected};
use crate::erase::{Erased, erase};
use crate::error::Error;
use crate::explain::{self, Explanation};
use crate::id::{ConnectionKey, ConnectorId, Owner, Slot, TenantId, UserId};
use crate::listing::{self, ConnectionInfo, ConnectionPage};
use crate::refresh::TokenRequest;
use crate::revocation::OwedRevocation;
use crate::revoke_all::{RevokePace, RevokeReport, Scope, revoke_all};
use crate::store::{ConnectionFilter, Page, Paged};

/// One tenant's part of a vault.
#[derive(Debug, Clone)]
pub struct TenantHandle {
    core: Arc<Core>,
    tenant: Result<TenantId, Error>,
}

impl TenantHandle {
    pub(crate) const fn new(core: Arc<Core>, tenant: Result<TenantId, Error>) -> Self {
        Self { core, tenant }
    }

    /// One app user's connections.
    pub fn user<U>(&self, user: U) -> OwnerHandle
    where
        U: TryInto<UserId>,
        Error: From<U::Error>,
    {
        self.owner(owner_of(user))
    }

    /// The connections that all users of the tenant share.
    #[must_use]
    pub fn shared(&self) -> OwnerHandle {
        self.owner(Ok(Owner::Shared))
    }

    /// The tenant's connectors.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the tenant id is bad.
    pub fn connectors(&self) -> Result<Connectors, Error> {
        Ok(Connectors::new(Arc::clone(&self.core), self.tenant.clone()?))
    }

    /// A page of the tenant's connections, of all owners or through one connector.
    ///
    /// # Errors
    /// When the store or a key is not available.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn connections(
        &self,
        connector: Option<&ConnectorId>,
        page: &Page,
    ) -> Result<ConnectionPage, Error> {
        let filter =
            ConnectionFilter { tenant: self.tenant.clone()?, owner: None, connector: connector.cloned() };
        listing::page(&self.core, &filter, page).await
    }

    /// Disconnects every connection of the tenant, then revokes the grants:
    /// [`Vault::revoke_all`](crate::Vault::revoke_all) for one tenant.
    ///
    /// # Errors
    /// As there, and [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the tenant id is bad.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn revoke_all(&self, pace: RevokePace) -> Result<RevokeReport, Error> {
        revoke_all(&self.core, &Scope::Tenant(self.tenant.clone()?), pace).await
    }

    /// A page of the tenant's revocations that no provider has confirmed yet, of all owners, and where the next starts.
    ///
    /// # Errors
    /// When the store is not available.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn owed_revocations(&self, page: &Page) -> Result<Paged<OwedRevocation>, Error> {
        let tenant = self.tenant.clone()?;
        let listed = self.core.stores.connections.list_owed(&tenant, None, page).await?;
        let items = listed.items.into_iter().map(OwedRevocation::from).collect();
        Ok(Paged { items, next: listed.next })
    }

    fn owner(&self, owner: Result<Owner, Error>) -> OwnerHandle {
        OwnerHandle::new(Arc::clone(&self.core), self.tenant.clone(), owner)
    }
}

/// One owner's connections: an app user's, or those that all users share.
#[derive(Debug, Clone)]
pub struct OwnerHandle {
    core: Arc<Core>,
    /// A bad id surfaces at the first operation.
    scope: Result<(TenantId, Owner), Error>,
}

impl OwnerHandle {
    #[inline]
    pub(super) fn new(core: Arc<Core>, tenant: Result<TenantId, Error>, owner: Result<Owner, Error>) -> Self {
        Self { core, scope: tenant.and_then(|tenant| Ok((tenant, owner?))) }
    }

    /// Starts to connect an account through a connector.
    pub fn connect(&self, connector: &ConnectorId) -> Connect {
        Connect::new(Arc::clone(&self.core), self.key(connector, Slot::default()))
    }

    /// The access token of a connection, fresh; `.await` the answer.
    #[inline]
    pub fn token<'a>(&'a self, connector: &'a ConnectorId) -> TokenRequest<'a> {
        TokenRequest::new(&self.core, self.scope.as_ref(), connector)
    }

    /// All connections of this owner. No token material is loaded.
    ///
    /// # Errors
    /// When the store or a key is not available.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn connections(&self) -> Result<Vec<ConnectionInfo>, Error> {
        let (tenant, owner) = self.scope.clone()?;
        listing::of_owner(&self.core, &tenant, &owner).await
    }

    /// Disconnects: removes the connection and its tokens at once, cancels authorizations under way, and revokes the
    /// grant at the provider, now or as soon as the provider answers. Doing it twice is fine.
    ///
    /// # Errors
    /// When the store is not available, or the tokens cannot be opened for a reason that may pass. The connection is
    /// untouched then.
    ///
    /// # Cancel safety
    /// Once begun it finishes in a task of its own; a dropped future loses only the answer.
    #[tracing::instrument(name = "vault.disconnect", skip_all)]
    pub async fn disconnect(&self, connector: &ConnectorId) -> Result<Disconnected, Error> {
        self.disconnect_slot(connector, Slot::default()).await
    }

    /// The same for one of several accounts.
    ///
    /// # Errors
    /// As [`disconnect`](Self::disconnect).
    ///
    /// # Cancel safety
    /// As [`disconnect`](Self::disconnect).
    pub async fn disconnect_slot(&self, connector: &ConnectorId, slot: Slot) -> Result<Disconnected, Error> {
        disconnect::disconnect(&self.core, self.key(connector, slot)?).await
    }

    /// Revocations of this owner's that the provider has not confirmed yet.
    ///
    /// # Errors
    /// When the store is not available.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn owed_revocations(&self) -> Result<Vec<OwedRevocation>, Error> {
        let (tenant, owner) = self.scope.clone()?;
        listing::owed_by(&self.core, &tenant, &owner).await
    }

    /// Why a connection is as it is: state, last failure of the provider, refreshes, who refreshes it now, what is owed,
    /// and what user, admin and operator can do. For support and for a page of the operator's; it costs a handful of
    /// store calls.
    ///
    /// # Errors
    /// When the store is not available. Whatever is wrong with the connection is part of the answer.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    #[tracing::instrument(name = "vault.explain", skip_all)]
    pub async fn explain(&self, connector: &ConnectorId) -> Result<Explanation, Error> {
        self.explain_slot(connector, Slot::default()).await
    }

    /// The same for one of several accounts.
    ///
    /// # Errors
    /// As [`explain`](Self::explain).
    ///
    /// # Cancel safety
    /// As [`explain`](Self::explain).
    pub async fn explain_slot(&self, connector: &ConnectorId, slot: Slot) -> Result<Explanation, Error> {
        explain::explain(&self.core, self.key(connector, slot)?).await
    }

    /// Erases this owner, as when the user's account is deleted: cancels authorizations under way, disconnects everything,
    /// with one try to revoke each grant, and removes whatever would still be stored about them, owed revocations
    /// included. Where the user has a [data key of their own](crate::VaultBuilder::data_key_per_user), it is destroyed,
    /// and with it what backups hold.
    ///
    /// Other processes may hold that key in memory for as long as they run.
    ///
    /// # Errors
    /// When the store is not available, or tokens cannot be opened for a reason that may pass. Part of it may have
    /// happened then: call it again, and it goes on. [`ErrorKind::Contended`](crate::ErrorKind::Contended) when the user
    /// keeps connecting.
    ///
    /// # Cancel safety
    /// Once begun it finishes in a task of its own; a dropped future loses only the answer.
    #[tracing::instrument(name = "vault.erase", skip_all)]
    pub async fn erase(&self) -> Result<Erased, Error> {
        let (tenant, owner) = self.scope.clone()?;
        erase(&self.core, tenant, owner).await
    }

    fn key(&self, connector: &ConnectorId, slot: Slot) -> Result<ConnectionKey, Error> {
        let (tenant, owner) = self.scope.clone()?;
        Ok(ConnectionKey { tenant, owner, connector: connector.clone(), slot })
    }
}
