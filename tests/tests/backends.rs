//! The whole vault on every backend: what the storage does to it, and what it leaves in the storage. Each scenario has
//! tables or keys of its own, and ends with a search of them for its secrets.

mod damage;
mod growth;
mod indexes;
mod life;
mod lost;
mod outage;

/// A test of each scenario, or of those named.
macro_rules! scenarios {
    ($backend:expr) => {
        $crate::backends::scenarios!($backend; [
            damage::s04_a_credential_that_is_cut_or_noise_is_corrupt_and_nobody_else_notices
            damage::s05_an_unknown_version_or_suite_is_named_and_left_alone
            damage::s08_storage_that_was_emptied_is_not_connected_and_nothing_panics
            damage::the_search_for_secrets_finds_what_is_stored
            life::a_whole_life_leaves_nothing_but_what_is_owed
            life::v06_a_disconnect_holds_for_every_process_at_once
            lost::s02_tokens_that_cannot_be_stored_are_held_and_stored_later
            lost::s03_a_refresh_whose_acknowledgement_was_lost_is_recognised
            lost::s03_whichever_acknowledgement_is_lost_a_connect_is_whole_or_nothing
            lost::s03_whichever_acknowledgement_is_lost_a_disconnect_ends_the_grant
        ]);
    };
    ($backend:expr; [$($module:ident::$scenario:ident)*]) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $scenario() {
            $crate::backends::$module::$scenario(std::sync::Arc::new($backend)).await;
        }
    )*};
}
use scenarios;

mod mixed {
    super::scenarios!(vault_tests::backend::Mixed::new());
    super::scenarios!(vault_tests::backend::Mixed::new(); [
        growth::x05_what_has_come_and_gone_leaves_the_storage_as_it_was
    ]);
}

mod pgbouncer {
    super::scenarios!(vault_tests::backend::PostgresSchema::through_pgbouncer());
}

mod postgres {
    super::scenarios!(vault_tests::backend::PostgresSchema::new());
    super::scenarios!(vault_tests::backend::PostgresSchema::new(); [
        growth::x05_what_has_come_and_gone_leaves_the_storage_as_it_was
    ]);
}

mod redis {
    super::scenarios!(vault_tests::backend::RedisKeys::new());
    super::scenarios!(vault_tests::backend::RedisKeys::new(); [
        growth::x05_what_has_come_and_gone_leaves_the_storage_as_it_was
    ]);
}

mod redis_cluster {
    super::scenarios!(vault_tests::backend::RedisKeys::cluster());
}

mod redis_sentinel {
    super::scenarios!(vault_tests::backend::RedisKeys::sentinel());
}

mod sqlite {
    super::scenarios!(vault_tests::backend::SqliteFile::new());
    super::scenarios!(vault_tests::backend::SqliteFile::new(); [
        growth::x05_what_has_come_and_gone_leaves_the_storage_as_it_was
    ]);
}
