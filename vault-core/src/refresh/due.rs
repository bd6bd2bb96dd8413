use std::sync::Arc;

use super::outcome::put_off;
use super::read::goal;
use crate::clock::Timestamp;
use crate::connection::DEFAULT_AUDIENCE;
use crate::core::Core;
use crate::error::Error;
use crate::id::ConnectionKey;
use crate::store::{ConnectionRecord, ConnectionStatus};

/// For maintenance: refreshes the connection if it is still due, which another process may have seen to since the scan.
/// Whatever keeps it from being refreshed, it is put off, so that it does not stand in front of those behind it.
pub(crate) async fn refresh_due(core: &Arc<Core>, key: &ConnectionKey) -> Result<(), Error> {
    let refreshed = refresh(core, key).await;
    if let Err(error) = &refreshed
        && let Ok(Some(record)) = core.stores.connections.get(key).await
        && is_due(&record, core.now())
    {
        put_off(core, record, error).await;
    }
    refreshed
}

async fn refresh(core: &Arc<Core>, key: &ConnectionKey) -> Result<(), Error> {
    match core.load(key).await? {
        Some(loaded) if is_due(&loaded.record, core.now()) => {
            let (incarnation, generation) = (loaded.record.incarnation, loaded.record.generation);
            let goal = goal(key, incarnation, generation, DEFAULT_AUDIENCE, None);
            core.flights.join(core, goal, false).await.map(drop)
        }
        _ => Ok(()),
    }
}

fn is_due(record: &ConnectionRecord, now: Timestamp) -> bool {
    record.status == ConnectionStatus::Active && record.due_at.is_some_and(|due| due <= now)
}
