use tempfile::TempDir;
use vault_core::Stores;
use vault_sqlx::SqliteStore;

async fn backend() -> (Stores, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(folder.path().join("vault.db")).await.expect("a new database");
    (Stores::from_backend(store), folder)
}

vault_testkit::conformance!(backend);
