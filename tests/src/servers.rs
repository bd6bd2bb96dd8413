//! Stores on the servers that `cargo xtask test` starts.

use sqlx::postgres::PgPoolOptions;
use vault_sqlx::{PostgresOptions, PostgresStore};

/// What `cargo xtask test` tells its tests.
///
/// # Panics
/// When it is not `cargo xtask test` that runs this.
#[must_use]
pub fn address(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run this by `cargo xtask test`"))
}

/// On the PostgreSQL server, in tables that all tests share.
pub async fn postgres() -> PostgresStore {
    let options = PostgresOptions::new().pool(small_pool());
    options.connect(&address("VAULT_TEST_POSTGRES")).await.expect("PostgreSQL works")
}

/// On the same server, through PgBouncer in transaction mode.
pub async fn pgbouncer() -> PostgresStore {
    let options = PostgresOptions::new().transaction_pooler().pool(small_pool());
    options.connect(&address("VAULT_TEST_PGBOUNCER")).await.expect("PgBouncer works")
}

/// Every test has its own, and they run beside each other.
fn small_pool() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(8)
}
