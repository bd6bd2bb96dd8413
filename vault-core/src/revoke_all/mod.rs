//! Break-glass: everything of a connector, a tenant or the vault is disconnected, then revoked.
//!
//! First all connections are taken out of reach, as fast as the store can, each with the revocation that it owes. Then
//! the revocations are paid, connector by connector, no faster than asked, and with the pauses that a provider asks for.
//! What is done is gone: to resume, call it again. What a provider does not take now is left to maintenance.

mod payer;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use self::payer::{Payer, owed_page};
use crate::core::Core;
use crate::disconnect::{Removed, take_away};
use crate::ending::Outcome;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::{ConnectionKey, ConnectorId, TenantId};
use crate::store::{ConnectionFilter, KeyScope, Page};

const PAGE: u32 = 200;
/// Connections taken out of reach at once.
const AT_ONCE: usize = 16;
/// Connectors whose revocations are under way at once.
const CONNECTORS: usize = 32;
/// The report names so many of those that failed.
const NAMED: usize = 100;

/// How fast to [revoke](crate::Vault::revoke_all), for each connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct RevokePace {
    per_second: u32,
    concurrency: usize,
}

impl RevokePace {
    /// 10 a second, 4 at once.
    pub const fn new() -> Self {
        Self { per_second: 10, concurrency: 4 }
    }

    /// At most so many requests a second; at least 1. `u32::MAX` is no limit.
    pub const fn per_second(mut self, requests: u32) -> Self {
        self.per_second = if requests == 0 { 1 } else { requests };
        self
    }

    /// At most so many at once; at least 1.
    pub const fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = if requests == 0 { 1 } else { requests };
        self
    }
}

impl Default for RevokePace {
    fn default() -> Self {
        Self::new()
    }
}

/// What a [`Vault::revoke_all`](crate::Vault::revoke_all) did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RevokeReport {
    /// Connections that were taken out of reach. They are gone, whatever becomes of their grants.
    pub disconnected: usize,
    /// Grants that the provider confirmed to be dead.
    pub revoked: usize,
    /// Grants that stay owed: the provider is down or throttles. Maintenance goes on with them.
    pub pending: usize,
    /// Grants that another connection, outside of what was revoked, shares; or may share, since an account is not known: an
    /// [`Event::RevocationAbandoned`] tells of each of those.
    pub still_shared: usize,
    /// Grants that live on: the provider cannot revoke, or their tokens could not be opened.
    pub unsupported: usize,
    /// Connections that could not be disconnected, and are as they were.
    pub failures: usize,
    /// The first hundred of them.
    pub failed: Vec<(ConnectionKey, ErrorKind)>,
    /// What ended it early, such as a store that is down: call it again to go on. Or, where nothing did, that the audit
    /// trail misses something.
    pub stopped: Option<Error>,
}

impl RevokeReport {
    /// Whether nothing is left to do: all is disconnected, and no grant is owed.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.pending == 0 && self.failures == 0 && self.stopped.is_none()
    }

    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Pending => &mut self.pending,
            Outcome::Revoked => &mut self.revoked,
            Outcome::MaybeShared | Outcome::StillShared => &mut self.still_shared,
            Outcome::Unsupported => &mut self.unsupported,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.revoked += other.revoked;
        self.pending += other.pending;
        self.still_shared += other.still_shared;
        self.unsupported += other.unsupported;
        self.stopped = self.stopped.take().or(other.stopped);
    }
}

/// What to revoke.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    Connector(TenantId, ConnectorId),
    Everything,
    Tenant(TenantId),
}

pub(crate) async fn revoke_all(
    core: &Arc<Core>,
    scope: &Scope,
    pace: RevokePace,
) -> Result<RevokeReport, Error> {
    core.check_open()?;
    let mut report = RevokeReport::default();
    if let Err(error) = run(core, scope, pace, &mut report).await {
        report.stopped.get_or_insert(error);
    }
    let (tenant, connector) = match scope {
        Scope::Connector(tenant, connector) => (Some(tenant), Some(connector)),
        Scope::Everything => (None, None),
        Scope::Tenant(tenant) => (Some(tenant), None),
    };
    let event = Event::MassRevoked {
        tenant: tenant.cloned(),
        connector: connector.cloned(),
        disconnected: report.disconnected,
    };
    let audited = core.audit(event).await;
    report.stopped = report.stopped.take().or(audited.err());
    Ok(report)
}

