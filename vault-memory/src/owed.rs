use std::collections::BTreeSet;

use vault_core::clock::Timestamp;
use vault_core::id::{ConnectionKey, Owner, RevocationId, TenantId};
use vault_core::store::{Page, Paged, RevocationRecord, Version};

use crate::table::{Path, Table, owner_path, page, path};

/// Owed revocations.
#[derive(Default)]
pub(crate) struct Owed {
    rows: Table<RevocationRecord>,
    /// Where they lie, earliest first.
    due: BTreeSet<(Timestamp, Path)>,
}

fn owed_path(key: &ConnectionKey, id: RevocationId) -> Path {
    let mut full = owner_path(&key.tenant, &key.owner);
    full.extend_from_slice(id.as_bytes());
    full
}

impl Owed {
    pub(crate) fn put(&mut self, record: &RevocationRecord) {
        self.remove(&record.key, record.id);
        let path = owed_path(&record.key, record.id);
        self.due.insert((record.due_at, path.clone()));
        self.rows.insert(path, record.clone());
    }

    pub(crate) fn update(&mut self, record: &RevocationRecord, version: Version) -> bool {
        let there = self.rows.get(&owed_path(&record.key, record.id));
        let stands = there.is_some_and(|there| there.version == version);
        if stands {
            self.put(record);
        }
        stands
    }

    pub(crate) fn remove(&mut self, key: &ConnectionKey, id: RevocationId) {
        let path = owed_path(key, id);
        if let Some(there) = self.rows.remove(&path) {
            self.due.remove(&(there.due_at, path));
        }
    }

    pub(crate) fn due(&self, before: Timestamp, limit: usize) -> Vec<RevocationRecord> {
        let due = self.due.iter().take_while(|(at, _)| *at <= before).take(limit);
        due.filter_map(|(_, path)| self.rows.get(path)).cloned().collect()
    }

    pub(crate) fn list(
        &self,
        tenant: &TenantId,
        owner: Option<&Owner>,
        wanted: &Page,
    ) -> Paged<RevocationRecord> {
        let prefix = match owner {
            Some(owner) => owner_path(tenant, owner),
            None => path([tenant.as_str()]),
        };
        page(&self.rows, &prefix, wanted, |owed| Some(owed.clone()))
    }
}
