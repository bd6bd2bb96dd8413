use vault_core::store::{StoreError, StoreErrorKind};

use crate::fault::store_error;

/// For `map_err`; `doing` says what was going on.
pub(super) fn fault(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| store_error(error, doing, kind_of)
}

/// By [`SQLSTATE`](https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn kind_of(code: &str) -> StoreErrorKind {
    match code {
        // read_only_sql_transaction: a standby, or a server that was told to take no writes
        "25006" => StoreErrorKind::ReadOnly,
        // query_canceled (statement_timeout), lock_not_available, too_many_connections
        "57014" | "55P03" | "53300" => StoreErrorKind::Busy,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        // duplicate_prepared_statement, invalid_sql_statement_name: a pooler between us and the server
        "42P05" | "26000" => StoreErrorKind::Misconfigured,
        _ => match code.get(..2) {
            // transaction_rollback: serialization_failure, deadlock_detected, but not statement_completion_unknown;
            // integrity_constraint_violation, by a race
            Some("40" | "23") if code != "40003" => StoreErrorKind::Busy,
            // data_exception
            Some("22") => StoreErrorKind::Corrupt,
            // invalid_authorization, invalid_catalog, invalid_schema, syntax_error_or_access_rule_violation,
            // feature_not_supported
            Some("28" | "3D" | "3F" | "42" | "0A") => StoreErrorKind::Misconfigured,
            // connection_exception, insufficient_resources (disk full), operator_intervention (shutdown), system_error
            // and the rest
            _ => StoreErrorKind::Unavailable,
        },
    }
}

/// Whether the statement was rolled back because of another transaction, and may do better next time.
pub(super) fn is_worth_repeating(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // serialization_failure, deadlock_detected, unique_violation (the other one's row was not to be seen yet)
    matches!(code.as_deref(), Some("40001" | "40P01" | "23505"))
}

/// Whether the connection is of no more use: it broke, or the server is ending it.
pub(super) fn is_of_connection(error: &sqlx::Error) -> bool {
    error.as_database_error().is_none_or(|error| {
        // connection_exception; admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout
        error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_codes_have_kinds() {
        use StoreErrorKind::{Busy, Corrupt, Misconfigured, ReadOnly, Unavailable};
        let cases = [
            ("25006", ReadOnly),
            ("40001", Busy),
            ("40P01", Busy),
            ("40003", Unavailable), // statement_completion_unknown: not Busy, which says that nothing was written
            ("57014", Busy),
            ("55P03", Busy),
            ("53300", Busy),
            ("57P01", Unavailable),   // admin_shutdown
            ("57P02", Unavailable),   // crash_shutdown
            ("57P03", Unavailable),   // cannot_connect_now
            ("53100", Unavailable),   // disk_full
            ("08006", Unavailable),   // connection_failure
            ("58030", Unavailable),   // io_error
            ("42P01", Misconfigured), // undefined_table
            ("28P01", Misconfigured), // invalid_password
            ("42501", Misconfigured), // insufficient_privilege
            ("XX001", Corrupt),
            ("", Unavailable),
        ];
        for (code, kind) in cases {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }
}
