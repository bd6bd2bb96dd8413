//! `RedisStore` against real servers. `cargo xtask test` starts them and says in the environment where they are.

mod data;
mod settings;
mod support;

mod single {
    vault_testkit::conformance!(super::support::single);
}
mod cluster {
    vault_testkit::conformance!(super::support::cluster);
}
mod sentinel {
    vault_testkit::conformance!(super::support::sentinel);
}
