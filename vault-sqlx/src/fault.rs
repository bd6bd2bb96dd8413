//! Driver errors as store errors: what does not depend on the database.

use vault_core::store::{StoreError, StoreErrorKind};

/// Maps by the kind of error and, for the database's own, by `kind_of` its code. `doing` says what was going on.
pub(crate) fn store_error(
    error: sqlx::Error,
    doing: &'static str,
    kind_of: impl Fn(&str) -> StoreErrorKind,
) -> StoreError {
    use sqlx::Error;
    let kind = match &error {
        Error::Database(error) => error.code().map_or(StoreErrorKind::Unavailable, |code| kind_of(&code)),
        Error::Configuration(_) | Error::InvalidArgument(_) | Error::Tls(_) => StoreErrorKind::Misconfigured,
        Error::ColumnDecode { .. }
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::Decode(_)
        | Error::Encode(_)
        | Error::RowNotFound
        | Error::TypeNotFound { .. } => StoreErrorKind::Corrupt,
        // Io, PoolClosed, PoolTimedOut, Protocol, WorkerCrashed and whatever comes: the store cannot be reached.
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, doing).with_source(error)
}

/// A column that does not hold what the schema says.
pub(crate) fn undecodable(error: sqlx::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "reading a column").with_source(error)
}
