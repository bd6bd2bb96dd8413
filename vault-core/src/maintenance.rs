//! Work that nobody waits for: due refreshes, owed revocations, expired flows, and a look at whether the storage is there.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::ending::Outcome;
use crate::error::Error;
use crate::event::Event;
use crate::id::{ConnectionKey, RevocationId};
use crate::refresh::{self, refresh_due};
use crate::revocation::claim_and_settle;
use crate::store::RevocationRecord;
use crate::upkeep::{Due, Slots, Verdict, WIDEST, work_off};

/// From the beginning of one pass of the background loop to that of the next, unless there is more to do.
const PERIOD: Duration = Duration::from_secs(30);
/// But at least so long after the end of it.
const REST: Duration = Duration::from_secs(1);
/// What a pass of the background loop starts of each kind. A lower one would let a provider that hangs hold up others: of
/// those that fell due first, few run, and a pass that has reached its limit waits for them.
const LIMIT: u32 = WIDEST;
/// What one call removes of expired flows: a lock that the storage holds for it is a short one.
const PURGED_AT_ONCE: u32 = 500;

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
    /// Whether its limit or its time ended the pass: there may be more to do, and the next pass should come soon.
    pub more: bool,
}

pub(crate) async fn pass(core: &Arc<Core>, limit: u32) -> Result<Maintenance, Error> {
    if core.sealer.restore_canary().await? {
        core.report(&Event::StorageEmptied);
    }
    core.ask_time().await?;
    refresh::import(core).await;
    let purged = purge(core, limit).await?;
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
        more: refreshes.more || revocations.more || purged == u64::from(limit),
    })
}

async fn purge(core: &Core, limit: u32) -> Result<u64, Error> {
    let (mut purged, mut left) = (0, limit);
    while left > 0 {
        let wanted = left.min(PURGED_AT_ONCE);
        let gone = core.stores.flows.purge_expired(core.now(), wanted).await?;
        purged += gone;
        if gone < u64::from(wanted) {
            break;
        }
        left -= wanted;
    }
    Ok(purged)
}

/// One pass after the other until the vault closes. Neither an error nor a panic ends it.
pub(crate) async fn run(core: Arc<Core>) {
    while !core.tasks.is_closed() {
        let began = core.clock.monotonic();
        let done = core.tasks.guard(pass(&core, LIMIT)).await;
        if let Ok(Err(error)) = &done {
            tracing::warn!(%error, "maintenance pass failed");
        }
        let period = if matches!(done, Ok(Ok(done)) if done.more) { REST } else { PERIOD };
        let spent = core.clock.monotonic().saturating_sub(began);
        core.clock.sleep(period.saturating_sub(spent).max(REST)).await;
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
            Ok(Some(settled)) if settled.outcome != Outcome::Pending => Verdict::Done,
            Ok(Some(settled)) if settled.asked().is_some() => Verdict::Hold,
            _ => Verdict::Failed,
        }
    }
}
