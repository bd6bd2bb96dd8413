use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::kek::{Kek, KekError, KekErrorKind};
use super::key::Key;
use super::key_list::{KeyList, Named, WrappedKey, wrap_context};
use super::ring::KeyRing;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, printable};
use crate::id::DataKeyId;
use crate::secret::SecretBytes;
use crate::store::{Condition, KeyRecord, KeyScope, KeyStore, Put, Version};

/// How many opened data keys stay in memory.
const CACHED_KEYS: usize = 10_000;
/// How often to start over when other processes write the same record.
const ATTEMPTS: usize = 4;

/// An opened data key.
pub(super) struct DataKey {
    pub(super) id: DataKeyId,
    pub(super) scope: KeyScope,
    pub(super) key: Key,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Opens, makes and remembers data keys. Callers who need the same key at once share one unwrapping.
pub(super) struct DataKeys {
    ring: KeyRing,
    store: Arc<dyn KeyStore>,
    entropy: Arc<dyn Entropy>,
    opened: Cache<DataKeyId, Arc<DataKey>>,
    active: Cache<KeyScope, Arc<DataKey>>,
}

impl DataKeys {
    pub(super) fn new(
        ring: KeyRing,
        store: Arc<dyn KeyStore>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        ring.check()?;
        Ok(Self { ring, store, entropy, opened: Cache::new(CACHED_KEYS), active: Cache::new(CACHED_KEYS) })
    }

    /// Without waiting, if it is in memory. Whoever asks checks that the scope is his.
    pub(super) fn cached(&self, id: DataKeyId) -> Option<Arc<DataKey>> {
        self.opened.get(&id)
    }

    /// The key of that id, which belongs to `home` or else to `other`.
    pub(super) async fn find(
        &self,
        id: DataKeyId,
        home: &KeyScope,
        other: Option<&KeyScope>,
    ) -> Result<Arc<DataKey>, Error> {
        let load = async {
            let mut home_is_gone = false;
            for scope in [Some(home), other].into_iter().flatten() {
                match self.load(scope).await? {
                    Some((list, _)) if list.0.iter().any(|key| key.id == id) => {
                        self.forget_active_unless_in(scope, &list);
                        return self.unwrap_any(scope, &list, id).await;
                    }
                    None if scope == home => home_is_gone = true,
                    _ => {}
                }
            }
            Err(not_found(id, home, home_is_gone))
        };
        self.opened.get_or_insert_async(&id, load).await
    }

    /// The key that seals for `scope`; makes one if there is none.
    pub(super) async fn active(&self, scope: &KeyScope) -> Result<Arc<DataKey>, Error> {
        let load = async {
            for _ in 0..ATTEMPTS {
                if let Some(key) = self.stored(scope).await? {
                    return Ok(key);
                }
                if let Some(key) = self.create(scope).await? {
                    self.opened.insert(key.id, Arc::clone(&key));
                    return Ok(key);
                }
            }
            Err(contended(scope))
        };
        self.active.get_or_insert_async(scope, load).await
    }

    /// The same where there is one already, beside that of this id or in its place.
    pub(super) async fn existing(&self, scope: &KeyScope, id: DataKeyId) -> Result<Arc<DataKey>, Error> {
        let load = async { self.stored(scope).await?.ok_or_else(|| not_found(id, scope, true)) };
        self.active.get_or_insert_async(scope, load).await
    }

    async fn stored(&self, scope: &KeyScope) -> Result<Option<Arc<DataKey>>, Error> {
        let Some((list, _)) = self.load(scope).await? else { return Ok(None) };
        let id = list.0.iter().find(|key| key.active).map(|key| key.id);
        let id = id.ok_or_else(|| corrupt(scope, "none is active"))?;
        let unwrap = self.unwrap_any(scope, &list, id);
        self.opened.get_or_insert_async(&id, unwrap).await.map(Some)
    }

