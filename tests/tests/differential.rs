//! Random operations: every backend answers as memory does.

#![expect(clippy::future_not_send, reason = "proptest's trees are not, and a test awaits in place")]

use vault_core::Stores;
use vault_memory::MemoryStore;
use vault_sqlx::SqliteStore;
use vault_testkit::differential;
use vault_tests::servers;

/// So many sequences of operations where a server is asked over the network.
const CASES: u32 = 30;

async fn agrees(subject: Stores, cases: u32) {
    let reference = Stores::from_backend(MemoryStore::new());
    differential::agree(&reference, &subject, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_answers_as_memory_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(folder.path().join("vault.db")).await.expect("a new database");
    agrees(Stores::from_backend(store), 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_answers_as_memory_does() {
    agrees(Stores::from_backend(servers::postgres().await), CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_behind_pgbouncer_answers_as_memory_does() {
    agrees(Stores::from_backend(servers::pgbouncer().await), CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_answers_as_memory_does() {
    agrees(Stores::from_backend(servers::redis("differential").await), CASES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_answers_as_memory_does() {
    agrees(Stores::from_backend(servers::redis_cluster("differential").await), CASES).await;
}
