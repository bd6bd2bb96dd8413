use std::sync::Arc;

use super::context::{AssociatedData, Context};
use super::data_keys::{DataKey, DataKeys};
use super::envelope::{self, Envelope, MAX_PLAINTEXT_BYTES, OpenError};
use super::ring::KeyRing;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::id::{DataKeyId, Owner};
use crate::secret::SecretBytes;
use crate::store::{KeyScope, KeyStore};

/// How many share a data key, which is how many one deletion of a key erases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataKeyScope {
    /// All records of a tenant.
    #[default]
    Tenant,
    /// The records of one user. What is shared or nobody's is under the tenant's key.
    User,
}

/// Seals and opens what the stores hold. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sealer {
    keys: Arc<DataKeys>,
    entropy: Arc<dyn Entropy>,
    scope: DataKeyScope,
}

impl Sealer {
    /// Checks the keys against the store's canary, a data key of the vault's own that each primary key has wrapped. An
    /// empty store gets its canary now; a newly promoted primary key is added to it.
    ///
    /// # Errors
    /// Nothing was written and nothing may be: [`ErrorKind::InvalidConfig`] when a key is not the one that its id stood
    /// for, or the ring's ids are at fault; [`ErrorKind::KeyUnavailable`] when the canary needs a key that the ring lacks;
    /// [`ErrorKind::CorruptRecord`] when it was damaged. Otherwise whatever the store, the random source or a key service
    /// reports.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the canary whole or absent.
    pub async fn start(
        ring: KeyRing,
        store: Arc<dyn KeyStore>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let keys = DataKeys::new(ring, store, Arc::clone(&entropy))?;
        keys.check_canary().await?;
        Ok(Self { keys: Arc::new(keys), entropy, scope: DataKeyScope::default() })
    }

    /// Seals under data keys of that scope from now on. What was sealed under the other still opens.
    #[must_use]
    pub const fn with_data_key_scope(mut self, scope: DataKeyScope) -> Self {
        self.scope = scope;
        self
    }

    /// Seals `plaintext` for `context`, under a key used for nothing else. Makes the scope's data key if it has none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] beyond [`MAX_PLAINTEXT_BYTES`] or with a subject that is too long,
    /// [`ErrorKind::RandomUnavailable`], and, until the data key is in memory, what [`open`](Self::open) lists.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a new data key in the store, which the next call uses.
    pub async fn seal(&self, context: &Context<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.keys.active(&self.home(context)).await?;
        self.seal_under(&key, context, plaintext)
    }

    /// The same for what comes of another value, sealed `beside` it: where that is under a key of the user's own, none is
    /// made. It may have been destroyed since, and an erased user gets no other.
    ///
    /// # Errors
    /// As [`seal`](Self::seal), and [`ErrorKind::Shredded`].
    pub(crate) async fn seal_beside(
        &self,
        beside: &[u8],
        context: &Context<'_>,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let home = self.home(context);
        let id = Envelope::parse(beside).map_err(|error| refuse(context, error))?.key_id;
        let is_elsewhere = self.keys.cached(id).is_some_and(|key| key.scope != home);
        let key = match &home {
            KeyScope::User(..) if !is_elsewhere => self.keys.existing(&home, id).await?,
            _ => self.keys.active(&home).await?,
        };
        self.seal_under(&key, context, plaintext)
    }

