//! The proof: every clause of the storage contract, and the same answers as the reference backend.

use custom_backend::RedbStore;
use vault_core::store::Stores;
use vault_memory::MemoryStore;
use vault_testkit::conformance::Fixture;

async fn backend() -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("vault.redb");
    let open = move || Stores::from_backend(RedbStore::open(&path).expect("a database"));
    Fixture::new(open()).keep(folder).reopen(move || std::future::ready(open()))
}

mod conformance {
    vault_testkit::conformance!(super::backend);
}

#[tokio::test]
async fn it_answers_as_memory_does() {
    let fixture = backend().await;
    let reference = Stores::from_backend(MemoryStore::new());
    vault_testkit::differential::agree(&reference, &fixture.stores, 15).await;
}
