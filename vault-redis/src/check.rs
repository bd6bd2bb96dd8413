//! What a server must be before it is given records to keep.

use vault_core::store::{StoreError, StoreErrorKind};

/// Which of the requirements the host has waived.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waived {
    pub(crate) eviction: bool,
    pub(crate) persistence: bool,
}

const OLDEST: (u32, u32) = (6, 2);

/// Judges a server by its `INFO`. `CONFIG GET` would say as much, but managed services refuse it.
pub(crate) fn check(info: &str, waived: Waived) -> Result<(), StoreError> {
    let value =
        |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
    if value("redis_version").and_then(version).is_some_and(|version| version < OLDEST) {
        return Err(refused("the server is older than Redis 6.2"));
    }
    if !waived.eviction && value("maxmemory_policy") != Some("noeviction") {
        return Err(refused(
            "maxmemory-policy lets the server evict records: set it to noeviction, \
             or accept that by danger_accept_eviction",
        ));
    }
    if !waived.persistence && value("aof_enabled") != Some("1") {
        return Err(refused(
            "appendonly is off and a restart would lose records: set it to yes, \
             or accept that by danger_accept_no_persistence",
        ));
    }
    Ok(())
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(crate) const fn refused(why: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\n\
                        maxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n";
    const ALL: Waived = Waived { eviction: true, persistence: true };

    fn refusal(info: &str, waived: Waived) -> Option<String> {
        let error = check(info, waived).err()?;
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
        Some(error.to_string())
    }

    #[test]
    fn s07_a_server_that_keeps_everything_is_accepted() {
        assert_eq!(refusal(GOOD, Waived::default()), None);
    }

    #[test]
    fn s07_a_server_that_evicts_is_refused_unless_that_is_waived() {
        for policy in ["allkeys-lru", "volatile-ttl"] {
            let info = GOOD.replace("noeviction", policy);
            let why = refusal(&info, Waived { eviction: false, ..ALL }).expect("refused");
            assert!(why.contains("maxmemory-policy") && why.contains("danger_accept_eviction"), "{why}");
            assert_eq!(refusal(&info, Waived { eviction: true, persistence: false }), None);
        }
    }

    #[test]
    fn s07_a_server_without_persistence_is_refused_unless_that_is_waived() {
        let info = GOOD.replace("aof_enabled:1", "aof_enabled:0");
        let why = refusal(&info, Waived { persistence: false, ..ALL }).expect("refused");
        assert!(why.contains("appendonly") && why.contains("danger_accept_no_persistence"), "{why}");
        assert_eq!(refusal(&info, Waived { eviction: false, persistence: true }), None);
    }

    #[test]
    fn s07_a_server_that_does_not_tell_is_refused_unless_that_is_waived() {
        assert!(refusal("redis_version:7.0.15\r\n", Waived::default()).is_some());
        assert_eq!(refusal("redis_version:7.0.15\r\n", ALL), None);
    }

    #[test]
    fn a_server_too_old_for_the_commands_is_refused() {
        let old = GOOD.replace("7.0.15", "6.0.16");
        assert_eq!(
            refusal(&old, ALL).as_deref(),
            Some("store misconfigured: the server is older than Redis 6.2")
        );
        assert_eq!(refusal(&GOOD.replace("7.0.15", "6.2.0"), Waived::default()), None);
        assert_eq!(refusal(&GOOD.replace("7.0.15", "10.0.0"), Waived::default()), None);
    }
}
