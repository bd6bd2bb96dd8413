//! Erasing an owner: nothing of theirs stays in the store, whatever the providers say.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use crate::core::Core;
use crate::disconnect::end_connection;
use crate::ending::Outcome;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::{Owner, TenantId};
use crate::revocation::abandoned;
use crate::store::{ConnectionFilter, KeyScope, Page};

const PAGE: u32 = 200;
const AT_ONCE: usize = 4;
/// How often to look again whether something came up meanwhile.
const TRIES: usize = 4;

/// What an [`OwnerHandle::erase`](crate::OwnerHandle::erase) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erased {
    /// Connections that are gone.
    pub disconnected: usize,
    /// Grants that their provider confirmed to be dead.
    pub revoked: usize,
    /// Grants that may still live at their provider, and for which the vault can do nothing any more: an
    /// [`Event::RevocationAbandoned`] tells of each.
    pub abandoned: usize,
}

pub(crate) async fn erase(core: &Arc<Core>, tenant: TenantId, owner: Owner) -> Result<Erased, Error> {
    let task = Arc::clone(core);
    core.detached(async move {
        let mut erased = Erased::default();
        // What the audit trail misses does not keep the user from being erased.
        let mut unaudited = None;
        for _ in 0..TRIES {
            if sweep(&task, &tenant, &owner, &mut erased, &mut unaudited).await? {
                continue;
            }
            forget_owed(&task, &tenant, &owner, &mut erased).await?;
            if let Owner::User(user) = &owner {
                let scope = KeyScope::User(tenant.clone(), user.clone());
                let deleted = task.stores.keys.delete(&scope).await;
                task.sealer.forget(&scope);
                // A flow that began before the key went, by whosever hand, is under that key. One that begins now finds it
                // gone.
                let found = sweep(&task, &tenant, &owner, &mut erased, &mut unaudited).await?;
                deleted?;
                if found {
                    continue;
                }
            }
            let audited = task.audit(Event::Erased { tenant, owner }).await;
            return unaudited.map_or(audited, Err).map(|()| erased);
        }
        Err(Error::new(ErrorKind::Contended, "new connections kept appearing while the owner was erased"))
    })
    .await
}

/// Cancels flows, then disconnects what there is; answers whether there was anything. A flow that completes meanwhile
/// finds itself cancelled, or its connection is found.
async fn sweep(
    core: &Arc<Core>,
    tenant: &TenantId,
    owner: &Owner,
    erased: &mut Erased,
    unaudited: &mut Option<Error>,
) -> Result<bool, Error> {
    core.stores.flows.cancel(tenant, owner, None).await?;
    disconnect_all(core, tenant, owner, erased, unaudited).await
}

/// Disconnects what there is, with one try to revoke each; answers whether there was anything.
async fn disconnect_all(
    core: &Arc<Core>,
    tenant: &TenantId,
    owner: &Owner,
    erased: &mut Erased,
    unaudited: &mut Option<Error>,
) -> Result<bool, Error> {
    let filter = ConnectionFilter { tenant: tenant.clone(), owner: Some(owner.clone()), connector: None };
    let mut any = false;
    let mut page = Page::first(PAGE);
    loop {
        let listed = core.stores.connections.list(&filter, &page).await?;
        any |= !listed.items.is_empty();
        let mut running = JoinSet::new();
        for connection in listed.items {
            if running.len() == AT_ONCE
                && let Some(done) = running.join_next().await
            {
                count(erased, unaudited, done)?;
            }
            let core = Arc::clone(core);
            running.spawn(async move { end_connection(&core, connection.key).await });
        }
        while let Some(done) = running.join_next().await {
            count(erased, unaudited, done)?;
        }
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(any);
        }
    }
}

fn count(
    erased: &mut Erased,
    unaudited: &mut Option<Error>,
    done: Result<Result<Option<Outcome>, Error>, JoinError>,
) -> Result<(), Error> {
    match done {
        Ok(Ok(None)) => return Ok(()),
        Ok(Ok(Some(Outcome::Revoked))) => erased.revoked += 1,
        Ok(Ok(Some(Outcome::MaybeShared | Outcome::Unsupported))) => erased.abandoned += 1,
        // That one is counted when what it owes is forgotten, or with the last connection that shares its grant.
        Ok(Ok(Some(Outcome::Pending | Outcome::StillShared))) => {}
        Ok(Err(error)) if *error.kind() == ErrorKind::AuditUnavailable => *unaudited = Some(error),
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(Error::new(ErrorKind::ShuttingDown, "the operation's task was ended")),
    }
    erased.disconnected += 1;
    Ok(())
}

/// Nobody will try these again.
async fn forget_owed(
    core: &Core,
    tenant: &TenantId,
    owner: &Owner,
    erased: &mut Erased,
) -> Result<(), Error> {
    let mut page = Page::first(PAGE);
    loop {
        let listed = core.stores.connections.list_owed(tenant, Some(owner), &page).await?;
        for owed in listed.items {
            core.stores.connections.delete_owed(&owed.key, owed.id).await?;
            abandoned(core, &owed);
            erased.abandoned += 1;
        }
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}
