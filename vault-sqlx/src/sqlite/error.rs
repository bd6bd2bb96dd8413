use vault_core::store::{StoreError, StoreErrorKind};

use crate::fault::store_error;

/// For `map_err`; `doing` says what was going on.
pub(super) fn fault(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| store_error(error, doing, kind_of)
}

/// By [result code](https://www.sqlite.org/rescode.html). sqlx gives the extended one; its low byte is the primary.
fn kind_of(code: &str) -> StoreErrorKind {
    match code.parse().map(|code: i32| code & 0xff) {
        // BUSY, LOCKED, PROTOCOL (lost a race for the write-ahead log too often)
        Ok(5 | 6 | 15) => StoreErrorKind::Busy,
        // READONLY
        Ok(8) => StoreErrorKind::ReadOnly,
        // CORRUPT, MISMATCH, CONSTRAINT, NOTADB
        Ok(11 | 19 | 20 | 26) => StoreErrorKind::Corrupt,
        // ERROR (such as a table that is not there), PERM, NOLFS, AUTH
        Ok(1 | 3 | 22 | 23) => StoreErrorKind::Misconfigured,
        // NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN and the rest
        _ => StoreErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_count_as_their_primary_code() {
        let cases = [
            ("5", StoreErrorKind::Busy),
            ("261", StoreErrorKind::Busy),        // BUSY_RECOVERY
            ("517", StoreErrorKind::Busy),        // BUSY_SNAPSHOT
            ("1032", StoreErrorKind::ReadOnly),   // READONLY_DBMOVED
            ("778", StoreErrorKind::Unavailable), // IOERR_WRITE
            ("13", StoreErrorKind::Unavailable),
            ("14", StoreErrorKind::Unavailable),
            ("26", StoreErrorKind::Corrupt),
            ("1", StoreErrorKind::Misconfigured),
            ("not a number", StoreErrorKind::Unavailable),
        ];
        for (code, kind) in cases {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }
}
