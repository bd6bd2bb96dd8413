//! Work that nobody waits for: due refreshes, owed revocations, expired flows, and a look at whether the storage is there.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::disconnect::Disconnected;
use crate::error::Error;
use crate::event::Event;
use crate::id::{ConnectionKey, RevocationId};
use crate::refresh::{self, refresh_due};
use crate::revocation::claim_and_settle;
use crate::store::RevocationRecord;
use crate::upkeep::{Due, Slots, Verdict, work_off};

/// From the beginning of one pass of the background loop to that of the next.
const PERIOD: Duration = Duration::from_secs(30);
/// But at least so long after the end of it.
const REST: Duration = Duration::from_secs(1);
/// What a pass of the background loop starts of each kind.
const LIMIT: u32 = 500;

/// What one pass of [`Vault::maintain`](crate::Vault::maintain) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintenance {
    /// Connections refreshed, or found refreshed by others.
    pub refreshed: usize,
    /// Connections that could not be refreshed this time.
    pub failed: usize,
    /// Owed revocations that are done.
    pub revoked: usize,
    /// Owed revocations that stay owed.
    pub still_owed: usize,
    /// Expired flows removed.
    pub purged: u64,
    /// Refreshes and revocations that this pass began and did not wait for any longer. They go on by themselves.
    pub running: usize,
}

pub(crate) async fn pass(core: &Arc<Core>, limit: u32) -> Result<Maintenance, Error> {
    if core.sealer.restore_canary().await? {
        core.report(&Event::StorageEmptied);
    }
    core.ask_time().await?;
    refresh::import(core).await;
    let purged = core.stores.flows.purge_expired(core.now(), limit).await?;
    let (refreshes, revocations) =
        tokio::join!(work_off::<Refreshes>(core, limit), work_off::<Revocations>(core, limit));
    let (refreshes, revocations) = (refreshes?, revocations?);
    Ok(Maintenance {
        refreshed: refreshes.done,
        failed: refreshes.failed,
        revoked: revocations.done,
        still_owed: revocations.failed,
        purged,
        running: refreshes.running + revocations.running,
    })
}

/// One pass after the other until the vault closes. Neither an error nor a panic ends it.
pub(crate) async fn run(core: Arc<Core>) {
    while !core.tasks.is_closed() {
        let began = core.clock.monotonic();
        if let Ok(Err(error)) = core.tasks.guard(pass(&core, LIMIT)).await {
            tracing::warn!(%error, "maintenance pass failed");
        }
        let spent = core.clock.monotonic().saturating_sub(began);
        core.clock.sleep(PERIOD.saturating_sub(spent).max(REST)).await;
    }
}

struct Refreshes;

impl Due for Refreshes {
    type Item = ConnectionKey;
    type Id = ConnectionKey;

    fn id(key: &ConnectionKey) -> ConnectionKey {
        key.clone()
    }

    fn key(key: &ConnectionKey) -> &ConnectionKey {
        key
    }

    fn slots(core: &Core) -> &Slots {
        &core.refresh_slots
    }

    async fn scan(core: &Core, limit: u32) -> Result<Vec<ConnectionKey>, Error> {
        Ok(core.stores.connections.due(core.now(), limit).await?)
    }

    async fn run(core: Arc<Core>, key: ConnectionKey) -> Verdict {
        match refresh_due(&core, &key).await {
            Ok(()) => Verdict::Done,
            Err(_) => Verdict::Failed,
        }
    }
}

struct Revocations;

impl Due for Revocations {
    type Item = RevocationRecord;
    type Id = RevocationId;

    fn id(record: &RevocationRecord) -> RevocationId {
        record.id
    }

    fn key(record: &RevocationRecord) -> &ConnectionKey {
        &record.key
    }

    fn slots(core: &Core) -> &Slots {
        &core.revocation_slots
    }

    async fn scan(core: &Core, limit: u32) -> Result<Vec<RevocationRecord>, Error> {
        Ok(core.stores.connections.owed_due(core.now(), limit).await?)
    }

    async fn run(core: Arc<Core>, record: RevocationRecord) -> Verdict {
        match claim_and_settle(&core, record).await {
            Ok(Some(settled)) if settled.outcome != Disconnected::Pending => Verdict::Done,
            Ok(Some(settled)) if settled.asked().is_some() => Verdict::Hold,
            _ => Verdict::Failed,
        }
    }
}
