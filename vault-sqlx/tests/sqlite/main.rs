//! `SqliteStore` against the storage contract, and what only a file can do.

mod durability;
mod faults;
mod file;
mod schema;
mod support;

use vault_core::store::Stores;
use vault_memory::MemoryStore;

mod contract {
    use vault_core::store::Stores;
    use vault_sqlx::SqliteStore;
    use vault_testkit::conformance::Fixture;

    async fn backend() -> Fixture {
        let (store, folder) = super::support::fresh().await;
        let path = folder.path().join("vault.db");
        Fixture::new(Stores::from_backend(store)).keep(folder).reopen(move || {
            let path = path.clone();
            async move { Stores::from_backend(SqliteStore::open(path).await.expect("the same database")) }
        })
    }
    vault_testkit::conformance!(backend);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_as_memory_does() {
    let (store, _folder) = support::fresh().await;
    let reference = Stores::from_backend(MemoryStore::new());
    vault_testkit::differential::agree(&reference, &Stores::from_backend(store), 50).await;
}

mod contract_on_a_hosts_pool {
    use sqlx::SqlitePool;
    use sqlx::sqlite::SqliteJournalMode;
    use tempfile::TempDir;
    use vault_core::store::Stores;
    use vault_sqlx::{SqliteStore, sqlx};

    async fn backend() -> (Stores, TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = super::support::options(&folder.path().join("host.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(std::time::Duration::from_secs(5));
        let store = SqliteStore::new(SqlitePool::connect_lazy_with(options));
        store.migrate().await.expect("an empty database");
        (Stores::from_backend(store), folder)
    }
    vault_testkit::conformance!(backend);
}

mod contract_through_a_fault_store_without_faults {
    use tempfile::TempDir;
    use vault_core::store::Stores;
    use vault_testkit::faults::FaultStore;

    async fn backend() -> (Stores, TempDir) {
        let (store, folder) = super::support::fresh().await;
        let faulty = FaultStore::new(Stores::from_backend(store));
        (faulty.stores(), folder)
    }
    vault_testkit::conformance!(backend);
}