    /// The list is as the store has it now.
    fn forget_active_unless_in(&self, scope: &KeyScope, list: &KeyList) {
        if self.active.get(scope).is_some_and(|active| list.0.iter().all(|key| key.id != active.id)) {
            self.active.remove(scope);
        }
    }

    /// Drops the keys of `scope` from memory unless the store still has the one that seals.
    pub(super) async fn confirm(&self, scope: &KeyScope) -> Result<(), Error> {
        match self.active.get(scope) {
            Some(active) => self.has(scope, active.id).await.map(drop),
            None => Ok(()),
        }
    }

    /// Whether the store still has that key of `scope`. It may have been emptied, or another process have destroyed the
    /// keys: they leave memory then.
    pub(super) async fn has(&self, scope: &KeyScope, id: DataKeyId) -> Result<bool, Error> {
        let there = self.load(scope).await?.is_some_and(|(list, _)| list.0.iter().any(|key| key.id == id));
        if !there {
            self.forget(scope);
        }
        Ok(there)
    }

    /// Drops the keys of `scope` from memory.
    pub(super) fn forget(&self, scope: &KeyScope) {
        self.active.remove(scope);
        self.opened.retain(|_, key| key.scope != *scope);
    }

    /// Checks every key-encryption key that the canary knows, and makes the primary known to it.
    pub(super) async fn check_canary(&self) -> Result<(), Error> {
        let scope = KeyScope::Vault;
        for _ in 0..ATTEMPTS {
            let Some((mut list, version)) = self.load(&scope).await? else {
                if self.create(&scope).await?.is_some() {
                    return Ok(());
                }
                continue;
            };
            let mut canary = None;
            for entry in &list.0 {
                if let Some(kek) = self.ring.find(&entry.kek) {
                    let opened = self.unwrap(kek, &scope, entry).await;
                    canary = Some(opened.map_err(|error| refuse_to_start(&entry.kek, error))?);
                }
            }
            let canary = canary.ok_or_else(|| no_kek(&scope, list.0.iter()))?;
            let primary = self.ring.primary();
            if list.0.iter().any(|entry| entry.kek == primary.id()) {
                return Ok(());
            }
            // A newly promoted key: from now on its value is checked as well.
            list.0.push(WrappedKey { active: false, ..self.wrap(&scope, &canary).await? });
            if self.put(&scope, &list, Condition::Version(version)).await? {
                return Ok(());
            }
        }
        Err(contended(&scope))
    }

    /// Whether the canary was gone, and every data key with it as far as this process is concerned. It is made anew then.
    pub(super) async fn restore_canary(&self) -> Result<bool, Error> {
        if self.load(&KeyScope::Vault).await?.is_some() {
            return Ok(false);
        }
        self.active.clear();
        self.check_canary().await?;
        Ok(true)
    }

    async fn load(&self, scope: &KeyScope) -> Result<Option<(KeyList, Version)>, Error> {
        match self.store.get(scope).await? {
            Some(record) => Ok(Some((KeyList::decode(scope, &record.wrapped)?, record.version))),
            None => Ok(None),
        }
    }

    /// `None` when another process was first.
    async fn create(&self, scope: &KeyScope) -> Result<Option<Arc<DataKey>>, Error> {
        let key = DataKey {
            id: DataKeyId::random(&*self.entropy)?,
            scope: scope.clone(),
            key: Key::random(&*self.entropy)?,
        };
        let list = KeyList(vec![self.wrap(scope, &key).await?]);
        let written = self.put(scope, &list, Condition::Absent).await?;
        Ok(written.then(|| Arc::new(key)))
    }

    async fn put(&self, scope: &KeyScope, list: &KeyList, condition: Condition) -> Result<bool, Error> {
        let record = KeyRecord {
            scope: scope.clone(),
            version: Version::random(&*self.entropy)?,
            wrapped: list.encode(),
        };
        Ok(self.store.put(&record, condition).await? == Put::Written)
    }

