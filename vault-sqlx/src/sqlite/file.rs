//! The database file: made before SQLite opens it, so that nobody else ever can.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use vault_core::entropy::SystemEntropy;
use vault_core::id::AttemptId;
use vault_core::store::{StoreError, StoreErrorKind};

/// Creates the file for its owner alone, or checks that an existing one is.
pub(super) fn prepare(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => check(path, &metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => create(path),
        Err(error) => Err(refused("looking at the database file", path, &error)),
    }
}

/// SQLite's locks belong to the process, and closing any handle on the database file drops them all. Another thread may
/// have opened the database by the time that a handle of ours is closed, so what is opened here is not it yet.
fn create(path: &Path) -> Result<(), StoreError> {
    let doing = "creating the database file";
    let nonce = AttemptId::random(&SystemEntropy::default())
        .map_err(|error| StoreError::new(StoreErrorKind::Unavailable, doing).with_source(error))?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{nonce}"));
    let draft = Path::new(&draft);

    for_owner_alone().open(draft).map_err(|error| refused(doing, path, &error))?;
    let linked = fs::hard_link(draft, path);
    let removed = fs::remove_file(draft);
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => prepare(path),
        linked => linked.and(removed).map_err(|error| refused(doing, path, &error)),
    }
}

fn for_owner_alone() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn check(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let hint = format!("mode {mode:o} lets others in; run chmod 600");
    let error = io::Error::new(ErrorKind::PermissionDenied, hint);
    Err(refused("the database file is not private", path, &error))
}

#[cfg(not(unix))]
fn check(_: &Path, _: &Metadata) -> Result<(), StoreError> {
    Ok(())
}

fn refused(doing: &'static str, path: &Path, error: &io::Error) -> StoreError {
    let named = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    StoreError::new(StoreErrorKind::Misconfigured, doing).with_source(named)
}
