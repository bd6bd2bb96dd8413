use std::sync::{Arc, Weak};
use std::time::Duration;

use super::entry::OVERHEAD;
use super::*;
use crate::clock::Timestamp;
use crate::connection::an_opened;
use crate::error::ReauthReason;
use crate::id::{ConnectorId, Incarnation, Owner, Slot, TenantId, UserId};
use crate::store::ConnectionStatus;

const START: Reading =
    Reading { monotonic: Duration::from_secs(100), time: Timestamp::from_millis(1_000_000) };
const MAX_AGE: Duration = Duration::from_secs(30);

/// So long after the start.
fn later(span: Duration) -> Reading {
    Reading { monotonic: START.monotonic + span, time: START.time.saturating_add(span) }
}

fn cache() -> Cache {
    Cache::new(&TokenCache::new())
}

fn key(user: &str) -> ConnectionKey {
    ConnectionKey {
        tenant: TenantId::default(),
        owner: Owner::User(UserId::new(user).expect("valid")),
        connector: ConnectorId::new("connector").expect("valid"),
        slot: Slot::default(),
    }
}

/// A read that found that, with nothing in between.
fn read(cache: &Cache, user: &str, incarnation: u8, generation: u64) {
    let mark = cache.mark(&key(user), START);
    cache.keep(&key(user), mark, an_opened(incarnation, generation));
}

fn generation(cache: &Cache, user: &str) -> Option<u64> {
    cache.get(&key(user), START).map(|opened| opened.generation)
}

/// Others that are asked for more often take all places.
fn crowd_out(cache: &Cache) {
    for other in 0..100 {
        read(cache, &other.to_string(), 1, 1);
        generation(cache, &other.to_string());
        read(cache, &other.to_string(), 1, 1);
    }
}

fn watch_on(cache: &Cache, user: &str) -> Weak<Opened> {
    Arc::downgrade(&cache.get(&key(user), START).expect("it is there"))
}

#[test]
fn what_was_read_before_a_change_is_not_served_after_it() {
    type Happens = fn(&Cache);
    let changes: [Happens; 7] = [
        |cache| cache.forget(&key("alice")),
        |cache| cache.wrote(&key("alice"), What::Removed, START),
        |cache| {
            cache.wrote(
                &key("alice"),
                What::Written(Incarnation::from_bytes([1; 16]), 1, ConnectionStatus::Active),
                START,
            )
        },
        |cache| cache.told_of(&key("alice").digest()),
        Cache::told_of_any,
        |cache| cache.switch(false),
        |cache| [false, true].into_iter().for_each(|on| cache.switch(on)),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let cache = cache();
        read(&cache, "alice", 1, 1);
        assert_eq!(generation(&cache, "alice"), Some(1), "{n}");
        // A second read is under way.
        let mark = cache.mark(&key("alice"), START);
        change(&cache);
        assert_eq!(generation(&cache, "alice"), None, "{n}");
        let held = cache.keep(&key("alice"), mark, an_opened(1, 1));
        assert!(matches!(held, Held::Own(_)), "{n}");
        assert_eq!(generation(&cache, "alice"), None, "{n}");
    }
}

#[test]
fn a_generation_is_never_replaced_by_an_earlier_one_of_its_incarnation() {
    let cache = cache();
    read(&cache, "alice", 1, 3);
    read(&cache, "alice", 1, 2);
    assert_eq!(generation(&cache, "alice"), Some(3));
    read(&cache, "alice", 1, 4);
    assert_eq!(generation(&cache, "alice"), Some(4));
    // Another process may have connected anew.
    for kept in [None, Some(1)] {
        read(&cache, "alice", 2, 1);
        assert_eq!(generation(&cache, "alice"), kept);
    }
}

#[test]
fn v06_who_was_told_of_a_later_incarnation_or_none_is_not_served_the_earlier_one_again() {
    type Sees = fn(&Cache);
    let ways: [Sees; 4] = [
        |cache| read(cache, "alice", 2, 1),
        |cache| cache.found(&key("alice"), Some(&an_opened(2, 1))),
        |cache| cache.found(&key("alice"), Some(&an_opened(1, 2))),
        |cache| cache.found(&key("alice"), None),
    ];
    for (n, see) in ways.into_iter().enumerate() {
        // The earlier one is kept, or about to be, and no other process has told of the change yet.
        for kept in [false, true] {
            let cache = cache();
            if kept {
                read(&cache, "alice", 1, 1);
            }
            let mark = cache.mark(&key("alice"), START);
            see(&cache);
            cache.keep(&key("alice"), mark, an_opened(1, 1));
            let served = cache.get(&key("alice"), START);
            assert!(served.is_none(), "{n}, {kept}: {served:?}");
        }
    }
}

