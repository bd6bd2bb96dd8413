//! Stores a connection in a file and lists what is there. Run it twice: it is there the second time.

use std::time::SystemTime;

use custom_backend::RedbStore;
use vault_core::id::{ConnectionKey, ConnectorId, Incarnation, Owner, Slot, TenantId};
use vault_core::store::{
    Condition, ConnectionFilter, ConnectionRecord, ConnectionStatus, ConnectionStore, Page, Put, Version,
};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it shows something")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = RedbStore::open(std::env::temp_dir().join("vault-custom-backend.redb"))?;
    let (tenant, now) = (TenantId::default(), SystemTime::now().into());
    let key = ConnectionKey {
        tenant: tenant.clone(),
        owner: Owner::Shared,
        connector: ConnectorId::new("calendar")?,
        slot: Slot::default(),
    };
    let record = ConnectionRecord {
        key,
        version: Version::from_i64(1),
        incarnation: Incarnation::from_bytes([1; 16]),
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: None,
        expires_at: None,
        created_at: now,
        updated_at: now,
        summary: Vec::new(),
        credential: b"sealed by the vault".to_vec(),
        refresh: Vec::new(),
    };
    match store.put(&record, Condition::Absent, None).await? {
        Put::Written => println!("stored it"),
        Put::Conflict(_) => println!("it was there already"),
    }
    let filter = ConnectionFilter { tenant, owner: None, connector: None };
    for listed in store.list(&filter, &Page::first(10)).await?.items {
        println!("{}, since {:?}", listed.key, SystemTime::from(listed.created_at));
    }
    Ok(())
}
