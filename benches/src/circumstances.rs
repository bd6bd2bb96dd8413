//! What a run ran on.

use std::fs;
use std::process::Command;

use sqlx::{Connection as _, PgConnection};

use crate::servers::Servers;

/// Whose versions matter for the figures.
const CRATES: [&str; 10] = [
    "vault-core",
    "sqlx",
    "redis",
    "tokio",
    "ring",
    "chacha20poly1305",
    "blake3",
    "postcard",
    "quick_cache",
    "libsqlite3-sys",
];
const PEERS: [&str; 3] = ["tower-sessions-sqlx-store", "tower-sessions-redis-store", "fred"];

pub async fn of_this_run(servers: &Servers) -> Vec<(String, String)> {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let mut all = vec![
        ("commit", commit()),
        ("processors", format!("{cpus} x {model}")),
        ("memory", memory),
        ("system", said("uname", &["-sr"])),
        ("compiler", said("rustc", &["--version"])),
        ("crates", versions("Cargo.lock", &CRATES)),
        ("beside them", versions("benches/peers/Cargo.lock", &PEERS)),
    ];
    let mut postgres = PgConnection::connect(&servers.postgres).await.expect("the server is up");
    let version =
        sqlx::query_scalar("SELECT split_part(version(), ' on ', 1)").fetch_one(&mut postgres).await;
    all.push(("PostgreSQL", version.expect("a version")));
    let version = said("redis-server", &["--version"]);
    all.push(("Redis", version.split(' ').nth(2).unwrap_or_default().to_owned()));
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub fn commit() -> String {
    let changed = !said("git", &["status", "--porcelain", "--untracked-files=no", "--", ":!docs"]).is_empty();
    format!("{}{}", said("git", &["rev-parse", "--short=12", "HEAD"]), if changed { ", changed" } else { "" })
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

/// Out of a lock file, relative to the workspace.
fn versions(lock: &str, crates: &[&str]) -> String {
    let lock = fs::read_to_string(lock).unwrap_or_default();
    let version = |name: &&str| {
        let entry = lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1)?;
        Some(format!("{name} {}", entry.split('"').next()?))
    };
    crates.iter().filter_map(version).collect::<Vec<_>>().join(", ")
}
