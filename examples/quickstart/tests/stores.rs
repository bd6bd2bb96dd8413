//! `--store`: the script on each backend, twice.

use std::path::Path;

use vault_servers::cluster::RedisCluster;
use vault_servers::postgres::{self, Postgres};
use vault_servers::redis::{self, Redis};

use crate::program::{assert_unmarked, run};

fn script(folder: &Path, store: &str) -> String {
    let output = run(folder, &["--script", "--store", store]);
    let shown = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert_unmarked(&shown);
    assert!(shown.contains("found      none"), "{shown}");
    shown
}

fn twice(store: &str, named: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let first = script(folder.path(), store);
    assert!(first.contains(&format!("storage    {named}")), "no `{named}` in\n{first}");
    let second = script(folder.path(), store);
    assert!(second.contains("Find Bob's connection"), "{second}");
    assert!(!folder.path().join("vault.db").exists());
}

#[test]
fn memory_forgets() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let shown = script(folder.path(), "memory");
        assert!(shown.contains("What was in memory is gone now"), "{shown}");
    }
}

#[test]
fn postgres_keeps() {
    let server = Postgres::start(&postgres::Options::fast()).expect("PostgreSQL starts");
    twice(&server.url(), "PostgreSQL at 127.0.0.1:");
}

#[test]
fn redis_keeps() {
    let server = Redis::start(&redis::Options::default()).expect("Redis starts");
    twice(&server.url(), "Redis at 127.0.0.1:");
}

#[test]
fn redis_cluster_keeps() {
    let cluster = RedisCluster::start(&redis::Options::default()).expect("the cluster starts");
    let urls = cluster.urls();
    let nodes: Vec<_> =
        urls.iter().map(|url| url.trim_start_matches("redis://").trim_end_matches('/')).collect();
    twice(&format!("redis-cluster://{}", nodes.join(",")), "Redis Cluster at 127.0.0.1:");
}

#[test]
fn an_unknown_store_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(folder.path(), &["--store", "mysql://localhost"]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("--store is one of"), "{said}");
}
