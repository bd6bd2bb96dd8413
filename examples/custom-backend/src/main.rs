//! Notes each of its runs in a file, and lists them all. Run it twice.

use custom_backend::RedbStore;
use vault_core::id::TenantId;
use vault_core::store::{Condition, KeyRecord, KeyScope, KeyStore, Page, Version};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it shows something")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = RedbStore::open(std::env::temp_dir().join("custom-backend.redb"))?;
    let scope = KeyScope::Tenant(TenantId::new(format!("run {}", std::process::id()))?);
    let record = KeyRecord { scope, version: Version::from_i64(1), wrapped: b"sealed".to_vec() };
    println!("{:?}", store.put(&record, Condition::Absent).await?);
    for record in store.list(&Page::first(100)).await?.items {
        println!("{:?} at {:?}", record.scope, record.version);
    }
    Ok(())
}
