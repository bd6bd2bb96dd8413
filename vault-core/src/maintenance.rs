//! Work that nobody waits for: due refreshes, owed revocations, expired flows, and a look at whether the storage is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::core::Core;
use crate::disconnect;
use crate::error::Error;
use crate::event::Event;
use crate::refresh::{self, refresh_due};

/// Refreshes and revocations under way at once in one pass.
const AT_ONCE: usize = 8;
/// Between the passes of the background loop.
pub(crate) const PAUSE: Duration = Duration::from_secs(30);

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
}

pub(crate) async fn pass(core: &Arc<Core>, limit: u32) -> Result<Maintenance, Error> {
    let mut done = Maintenance::default();
    if core.sealer.restore_canary().await? {
        core.report(&Event::StorageEmptied);
    }
    refresh::import(core).await;
    let now = core.now();
    done.purged = core.stores.flows.purge_expired(now, limit).await?;

    let due = core.stores.connections.due(now, limit).await?;
    let refreshes = due.into_iter().map(|key| {
        let core = Arc::clone(core);
        async move { refresh_due(&core, &key).await.is_ok() }
    });
    let (refreshed, failed) = run(refreshes).await;
    (done.refreshed, done.failed) = (refreshed, failed);

    let owed = core.stores.connections.owed_due(now, limit).await?;
    let revocations = owed.into_iter().map(|record| {
        let core = Arc::clone(core);
        async move { disconnect::settle_due(&core, record).await.unwrap_or(false) }
    });
    (done.revoked, done.still_owed) = run(revocations).await;
    Ok(done)
}

/// Runs them, a few at a time; answers how many said yes and how many no.
async fn run<F>(work: impl Iterator<Item = F>) -> (usize, usize)
where
    F: Future<Output = bool> + Send + 'static,
{
    let (mut yes, mut no) = (0, 0);
    let mut running = JoinSet::new();
    let mut count = |done: Result<bool, _>| if done.unwrap_or(false) { yes += 1 } else { no += 1 };
    for future in work {
        if running.len() == AT_ONCE
            && let Some(done) = running.join_next().await
        {
            count(done);
        }
        running.spawn(future);
    }
    while let Some(done) = running.join_next().await {
        count(done);
    }
    (yes, no)
}
