//! Temporary folders, and whose they are.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, process};

use crate::{Result, packages};

/// The user that runs a program which refuses to be run by root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// User postgres when we are root; else nobody but ourselves.
    pub(crate) fn unprivileged() -> Result<Option<Self>> {
        if !packages::is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let postgres = users.lines().find_map(|line| line.strip_prefix("postgres:"));
        let mut ids =
            postgres.into_iter().flat_map(|rest| rest.split(':').skip(1)).map_while(|id| id.parse().ok());
        match (ids.next(), ids.next()) {
            (Some(uid), Some(gid)) => Ok(Some(Self { uid, gid })),
            _ => Err("there is no user postgres; root cannot run PostgreSQL".into()),
        }
    }

    pub(crate) fn runs(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// A temporary folder. It goes with this value.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new(name: &str, owner: Option<Account>) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let path = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = temporary().join(format!("vault-{}-{number}-{name}", process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("cannot make {}: {error}", path.display()).into()),
                Ok(()) => break path,
            }
        };
        let folder = Self { path };
        fs::set_permissions(&folder.path, Permissions::from_mode(0o755))?;
        if let Some(owner) = owner {
            chown(&folder.path, Some(owner.uid), Some(owner.gid))?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Unlike any other's.
    pub(crate) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The system's folder for temporary files, or `/tmp` where that one is root's alone.
fn temporary() -> PathBuf {
    let folder = env::temp_dir();
    let open =
        |folder: &Path| fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    if packages::is_root() && !folder.ancestors().all(open) { "/tmp".into() } else { folder }
}
