//! The programs that we run, and how Debian installs them.

use std::ffi::OsStr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use crate::Result;

/// PostgreSQL's oldest version that the vault supports.
const OLDEST_POSTGRES: u32 = 13;
/// Debian keeps PostgreSQL's programs in a folder for each version, outside of PATH.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";
/// An ordinary user's PATH has no folders of an administrator.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];
/// Debian asks this program, when there is one, before it starts the service of a package.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs from Debian's packages whatever of PostgreSQL, `PgBouncer` and Redis this machine lacks. For that it needs
/// root on Debian.
pub fn install() -> Result<()> {
    let missing: Vec<&str> = [
        (postgres().is_err(), "postgresql"),
        (pgbouncer().is_err(), "pgbouncer"),
        (redis().is_err(), "redis-server"),
    ]
    .iter()
    .filter_map(|(missing, package)| missing.then_some(*package))
    .collect();
    if !missing.is_empty() {
        apt_install(&missing)?;
    }
    postgres().and(pgbouncer()).and(redis()).map(drop)
}

/// Installs Debian's packages, and starts none of their services.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if !is_root() || !has_apt() {
        return Err(format!("this machine lacks {names} (packages of Debian): install them").into());
    }
    eprintln!("installing Debian's {names}");
    let _policy = Policy::start_nothing()?;
    // An unreachable third-party source fails the update, and need not matter.
    let _ = apt_get(&["update"]);
    apt_get(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

/// The folder of PostgreSQL's programs: of Debian's newest version, else the one on PATH.
pub(crate) fn postgres() -> Result<PathBuf> {
    let versions =
        fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter(|folder| folder.join("bin/postgres").exists()).max_by_key(number);
    let on_path = || on_path("postgres")?.parent().map(Path::to_owned);
    let found = newest.map(|folder| folder.join("bin")).or_else(on_path);
    let folder = found.ok_or("PostgreSQL is not installed (Debian's package postgresql)")?;
    match major_version(folder.join("postgres")) {
        Some(version) if version >= OLDEST_POSTGRES => Ok(folder),
        _ => Err(format!("{} holds no PostgreSQL {OLDEST_POSTGRES} or newer", folder.display()).into()),
    }
}

/// PostgreSQL's own load generator, which comes with the server.
pub fn pgbench() -> Result<PathBuf> {
    Ok(postgres()?.join("pgbench"))
}

pub(crate) fn pgbouncer() -> Result<PathBuf> {
    on_path("pgbouncer").ok_or_else(|| "PgBouncer is not installed (Debian's package pgbouncer)".into())
}

pub(crate) fn redis() -> Result<PathBuf> {
    on_path("redis-server").ok_or_else(|| "Redis is not installed (Debian's package redis-server)".into())
}

/// Whether we run as root.
#[must_use]
pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn has_apt() -> bool {
    Command::new("apt-get").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut apt_get = Command::new("apt-get");
    apt_get.args(["-qq", "-o", "DPkg::Lock::Timeout=300"]).args(args);
    apt_get.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    let status = apt_get.status()?;
    if status.success() { Ok(()) } else { Err(format!("apt-get {} failed: {status}", args.join(" ")).into()) }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15.
fn major_version(program: impl AsRef<OsStr>) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    let (_, version) = version.split_once("(PostgreSQL) ")?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Lets Debian start no service, until dropped.
struct Policy;

impl Policy {
    /// `None` when the machine has a policy of its own.
    fn start_nothing() -> Result<Option<Self>> {
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(format!("cannot make {POLICY}: {error}").into()),
            Ok(mut file) => {
                let policy = Self;
                io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n")?;
                Ok(Some(policy))
            }
        }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(POLICY) {
            eprintln!("cannot remove {POLICY}: {error}");
        }
    }
}