    fn seal_under(&self, key: &DataKey, context: &Context<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let mut random = [0; 32];
        self.entropy.fill(&mut random)?;
        let mut associated = AssociatedData::new();
        associated.fill(context)?;
        envelope::seal(&key.key, key.id, &mut associated, &random, plaintext).map_err(|envelope::TooLong| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{context}: more than {MAX_PLAINTEXT_BYTES} bytes to seal"),
            )
        })
    }

    /// Opens what was sealed for the same `context`. With the data key in memory this neither waits nor allocates
    /// anything but a copy to open.
    ///
    /// # Errors
    /// - [`ErrorKind::CorruptRecord`]: truncated, tampered with, moved here from elsewhere, or in an unknown format. The
    ///   message says which.
    /// - [`ErrorKind::KeyUnavailable`]: the key ring lacks a key, which the message names, or a key service is away.
    /// - [`ErrorKind::Shredded`]: the data key was destroyed.
    /// - [`ErrorKind::InvalidConfig`]: a key service refuses.
    /// - Whatever the store reports.
    ///
    /// # Cancel safety
    /// Nothing is changed but the keys in memory.
    pub async fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Result<SecretBytes, Error> {
        self.open_in_place(context, sealed.to_vec(), 0).await
    }

    /// Opens what fills `buffer` from `at` on, and gives it back with the opened value alone in sight.
    pub(crate) async fn open_in_place(
        &self,
        context: &Context<'_>,
        buffer: Vec<u8>,
        at: usize,
    ) -> Result<SecretBytes, Error> {
        let refuse = |error| refuse(context, error);
        let id = Envelope::parse(buffer.get(at..).unwrap_or_default()).map_err(refuse)?.key_id;
        let key = match self.keys.cached(id) {
            Some(key) => key,
            None => Box::pin(self.load(id, context)).await?,
        };
        if !covers(&key.scope, context) {
            return Err(refuse(OpenError::Tampered));
        }
        let mut associated = AssociatedData::new();
        associated.fill(context)?;
        envelope::open(&key.key, &mut associated, buffer, at).map_err(refuse)
    }

    async fn load(&self, id: DataKeyId, context: &Context<'_>) -> Result<Arc<DataKey>, Error> {
        self.keys.find(id, &self.home(context), self.other(context).as_ref()).await
    }

    /// Whether the store has lost its canary since this process started, as when it was emptied. A new one is made then,
    /// and no data key from before is used for sealing any more. One store call when all is well.
    pub(crate) async fn restore_canary(&self) -> Result<bool, Error> {
        self.keys.restore_canary().await
    }

    /// To be called before the first value of a new record is sealed: makes sure that the store still has the data key
    /// under which this process seals for `context`. What were sealed under one that is gone would never open again.
    /// One store call, unless the key is not in memory yet.
    ///
    /// # Errors
    /// [`ErrorKind::CorruptRecord`] when the scope's keys do not decode, and whatever the store reports.
    ///
    /// # Cancel safety
    /// Nothing is changed but the keys in memory.
    pub async fn confirm(&self, context: &Context<'_>) -> Result<(), Error> {
        self.keys.confirm(&self.home(context)).await
    }

    /// Whether the store still has the data key that `sealed` is under, if a user has one of their own: it is destroyed
    /// while its user may come back. One store call then.
    pub(crate) async fn keeps_key_of_user(
        &self,
        context: &Context<'_>,
        sealed: &[u8],
    ) -> Result<bool, Error> {
        let home @ KeyScope::User(..) = self.home(context) else { return Ok(true) };
        let id = Envelope::parse(sealed).map_err(|error| refuse(context, error))?.key_id;
        self.keys.has(&home, id).await
    }

    /// Drops the opened data keys of `scope` from this process's memory, as when its record was deleted or changed.
    /// Other processes keep theirs until they are told too.
    pub fn forget(&self, scope: &KeyScope) {
        self.keys.forget(scope);
    }

    /// Where values of `context` are sealed.
    fn home(&self, context: &Context<'_>) -> KeyScope {
        match (self.scope, context.owner) {
            (DataKeyScope::User, Some(Owner::User(user))) => {
                KeyScope::User(context.tenant.clone(), user.clone())
            }
            _ => KeyScope::Tenant(context.tenant.clone()),
        }
    }

    /// Where they are sealed under the other policy.
    fn other(&self, context: &Context<'_>) -> Option<KeyScope> {
        match (self.scope, context.owner) {
            (_, None | Some(Owner::Shared)) => None,
            (DataKeyScope::Tenant, Some(Owner::User(user))) => {
                Some(KeyScope::User(context.tenant.clone(), user.clone()))
            }
            (DataKeyScope::User, Some(Owner::User(_))) => Some(KeyScope::Tenant(context.tenant.clone())),
        }
    }
}

fn refuse(context: &Context<'_>, error: OpenError) -> Error {
    Error::new(ErrorKind::CorruptRecord, format!("{context} does not open: {error}"))
}

fn covers(scope: &KeyScope, context: &Context<'_>) -> bool {
    match scope {
        KeyScope::Tenant(tenant) => tenant == context.tenant,
        KeyScope::User(tenant, user) => {
            tenant == context.tenant && matches!(context.owner, Some(Owner::User(owner)) if owner == user)
        }
        KeyScope::Vault => false,
    }
}
