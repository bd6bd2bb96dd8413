use std::error::Error as _;

use vault_core::store::StoreErrorKind;
use vault_sqlx::SqliteStore;

use crate::support::{connection, insert};

#[cfg(unix)]
mod mode {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::support::fresh;

    #[tokio::test]
    async fn s12_what_it_creates_is_for_the_owner_alone() {
        let (store, folder) = fresh().await;
        insert(&store, &connection("alice", 1)).await.expect("works");
        let mut names = Vec::new();
        for entry in fs::read_dir(folder.path()).expect("a folder") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
            names.push(entry.file_name().into_string().expect("our names"));
        }
        names.sort();
        assert_eq!(names, ["vault.db", "vault.db-shm", "vault.db-wal"]);
    }

    #[tokio::test]
    async fn s12_a_file_that_others_can_open_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for mode in [0o644, 0o640, 0o604, 0o660, 0o602] {
            let path = folder.path().join(format!("{mode:o}.db"));
            fs::write(&path, b"").expect("writable");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");

            let error = SqliteStore::open(&path).await.expect_err("refused");
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
            let source = error.source().expect("a source").to_string();
            assert!(source.contains(path.to_str().expect("UTF-8")), "{source}");
            assert!(source.contains("chmod 600"), "{source}");
            assert_eq!(fs::read(&path).expect("readable"), b"", "left as it was");
        }
        let private = folder.path().join("private.db");
        fs::write(&private, b"").expect("writable");
        fs::set_permissions(&private, Permissions::from_mode(0o600)).expect("ours");
        SqliteStore::open(&private).await.expect("private");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nowhere").join("vault.db");
    let error = SqliteStore::open(&path).await.expect_err("no such folder");
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let source = error.source().expect("a source").to_string();
    assert!(source.contains(path.to_str().expect("UTF-8")), "{source}");
}

#[tokio::test]
async fn a_name_that_is_special_to_sqlite_is_a_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in [":memory:", "file:x?mode=memory", "a%20b#c.db"] {
        let path = folder.path().join(name);
        let store = SqliteStore::open(&path).await.expect("a file name");
        insert(&store, &connection("alice", 1)).await.expect("works");
        assert!(path.metadata().expect("a file").len() > 0, "{name}");
    }
}