#[test]
fn v06_what_a_read_that_was_overtaken_showed_is_not_followed_by_what_was_before_it() {
    let cache = cache();
    let early = cache.mark(&key("alice"), START);
    // The marker of a refresh is told, its tokens are not yet.
    cache.told_of(&key("alice").digest());
    let late = cache.mark(&key("alice"), START);
    cache.keep(&key("alice"), early, an_opened(1, 2));
    cache.keep(&key("alice"), late, an_opened(1, 1));
    assert_eq!(generation(&cache, "alice"), None);
}

#[test]
fn what_others_find_leaves_what_is_kept_of_it_and_of_others() {
    let cache = cache();
    read(&cache, "alice", 1, 1);
    cache.found(&key("alice"), Some(&an_opened(1, 1)));
    cache.found(&key("bob"), None);
    assert_eq!(generation(&cache, "alice"), Some(1));
}

#[test]
fn what_a_replica_still_has_of_before_a_write_is_not_kept() {
    let cache = cache();
    cache.wrote(
        &key("alice"),
        What::Written(Incarnation::from_bytes([1; 16]), 3, ConnectionStatus::Active),
        START,
    );
    for (incarnation, older, kept) in [(1, 2, None), (2, 9, None), (1, 3, Some(3))] {
        read(&cache, "alice", incarnation, older);
        assert_eq!(generation(&cache, "alice"), kept);
    }
    cache.wrote(&key("alice"), What::Removed, START);
    read(&cache, "alice", 1, 4);
    assert_eq!(generation(&cache, "alice"), None);
    // A replica is not so far behind.
    let mark = cache.mark(&key("alice"), later(MAX_AGE));
    cache.keep(&key("alice"), mark, an_opened(3, 1));
    assert!(cache.get(&key("alice"), later(MAX_AGE)).is_some());
}

#[test]
fn a_replica_does_not_take_back_what_this_vault_has_marked() {
    let cache = cache();
    let marked = ConnectionStatus::NeedsReauthorization(ReauthReason::GrantRevoked);
    cache.wrote(&key("alice"), What::Written(Incarnation::from_bytes([1; 16]), 3, marked), START);
    for (older, kept) in [(3, None), (4, Some(4))] {
        read(&cache, "alice", 1, older);
        assert_eq!(generation(&cache, "alice"), kept);
    }
}

#[test]
fn what_a_read_brings_is_not_older_than_what_was_evicted_meanwhile() {
    let cache = Cache::new(&TokenCache::new().entries(8));
    let early = cache.mark(&key("alice"), START);
    read(&cache, "alice", 1, 4);
    assert!(cache.kept.peek(&key("alice")).is_some());
    crowd_out(&cache);
    assert_eq!(generation(&cache, "alice"), None);
    cache.keep(&key("alice"), early, an_opened(1, 3));
    assert_eq!(generation(&cache, "alice"), None);
}

#[test]
fn nothing_is_served_past_the_bound() {
    let cache = cache();
    read(&cache, "alice", 1, 1);
    let just_before = later(MAX_AGE - Duration::from_millis(1));
    assert!(cache.get(&key("alice"), just_before).is_some());
    assert!(cache.get(&key("alice"), later(MAX_AGE)).is_none());
}

#[test]
fn r13_the_bound_holds_for_a_machine_that_slept_and_for_a_clock_that_is_set_back() {
    let cache = cache();
    read(&cache, "alice", 1, 1);
    let slept = Reading { time: later(MAX_AGE).time, ..START };
    let set_back = Reading { time: START.time.saturating_sub(MAX_AGE), ..later(MAX_AGE) };
    for now in [slept, set_back] {
        assert!(cache.get(&key("alice"), now).is_none(), "{now:?}");
    }
    assert!(cache.get(&key("alice"), START).is_some());
}

#[test]
fn what_leaves_is_dropped_and_with_it_wiped() {
    type Leaves = fn(&Cache);
    let ways: [Leaves; 6] = [
        |cache| cache.forget(&key("alice")),
        |cache| cache.wrote(&key("alice"), What::Removed, START),
        Cache::told_of_any,
        |cache| cache.sweep(later(MAX_AGE)),
        |cache| {
            cache.told_of(&key("alice").digest());
            cache.sweep(START);
        },
        crowd_out,
    ];
    for (n, leave) in ways.into_iter().enumerate() {
        let cache = Cache::new(&TokenCache::new().entries(8));
        read(&cache, "alice", 1, 1);
        let kept = watch_on(&cache, "alice");
        assert!(kept.upgrade().is_some(), "{n}");
        leave(&cache);
        assert!(kept.upgrade().is_none(), "{n}");
    }
}

#[test]
fn entries_and_bytes_are_both_bounded() {
    let bytes = 8 * u64::try_from(OVERHEAD + an_opened(1, 1).bytes()).expect("small");
    let bounds = [TokenCache::new().entries(8), TokenCache::new().bytes(bytes)];
    for cache in bounds.map(|options| Cache::new(&options)) {
        for user in 0..100 {
            read(&cache, &user.to_string(), 1, 1);
        }
        assert!((1..=8).contains(&cache.kept.len()), "{}", cache.kept.len());
    }
}
