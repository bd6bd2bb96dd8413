//! The storage contract as tests.
//!
//! Each function here is one rule of [`vault_core::store`], as a check over a `&dyn` store, over
//! [`Stores`](vault_core::store::Stores), or over a [`Fixture`]. It panics when the store breaks the rule. [`conformance!`](crate::conformance!) turns them all into named tests of your backend:
//!
//! ```
//! use vault_core::store::Stores;
//! # use vault_memory::MemoryStore as MyStore;
//!
//! async fn my_store() -> Stores {
//!     Stores::from_backend(MyStore::new())
//! }
//! vault_testkit::conformance!(my_store);
//! # fn main() {}
//! ```
//!
//! The function is called once for each test. It answers with [`Stores`](vault_core::store::Stores), or with
//! `(Stores, guard)` when something, such as a temporary folder, must outlive the test, or with a [`Fixture`] that also says how to open another handle on the
//! same data: without that, the checks on two handles and on restarts only see clones, which proves little. The tests
//! draw tenants and identifiers at random and look at nothing else, so the stores may all be one, and several runs may
//! share it at once; what they leave behind is theirs alone, but it stays: use a store for tests.
//!
//! These are the rules one by one. [`differential`](crate::differential) looks for what they forget: it runs random
//! operations on two backends and demands the same answers.
//!
//! The races need threads: where you call a function yourself, do so on tokio's multi-thread runtime.
#![expect(clippy::missing_panics_doc, reason = "a check that fails panics; all of them do")]

pub mod cancel;
pub mod connections;
pub mod connectors;
pub mod deletion;
pub mod finishing;
mod fixture;
pub mod flows;
pub mod handles;
pub mod identifiers;
pub mod keys;
pub mod leases;
pub mod listing;
pub mod owed;
pub mod restart;
pub mod retries;
pub mod schedule;
pub mod sizes;
pub(crate) mod support;

pub use self::fixture::Fixture;

