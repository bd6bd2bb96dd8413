//! What only a file can do, and the storage contract on a pool of the host's. `SqliteStore::open` against the contract is in
//! the workspace's `tests`, beside the other backends.

mod durability;
mod faults;
mod file;
mod schema;
mod support;

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