    async fn wrap(&self, scope: &KeyScope, key: &DataKey) -> Result<WrappedKey, Error> {
        let kek = self.ring.primary();
        let exposed = SecretBytes::new(key.key.as_bytes().to_vec());
        let wrapped = kek
            .wrap(&exposed, &wrap_context(scope, key.id))
            .await
            .map_err(|error| kek_failed(kek.id(), scope, error))?;
        Ok(WrappedKey { id: key.id, kek: kek.id().to_owned(), active: true, wrapped })
    }

    /// Under whichever key of the ring the data key is wrapped.
    async fn unwrap_any(
        &self,
        scope: &KeyScope,
        list: &KeyList,
        id: DataKeyId,
    ) -> Result<Arc<DataKey>, Error> {
        let entries = || list.0.iter().filter(|entry| entry.id == id);
        for entry in entries() {
            if let Some(kek) = self.ring.find(&entry.kek) {
                return self.unwrap(kek, scope, entry).await.map(Arc::new);
            }
        }
        Err(no_kek(scope, entries()))
    }

    async fn unwrap(&self, kek: &dyn Kek, scope: &KeyScope, entry: &WrappedKey) -> Result<DataKey, Error> {
        let key = kek
            .unwrap(&entry.wrapped, &wrap_context(scope, entry.id))
            .await
            .map_err(|error| kek_failed(kek.id(), scope, error))?;
        Ok(DataKey {
            id: entry.id,
            scope: scope.clone(),
            key: Key::from_slice(key.expose_secret())
                .ok_or_else(|| corrupt(scope, "one is not 32 bytes long"))?,
        })
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKeys")
            .field("ring", &self.ring)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// A data key is stored before anything is sealed under it, and this was read from the store just now: waiting would
/// not help. Either its scope was destroyed, or the sealed value comes from elsewhere.
fn not_found(id: DataKeyId, home: &KeyScope, home_is_gone: bool) -> Error {
    let home = Named(home);
    if home_is_gone {
        let message = format!("the data keys of {home} were destroyed, {id} among them");
        Error::new(ErrorKind::Shredded, message)
    } else {
        let message = format!("{home} has no data key {id}: it was destroyed, or the record was moved here");
        Error::new(ErrorKind::CorruptRecord, message)
    }
}

fn no_kek<'a>(scope: &KeyScope, entries: impl Iterator<Item = &'a WrappedKey>) -> Error {
    let mut ids: Vec<_> = entries.map(|entry| format!("\"{}\"", printable(&entry.kek))).collect();
    ids.dedup();
    let message =
        format!("data keys of {} need a key that is not in the key ring: {}", Named(scope), ids.join(" or "));
    Error::new(ErrorKind::KeyUnavailable, message)
}

fn kek_failed(kek: &str, scope: &KeyScope, error: KekError) -> Error {
    let kind = match error.kind() {
        KekErrorKind::Corrupt | KekErrorKind::KdfParamsRefused | KekErrorKind::WrongKey => {
            ErrorKind::CorruptRecord
        }
        KekErrorKind::RandomUnavailable => ErrorKind::RandomUnavailable,
        KekErrorKind::Refused => ErrorKind::InvalidConfig,
        KekErrorKind::Unavailable => ErrorKind::KeyUnavailable,
    };
    Error::new(kind, format!("data key of {} under key \"{kek}\": {error}", Named(scope))).with_source(error)
}

/// At the start a wrong key is the operator's mistake, not a damaged record.
fn refuse_to_start(kek: &str, error: Error) -> Error {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<KekError>());
    if source.is_some_and(|source| source.kind() == KekErrorKind::WrongKey) {
        let message = format!("key \"{kek}\" is not the key of that id that sealed what the store holds");
        return Error::new(ErrorKind::InvalidConfig, message).with_source(error);
    }
    error
}

fn corrupt(scope: &KeyScope, problem: &str) -> Error {
    Error::new(ErrorKind::CorruptRecord, format!("data keys of {}: {problem}", Named(scope)))
}

fn contended(scope: &KeyScope) -> Error {
    Error::new(
        ErrorKind::Contended,
        format!("other processes kept writing the data keys of {}", Named(scope)),
    )
}
