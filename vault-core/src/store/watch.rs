use std::fmt;

use async_trait::async_trait;

use super::StoreError;

/// Tells other processes' changes of connections, so that what this one keeps of them in memory can be dropped: for
/// backends that can push.
#[async_trait]
pub trait ConnectionWatch: fmt::Debug + Send + Sync + 'static {
    /// Begins to listen.
    ///
    /// # Contract
    /// Whatever changes or removes a connection's credential, in any process, and is committed after this has returned,
    /// is told by [`Changes::next`], or that fails. Leases are no changes. A [`read`](super::ConnectionStore::read) that
    /// begins after a change was told finds it: where a replica answers reads, that one must have it first.
    ///
    /// # Errors
    /// When the channel cannot be set up.
    ///
    /// # Cancel safety
    /// A dropped future leaves nobody listening.
    async fn watch(&self) -> Result<Box<dyn Changes>, StoreError>;
}

/// A channel on which changes arrive. Dropping it ends it.
#[async_trait]
pub trait Changes: fmt::Debug + Send + 'static {
    /// The next change.
    ///
    /// # Errors
    /// When the channel broke, or may have, and changes were missed: everything that is kept must be dropped, and
    /// [`ConnectionWatch::watch`] called again. A channel that nobody serves any more fails within ten seconds, by a
    /// sign of life that the backend asks for.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped future loses no change.
    async fn next(&mut self) -> Result<Change, StoreError>;
}

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "listeners must handle every change")]
pub enum Change {
    /// The connection whose key has this [`digest`](crate::id::ConnectionKey::digest).
    Connection([u8; 32]),
    /// Any number of connections.
    Any,
}
