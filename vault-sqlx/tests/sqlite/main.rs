//! `SqliteStore` against the storage contract, and what only a file can do.

use tempfile::TempDir;
use vault_core::store::Stores;
use vault_sqlx::SqliteStore;

async fn fresh() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(folder.path().join("vault.db"))
        .await
        .expect("a new database");
    (store, folder)
}

mod contract {
    use super::*;

    async fn backend() -> (Stores, TempDir) {
        let (store, folder) = fresh().await;
        (Stores::from_backend(store), folder)
    }
    vault_testkit::conformance!(backend);
}
