use vault_core::Stores;
use vault_tests::servers;

async fn backend() -> Stores {
    Stores::from_backend(servers::pgbouncer().await)
}

vault_testkit::conformance!(backend);
