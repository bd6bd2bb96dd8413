//! Flows in Redis, everything else in PostgreSQL.

use vault_core::Stores;
use vault_testkit::conformance::Fixture;
use vault_tests::servers;

async fn open() -> Stores {
    let redis = Stores::from_backend(servers::redis("mixed").await);
    Stores { flows: redis.flows, ..Stores::from_backend(servers::postgres().await) }
}

async fn backend() -> Fixture {
    Fixture::new(open().await).reopen(open)
}

vault_testkit::conformance!(backend);
