use std::path::Path;

use vault_core::Stores;
use vault_sqlx::SqliteStore;
use vault_testkit::conformance::Fixture;

async fn open(path: &Path) -> Stores {
    Stores::from_backend(SqliteStore::open(path).await.expect("the database opens"))
}

async fn backend() -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("vault.db");
    let reopen = {
        let path = path.clone();
        move || {
            let path = path.clone();
            async move { open(&path).await }
        }
    };
    Fixture::new(open(&path).await).reopen(reopen).keep(folder)
}

vault_testkit::conformance!(backend);
