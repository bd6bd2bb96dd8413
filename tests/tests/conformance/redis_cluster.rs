use vault_core::Stores;
use vault_testkit::conformance::Fixture;
use vault_tests::servers;

async fn open() -> Stores {
    Stores::from_backend(servers::redis_cluster("conformance").await)
}

async fn backend() -> Fixture {
    Fixture::new(open().await).reopen(open)
}

vault_testkit::conformance!(backend);
