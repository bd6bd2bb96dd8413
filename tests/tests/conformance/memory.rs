use vault_core::Stores;
use vault_memory::MemoryStore;

async fn backend() -> Stores {
    Stores::from_backend(MemoryStore::new())
}

vault_testkit::conformance!(backend);
