use async_trait::async_trait;
use vault_core::store::{Condition, KeyRecord, KeyScope, KeyStore, Page, Paged, Put, StoreError};

use crate::link::Effect;
use crate::names::{Kind, entry, key_id};
use crate::store::{Also, Entry, Outcome, When};
use crate::{RedisStore, record};

#[async_trait]
impl KeyStore for RedisStore {
    async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>, StoreError> {
        let name = self.key_name(scope);
        let mut get = redis::cmd("HGET");
        get.arg(&name).arg("record");
        let record: Option<Vec<u8>> =
            self.shared.link.run("getting a data key", &name, get, Effect::Read).await?;
        record.map(|record| record::key(&record)).transpose()
    }

    async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put, StoreError> {
        let entry = Entry {
            key: self.key_name(&record.scope),
            moving: None,
            fixed: entry::key(&record.scope),
            fields: vec![
                ("version", record.version.as_i64().to_string().into_bytes()),
                ("record", record::from_key(record)),
            ],
        };
        let shard = self.shared.names.shard_of_scope(&record.scope);
        match self
            .write("putting a data key", shard, When::Holds(condition), 0, Also::Nothing, vec![entry])
            .await?
        {
            Outcome::Conflict(there) => Ok(Put::Conflict(there)),
            Outcome::Written => Ok(Put::Written),
            Outcome::Taken | Outcome::Ended => Err(record::corrupt("nothing of a data key is unique")),
        }
    }

    async fn delete(&self, scope: &KeyScope) -> Result<bool, StoreError> {
        let entry =
            Entry { key: self.key_name(scope), moving: None, fixed: entry::key(scope), fields: Vec::new() };
        let shard = self.shared.names.shard_of_scope(scope);
        let written =
            self.write("deleting a data key", shard, When::Any, 0, Also::Nothing, vec![entry]).await?;
        Ok(matches!(written, Outcome::Written))
    }

    async fn list(&self, page: &Page) -> Result<Paged<KeyRecord>, StoreError> {
        let shards = 0..self.shared.names.shards;
        self.page("listing data keys", shards, Kind::Key, entry::KEYS, page, record::key).await
    }
}

impl RedisStore {
    fn key_name(&self, scope: &KeyScope) -> String {
        let shard = self.shared.names.shard_of_scope(scope);
        self.shared.names.record(shard, Kind::Key, &key_id(scope))
    }
}
