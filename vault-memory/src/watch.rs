use async_trait::async_trait;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use vault_core::id::ConnectionKey;
use vault_core::store::{Change, Changes, ConnectionWatch, StoreError, StoreErrorKind};

use crate::MemoryStore;

/// How many changes a listener may be behind before it has missed some.
pub(crate) const BACKLOG: usize = 1024;

impl MemoryStore {
    /// The connection of that key was written or removed.
    pub(crate) fn tell(&self, key: &ConnectionKey) {
        if self.shared.changes.receiver_count() > 0 {
            // Fails when the last listener has just left.
            let _ = self.shared.changes.send(Change::Connection(key.digest()));
        }
    }
}

#[async_trait]
impl ConnectionWatch for MemoryStore {
    async fn watch(&self) -> Result<Box<dyn Changes>, StoreError> {
        Ok(Box::new(Listener(self.shared.changes.subscribe())))
    }
}

#[derive(Debug)]
struct Listener(Receiver<Change>);

#[async_trait]
impl Changes for Listener {
    async fn next(&mut self) -> Result<Change, StoreError> {
        self.0.recv().await.map_err(|error| {
            let missed = match error {
                RecvError::Closed => "the store is gone",
                RecvError::Lagged(_) => "changes were missed",
            };
            StoreError::new(StoreErrorKind::Unavailable, missed)
        })
    }
}
