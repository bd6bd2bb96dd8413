use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use vault_core::Stores;
use vault_core::clock::Timestamp;
use vault_core::store::ConnectionStore as _;
use vault_memory::MemoryStore;
use vault_testkit::clock::ManualClock;

use super::{Backend, searchable};

/// Nothing at rest, and by default a clock that the test moves.
#[derive(Debug)]
pub struct Memory(MemoryStore);

impl Memory {
    /// Empty.
    #[must_use]
    pub fn new(clock: &ManualClock) -> Self {
        Self(MemoryStore::with_clock(Arc::new(clock.clone())))
    }

    /// Empty, on the system's clock.
    #[must_use]
    pub fn on_system_clock() -> Self {
        Self(MemoryStore::new())
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> MemoryStore {
        self.0.clone()
    }
}

#[async_trait]
impl Backend for Memory {
    async fn open(&self) -> Stores {
        Stores::from_backend(self.0.clone())
    }

    async fn dump(&self) -> String {
        let mut dump = String::new();
        for key in self.0.due(Timestamp::from_millis(i64::MAX), u32::MAX).await.expect("memory works") {
            let record = self.0.get(&key).await.expect("memory works").expect("it is due");
            dump += &searchable([&record.summary[..], &record.credential, &record.refresh].concat());
        }
        dump + &format!("{:?}", self.0)
    }

    async fn sizes(&self) -> BTreeMap<String, u64> {
        let end = Timestamp::from_millis(i64::MAX);
        let due = self.0.due(end, u32::MAX).await.expect("memory works");
        let owed = self.0.owed_due(end, u32::MAX).await.expect("memory works");
        let mut sizes: BTreeMap<_, _> =
            [("due".to_owned(), due.len() as u64), ("owed".to_owned(), owed.len() as u64)].into();
        sizes.retain(|_, rows| *rows > 0);
        sizes
    }

    async fn bytes(&self) -> Option<u64> {
        None
    }

    async fn empty(&self) {
        unreachable!("a scenario in memory starts with nothing");
    }
}
