use redis::{ErrorKind, RedisError, ServerErrorKind};
use vault_core::store::{StoreError, StoreErrorKind};

/// For `map_err`; `doing` says what was going on.
pub(crate) fn fault(doing: &'static str) -> impl FnOnce(RedisError) -> StoreError {
    move |error| StoreError::new(kind_of(&error), doing).with_source(error)
}

fn kind_of(error: &RedisError) -> StoreErrorKind {
    match error.kind() {
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::Ask
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::Moved
            | ServerErrorKind::TryAgain => StoreErrorKind::Busy,
            ServerErrorKind::ReadOnly => StoreErrorKind::ReadOnly,
            ServerErrorKind::CrossSlot | ServerErrorKind::NoPerm => StoreErrorKind::Misconfigured,
            _ => StoreErrorKind::Unavailable,
        },
        ErrorKind::Extension => error.code().map_or(StoreErrorKind::Unavailable, kind_of_code),
        ErrorKind::AuthenticationFailed
        | ErrorKind::EmptySentinelList
        | ErrorKind::InvalidClientConfig
        | ErrorKind::RESP3NotSupported => StoreErrorKind::Misconfigured,
        ErrorKind::UnexpectedReturnType => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    }
}

/// The first word of an error that the driver has no name for.
fn kind_of_code(code: &str) -> StoreErrorKind {
    match code {
        // Another client's script runs.
        "BUSY" => StoreErrorKind::Busy,
        "NOAUTH" | "WRONGPASS" => StoreErrorKind::Misconfigured,
        // No disk to persist to; too few replicas to write to.
        "MISCONF" | "NOREPLICAS" => StoreErrorKind::ReadOnly,
        "WRONGTYPE" => StoreErrorKind::Corrupt,
        // OOM and whatever comes.
        _ => StoreErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_errors_are_told_apart_by_their_code() {
        let cases = [
            ("-BUSY running", StoreErrorKind::Busy),
            ("-LOADING the dataset", StoreErrorKind::Busy),
            ("-TRYAGAIN", StoreErrorKind::Busy),
            ("-CLUSTERDOWN", StoreErrorKind::Unavailable),
            ("-MASTERDOWN", StoreErrorKind::Unavailable),
            ("-OOM", StoreErrorKind::Unavailable),
            ("-READONLY", StoreErrorKind::ReadOnly),
            ("-MISCONF", StoreErrorKind::ReadOnly),
            ("-NOREPLICAS", StoreErrorKind::ReadOnly),
            ("-WRONGTYPE", StoreErrorKind::Corrupt),
            ("-NOAUTH", StoreErrorKind::Misconfigured),
            ("-WRONGPASS", StoreErrorKind::Misconfigured),
            ("-NOPERM", StoreErrorKind::Misconfigured),
            ("-CROSSSLOT", StoreErrorKind::Misconfigured),
            ("-WHATEVER comes", StoreErrorKind::Unavailable),
        ];
        for (line, kind) in cases {
            let reply = redis::parse_redis_value(format!("{line}\r\n").as_bytes());
            let error = reply.and_then(redis::Value::extract_error).expect_err("an error");
            assert_eq!(kind_of(&error), kind, "{line}");
        }
    }

    #[test]
    fn a_broken_connection_is_an_unavailable_store() {
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert_eq!(fault("asking")(error).kind(), StoreErrorKind::Unavailable);
    }
}
