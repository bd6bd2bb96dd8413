//! Many processes on one storage, killed, stopped and cut off. `cargo xtask chaos` runs the long form of each and prints a
//! table; what is ignored here runs only there.

pub(crate) mod clocks;
mod kills;
mod outages;
mod peer;
mod starts;
mod stops;
pub(crate) mod storms;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_worker");

/// The scenarios of one backend. One that is `ignore` belongs to the long form alone.
macro_rules! backend {
    ($module:ident, $kind:ident: $($scenarios:ident::$test:ident $(: $ignore:ident)?;)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                $(#[$ignore = "the long form: cargo xtask chaos"])?
                async fn $test() {
                    let tally = super::$scenarios::$test(vault_tests::chaos::Kind::$kind).await;
                    tally.report(stringify!($module), stringify!($test));
                }
            )*
        }
    };
}

backend! { sqlite, Sqlite:
    starts::s13_four_processes_start_at_once_on_nothing;
    storms::r02_eight_processes_send_once_per_generation;
    storms::r02_a_thousand_readers_in_each_of_four_processes_cause_one_request;
    kills::s14_killed_at_every_step_of_a_refresh;
    kills::s14_killed_at_every_step_of_a_refusal;
    kills::s14_killed_at_every_step_of_a_connect;
    kills::s14_killed_at_every_step_of_a_disconnect;
    kills::s14_killed_at_every_step_of_a_rotation;
    kills::r04_r05_killed_with_the_reply_on_its_way;
    stops::r25_stopped_before_it_sent;
    stops::r07_stopped_with_the_reply_in_hand;
    stops::r07_stopped_with_the_reply_on_its_way;
    outages::s02_store_restarted_while_a_reply_is_in_flight;
    outages::r18_provider_down_for_hours;
    clocks::r12_clocks_ten_minutes_apart;
}
backend! { postgres, Postgres:
    starts::s13_four_processes_start_at_once_on_nothing;
    storms::r02_eight_processes_send_once_per_generation;
    storms::r02_a_thousand_readers_in_each_of_four_processes_cause_one_request: ignore;
    kills::s14_killed_at_every_step_of_a_refresh;
    kills::s14_killed_at_every_step_of_a_refusal: ignore;
    kills::s14_killed_at_every_step_of_a_connect: ignore;
    kills::s14_killed_at_every_step_of_a_disconnect: ignore;
    kills::s14_killed_at_every_step_of_a_rotation: ignore;
    kills::r04_r05_killed_with_the_reply_on_its_way: ignore;
    stops::r25_stopped_before_it_sent: ignore;
    stops::r07_stopped_with_the_reply_in_hand: ignore;
    stops::r07_stopped_with_the_reply_on_its_way: ignore;
    outages::s02_store_restarted_while_a_reply_is_in_flight;
    outages::r18_provider_down_for_hours: ignore;
    clocks::r12_clocks_ten_minutes_apart: ignore;
    peer::a_real_provider_through_random_kills;
}
backend! { redis, Redis:
    starts::s13_four_processes_start_at_once_on_nothing;
    storms::r02_eight_processes_send_once_per_generation;
    storms::r02_a_thousand_readers_in_each_of_four_processes_cause_one_request: ignore;
    kills::s14_killed_at_every_step_of_a_refresh;
    kills::s14_killed_at_every_step_of_a_refusal: ignore;
    kills::s14_killed_at_every_step_of_a_connect: ignore;
    kills::s14_killed_at_every_step_of_a_disconnect: ignore;
    kills::s14_killed_at_every_step_of_a_rotation: ignore;
    kills::r04_r05_killed_with_the_reply_on_its_way: ignore;
    stops::r25_stopped_before_it_sent: ignore;
    stops::r07_stopped_with_the_reply_in_hand: ignore;
    stops::r07_stopped_with_the_reply_on_its_way: ignore;
    outages::s02_store_restarted_while_a_reply_is_in_flight;
    outages::r18_provider_down_for_hours: ignore;
    clocks::r12_clocks_ten_minutes_apart: ignore;
}
backend! { redis_cluster, RedisCluster:
    starts::s13_four_processes_start_at_once_on_nothing: ignore;
    storms::r02_eight_processes_send_once_per_generation;
    storms::r02_a_thousand_readers_in_each_of_four_processes_cause_one_request: ignore;
    kills::s14_killed_at_every_step_of_a_refresh: ignore;
    kills::s14_killed_at_every_step_of_a_refusal: ignore;
    kills::s14_killed_at_every_step_of_a_connect: ignore;
    kills::s14_killed_at_every_step_of_a_disconnect: ignore;
    kills::s14_killed_at_every_step_of_a_rotation: ignore;
    kills::r04_r05_killed_with_the_reply_on_its_way: ignore;
    stops::r25_stopped_before_it_sent: ignore;
    stops::r07_stopped_with_the_reply_in_hand: ignore;
    stops::r07_stopped_with_the_reply_on_its_way: ignore;
    outages::s02_store_restarted_while_a_reply_is_in_flight: ignore;
    outages::r18_provider_down_for_hours: ignore;
    clocks::r12_clocks_ten_minutes_apart: ignore;
}
