//! Connections as an application lists them.

use std::time::SystemTime;

use crate::connection::Summary;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Owner, TenantId};
use crate::revocation::OwedRevocation;
use crate::store::{ConnectionFilter, ConnectionStatus, Cursor, ListedConnection, Page};

/// One connection in a listing. No token was loaded for it.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    listed: ListedConnection,
    /// `None` when the stored record does not open.
    summary: Option<Summary>,
}

impl ConnectionInfo {
    /// Which connection it is.
    #[must_use]
    pub const fn key(&self) -> &ConnectionKey {
        &self.listed.key
    }

    /// Whether it works.
    #[must_use]
    pub const fn status(&self) -> ConnectionStatus {
        self.listed.status
    }

    /// Whether its record opens. When it does not, account, scopes and config are unknown, and the connection can only be
    /// disconnected or connected again.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.summary.is_some()
    }

    /// The provider's id in the catalog.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.summary.as_ref().map(|summary| summary.provider.as_str())
    }

    /// The provider's stable id of the account, where it tells.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        Some(self.summary.as_ref()?.account.as_ref()?.id.as_str())
    }

    /// The account's e-mail address, where the provider tells.
    #[must_use]
    pub fn account_email(&self) -> Option<&str> {
        self.summary.as_ref()?.account.as_ref()?.email.as_deref()
    }

    /// The account's name, where the provider tells.
    #[must_use]
    pub fn account_name(&self) -> Option<&str> {
        self.summary.as_ref()?.account.as_ref()?.name.as_deref()
    }

    /// What the user granted.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.summary.iter().flat_map(|summary| summary.scopes.iter().map(String::as_str))
    }

    /// What was asked of the user and not granted.
    pub fn missing_scopes(&self) -> impl Iterator<Item = &str> {
        self.summary.iter().flat_map(|summary| {
            let missing = summary.requested.iter().filter(|scope| !summary.scopes.contains(scope));
            missing.map(String::as_str)
        })
    }

    /// The connection config: instance URL, realm id and so on.
    pub fn config(&self) -> impl Iterator<Item = (&str, &str)> {
        let config = self.summary.iter().flat_map(|summary| &summary.config);
        config.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Counts the token sets since it was connected, from 1.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.listed.generation
    }

    /// When the access token ends, where the provider said so. The vault refreshes it before.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.listed.expires_at.map(SystemTime::from)
    }

    /// When the grant ends for good, however often it is refreshed: the user has to connect again by then. `None` where
    /// the provider sets no such limit.
    #[must_use]
    pub fn reconsent_due_at(&self) -> Option<SystemTime> {
        self.summary.as_ref()?.reconsent_due_at.map(SystemTime::from)
    }

    /// When it was connected.
    #[must_use]
    pub fn connected_at(&self) -> SystemTime {
        self.listed.created_at.into()
    }

    /// When it last changed: connected, refreshed, marked.
    #[must_use]
    pub fn updated_at(&self) -> SystemTime {
        self.listed.updated_at.into()
    }
}

/// One page of a tenant's connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionPage {
    /// The connections.
    pub connections: Vec<ConnectionInfo>,
    /// Where the next page starts; `None` when this is the last.
    pub next: Option<Cursor>,
}

pub(crate) async fn page(
    core: &Core,
    filter: &ConnectionFilter,
    page: &Page,
) -> Result<ConnectionPage, Error> {
    let listed = core.stores.connections.list(filter, page).await?;
    let mut connections = Vec::with_capacity(listed.items.len());
    for listed in listed.items {
        let summary = match core.open_summary(&listed.key, listed.incarnation, &listed.summary).await {
            Ok(summary) => Some(summary),
            Err(error) if matches!(error.kind(), ErrorKind::CorruptRecord | ErrorKind::Shredded) => {
                tracing::warn!(%error, connection = %listed.key, "a connection does not open");
                None
            }
            Err(error) => return Err(error),
        };
        connections.push(ConnectionInfo { listed, summary });
    }
    Ok(ConnectionPage { connections, next: listed.next })
}

/// All connections of one owner, by connector and slot.
pub(crate) async fn of_owner(
    core: &Core,
    tenant: &TenantId,
    owner: &Owner,
) -> Result<Vec<ConnectionInfo>, Error> {
    let filter = ConnectionFilter { tenant: tenant.clone(), owner: Some(owner.clone()), connector: None };
    let mut all = Vec::new();
    let mut from = Page::first(200);
    loop {
        let listed = page(core, &filter, &from).await?;
        all.extend(listed.connections);
        from.after = listed.next;
        if from.after.is_none() {
            all.sort_by(|a, b| a.key().cmp(b.key()));
            return Ok(all);
        }
    }
}

/// What is owed to providers for connections that one owner had.
pub(crate) async fn owed_by(
    core: &Core,
    tenant: &TenantId,
    owner: &Owner,
) -> Result<Vec<OwedRevocation>, Error> {
    let mut all = Vec::new();
    let mut page = Page::first(200);
    loop {
        let listed = core.stores.connections.list_owed(tenant, Some(owner), &page).await?;
        all.extend(listed.items.into_iter().map(OwedRevocation::from));
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(all);
        }
    }
}
