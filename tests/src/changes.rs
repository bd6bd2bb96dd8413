//! Waiting for what a `ConnectionWatch` tells.

use std::time::Duration;

use tokio::time::timeout;
use vault_core::store::{Change, Changes, StoreErrorKind};

const PATIENCE: Duration = Duration::from_secs(30);

/// The next change, from a channel that works.
pub async fn next(changes: &mut Box<dyn Changes>) -> Change {
    timeout(PATIENCE, changes.next()).await.expect("in time").expect("the channel works")
}

/// Waits until the channel breaks, whatever it still tells, and says how. It stays broken.
pub async fn lost(changes: &mut Box<dyn Changes>) -> StoreErrorKind {
    let breaks = async {
        loop {
            if let Err(error) = changes.next().await {
                return error.kind();
            }
        }
    };
    let kind = timeout(PATIENCE, breaks).await.expect("in time");
    assert!(changes.next().await.is_err(), "it stays broken");
    kind
}