async fn run(
    core: &Arc<Core>,
    scope: &Scope,
    pace: RevokePace,
    report: &mut RevokeReport,
) -> Result<(), Error> {
    let (tenants, connector) = match scope {
        Scope::Connector(tenant, connector) => (BTreeSet::from([tenant.clone()]), Some(connector)),
        Scope::Everything => (tenants(core).await?, None),
        Scope::Tenant(tenant) => (BTreeSet::from([tenant.clone()]), None),
    };
    for tenant in &tenants {
        let filter = ConnectionFilter { tenant: tenant.clone(), owner: None, connector: connector.cloned() };
        disconnect_all(core, &filter, report).await?;
    }
    let mut owing = BTreeSet::new();
    for tenant in tenants {
        let wanted = |id: &ConnectorId| connector.is_none_or(|only| only == id);
        let mut page = Page::first(PAGE);
        while let Some(items) = owed_page(core, &tenant, &mut page).await? {
            let ids = items.into_iter().map(|owed| owed.key.connector).filter(wanted);
            owing.extend(ids.map(|id| (tenant.clone(), id)));
        }
    }
    settle_all(core, owing, pace, report).await;
    Ok(())
}

/// Every tenant that has anything sealed has a data key, or its users have.
async fn tenants(core: &Core) -> Result<BTreeSet<TenantId>, Error> {
    let mut tenants = BTreeSet::new();
    let mut page = Page::first(PAGE);
    loop {
        let listed = core.stores.keys.list(&page).await?;
        tenants.extend(listed.items.into_iter().filter_map(|record| match record.scope {
            KeyScope::Tenant(tenant) | KeyScope::User(tenant, _) => Some(tenant),
            KeyScope::Vault => None,
        }));
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(tenants);
        }
    }
}

/// Takes all of them out of reach.
async fn disconnect_all(
    core: &Arc<Core>,
    filter: &ConnectionFilter,
    report: &mut RevokeReport,
) -> Result<(), Error> {
    let mut page = Page::first(PAGE);
    loop {
        let listed = core.stores.connections.list(filter, &page).await?;
        let mut running = JoinSet::new();
        for connection in listed.items {
            if running.len() == AT_ONCE
                && let Some(done) = running.join_next().await
            {
                note(core, report, done);
            }
            core.check_open()?;
            let (task, key) = (Arc::clone(core), connection.key);
            running.spawn(async move {
                let worker = Arc::clone(&task);
                let (connector, owner, tenant) =
                    (key.connector.clone(), key.owner.clone(), key.tenant.clone());
                let taken = key.clone();
                let taken = task.detached(async move {
                    worker.stores.flows.cancel(&tenant, &owner, Some(&connector)).await?;
                    take_away(&worker, &taken).await
                });
                (key, taken.await)
            });
        }
        while let Some(done) = running.join_next().await {
            note(core, report, done);
        }
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

type TakenAway = (ConnectionKey, Result<Removed, Error>);

fn note(core: &Core, report: &mut RevokeReport, done: Result<TakenAway, JoinError>) {
    let Ok((key, taken)) = done else { return };
    match taken {
        Ok(Removed::Nothing) => {}
        Ok(removed) => {
            report.disconnected += 1;
            report.unsupported += usize::from(matches!(removed, Removed::Unrevocable));
            core.report(&Event::Disconnected { key });
        }
        Err(error) => {
            report.failures += 1;
            if report.failed.len() < NAMED {
                report.failed.push((key, error.kind().clone()));
            }
        }
    }
}

/// Pays what is owed through those connectors, side by side.
async fn settle_all(
    core: &Arc<Core>,
    owing: BTreeSet<(TenantId, ConnectorId)>,
    pace: RevokePace,
    report: &mut RevokeReport,
) {
    let mut running = JoinSet::new();
    for (tenant, connector) in owing {
        if running.len() == CONNECTORS
            && let Some(Ok(part)) = running.join_next().await
        {
            report.add(part);
        }
        let core = Arc::clone(core);
        running.spawn(async move {
            let mut payer = Payer::new(&core, pace);
            if let Err(error) = payer.pay(&tenant, &connector).await {
                payer.report.stopped = Some(error);
            }
            payer.report
        });
    }
    while let Some(part) = running.join_next().await {
        report.add(part.unwrap_or_default());
    }
}
