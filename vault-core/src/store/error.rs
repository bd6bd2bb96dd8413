use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// A fault of a storage backend.
///
/// `Display` is one line without the source; the driver's own error is the source. Backends map their driver's codes
/// to a [`StoreErrorKind`], never by message text, and put no value of a record into the message.
#[derive(Debug, Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: &'static str,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// An error of that kind; `message` says in a few words what was being done.
    #[must_use]
    pub const fn new(kind: StoreErrorKind, message: &'static str) -> Self {
        Self { kind, message, source: None }
    }

    /// With the driver's error as its source.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What kind of fault it is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody mending anything by hand.
    ///
    /// ```
    /// use vault_core::store::{StoreError, StoreErrorKind};
    /// assert!(StoreError::new(StoreErrorKind::Busy, "locked").is_retryable());
    /// assert!(!StoreError::new(StoreErrorKind::Corrupt, "not a row of ours").is_retryable());
    /// ```
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Busy | StoreErrorKind::ReadOnly | StoreErrorKind::Unavailable)
    }

    /// Whether a write that failed so certainly did not happen, and may be tried again.
    pub(crate) const fn wrote_nothing(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Busy | StoreErrorKind::ReadOnly)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            StoreErrorKind::Busy | StoreErrorKind::ReadOnly | StoreErrorKind::Unavailable => {
                ErrorKind::StoreUnavailable
            }
            StoreErrorKind::Corrupt => ErrorKind::CorruptRecord,
            StoreErrorKind::Misconfigured | StoreErrorKind::SchemaTooNew => ErrorKind::InvalidConfig,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

/// Kinds of store fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Locked or overloaded: nothing was written.
    #[error("store busy")]
    Busy,
    /// What is stored is not what this backend writes.
    #[error("stored data is corrupt")]
    Corrupt,
    /// The backend is set up wrongly.
    #[error("store misconfigured")]
    Misconfigured,
    /// The server takes no writes now.
    #[error("store is read-only")]
    ReadOnly,
    /// The schema was written by a newer version of this crate.
    #[error("store schema is too new")]
    SchemaTooNew,
    /// Down, unreachable, full, or the connection broke: whether a write happened is unknown.
    #[error("store unavailable")]
    Unavailable,
}