/// Makes a named `#[tokio::test]` of each check in [`conformance`](mod@crate::conformance), in the module where it
/// stands. The argument names an async function that makes the backend: see there. The crate that calls it needs `tokio`
/// with the features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance {
    ($backend:path) => {
        $crate::conformance!(@ $backend: connectors [
            connectors::a_connector_comes_back_as_it_was_put
            connectors::a_connector_put_is_compare_and_swap
            connectors::a_connector_name_is_unique_within_its_tenant
            connectors::a_race_for_a_connector_name_has_one_winner
            connectors::connectors_are_listed_page_by_page
            connectors::a_connector_listing_survives_inserts_and_deletes
            sizes::the_longest_identifiers_name_distinct_connectors
            identifiers::s06_hostile_identifiers_name_distinct_connectors
            cancel::s15_a_dropped_connector_put_is_whole_or_nothing
        ]);
        $crate::conformance!(@ $backend: connections [
            connections::a_connection_comes_back_as_it_was_put
            connections::a_connection_put_is_compare_and_swap
            connections::any_version_can_be_the_condition
            connections::conditional_increments_add_up
            connections::s16_a_race_to_create_has_one_winner
            deletion::a_version_does_not_outlive_its_record
            deletion::a_deleted_connection_is_gone_everywhere
            deletion::a_race_to_delete_has_one_winner
            sizes::large_values_come_back_whole
            sizes::the_longest_identifiers_name_distinct_connections
            leases::a_lease_on_nothing_is_absent
            leases::a_lease_is_held_until_released
            leases::a_holder_may_acquire_again
            leases::a_lease_lapses
            leases::only_a_live_lease_can_be_renewed
            leases::a_lease_can_be_looked_at
            leases::the_clock_is_that_of_the_leases
            leases::a_lease_of_any_length_is_granted
            leases::leases_and_writes_do_not_meet
            leases::a_lease_comes_with_the_record
            leases::a_write_can_release_a_lease
            leases::a_creation_releases_nothing
            leases::a_lease_is_released_together_with_the_write
            leases::a_lease_ends_with_its_record
            leases::a_race_for_a_lease_has_one_holder
            leases::fences_never_repeat
            listing::a_listing_shows_the_record_as_it_is
            listing::a_listing_keeps_to_its_filter
            listing::every_page_size_lists_everything_once
            listing::a_listing_survives_inserts_and_deletes
            listing::a_cursor_outlives_its_connection
            listing::a_listing_never_holds_a_credential
            listing::x01_a_long_listing_comes_in_bounded_pages
            schedule::the_longest_due_come_first
            schedule::a_leased_connection_is_not_due
            schedule::only_an_active_connection_is_due
            schedule::every_due_connection_is_found
            schedule::a_moved_due_time_is_the_one_that_counts
            owed::a_revocation_is_owed_only_if_the_write_happens
            owed::an_owed_revocation_is_rewritten_and_forgotten
            owed::a_race_to_rewrite_an_owed_revocation_has_one_winner
            owed::the_longest_owed_come_first
            owed::owed_revocations_are_listed_page_by_page
            owed::x05_settled_revocations_leave_nothing
            identifiers::s06_hostile_identifiers_name_distinct_connections
            identifiers::s06_keys_that_join_alike_stay_apart
            cancel::s15_a_dropped_put_is_whole_or_nothing
            cancel::s15_a_dropped_delete_is_whole_or_nothing
            cancel::s15_a_dropped_lease_call_leaves_a_working_lease
            cancel::s15_a_dropped_read_harms_nobody
        ]);
        $crate::conformance!(@ $backend: flows [
            flows::a_flow_is_taken_once
            flows::a_flow_is_never_overwritten
            flows::a_taken_flow_stays_until_it_is_finished
            flows::a_taken_flow_lives_until_it_was_told
            flows::a_cancel_reaches_taken_flows
            flows::a_race_to_cancel_and_to_finish_has_one_winner
            flows::a_race_to_take_a_flow_has_one_winner
            flows::the_cap_counts_an_owners_unexpired_flows
            flows::a_race_for_the_cap_stays_under_it
            flows::a_cancel_reaches_one_owners_flows
            flows::a_flow_may_be_expired_from_the_start
            flows::a_purge_removes_what_has_expired
            flows::x05_expired_flows_do_not_stay
            identifiers::s06_hostile_identifiers_keep_flows_apart
            sizes::the_longest_identifiers_keep_flows_apart
            cancel::s15_a_dropped_flow_call_is_whole_or_nothing
        ]);
        $crate::conformance!(@ $backend: keys [
            keys::key_scopes_do_not_meet
            keys::the_vaults_own_key_is_kept
            keys::a_key_put_is_compare_and_swap
            keys::a_race_to_create_a_key_has_one_winner
            keys::keys_are_listed_page_by_page
            identifiers::s06_hostile_identifiers_name_distinct_keys
            sizes::the_longest_identifiers_name_distinct_keys
            cancel::s15_a_dropped_key_put_is_whole_or_nothing
        ]);
        $crate::conformance!(@ $backend: stores [
            retries::s03_whichever_call_fails_a_retry_ends_with_one_effect
            finishing::a_write_ends_the_flow_that_it_comes_of
            finishing::a_write_that_conflicts_ends_no_flow
            finishing::a_flow_that_is_gone_forbids_the_write
            finishing::v06_a_cancel_keeps_a_connection_away_or_finds_it
            finishing::v06_a_cancel_reaches_a_flow_that_is_being_taken
            finishing::c08_a_race_of_two_flows_to_one_place_loses_neither
            finishing::s15_a_dropped_write_that_ends_a_flow_is_whole_or_nothing
        ]);
        $crate::conformance!(@ $backend: handles [
            handles::s16_two_handles_share_one_store
            handles::s16_two_handles_share_connectors
            handles::s16_two_handles_share_keys
            handles::a_flow_is_taken_once_across_handles
            handles::v06_a_delete_through_one_handle_is_seen_by_the_other
        ]);
        $crate::conformance!(@ $backend: restart [
            restart::acknowledged_writes_survive_a_reopen
            restart::fences_survive_a_reopen
        ]);
    };
    (@ $backend:path: $part_of:ident [$($part:ident::$check:ident)*]) => {$(
        #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let fixture = $crate::conformance::Fixture::from($backend().await);
            $crate::conformance::$part::$check($crate::conformance!(@@ $part_of fixture)).await;
        }
    )*};
    (@@ handles $fixture:ident) => {
        &$fixture
    };
    (@@ restart $fixture:ident) => {
        $fixture
    };
    (@@ stores $fixture:ident) => {
        &$fixture.stores
    };
    (@@ $store:ident $fixture:ident) => {
        &*$fixture.stores.$store
    };
}
