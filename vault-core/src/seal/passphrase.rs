use std::fmt;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::kek::{Kek, KekError, KekErrorKind, check_id, unwrap_under, wrap_under};
use super::key::Key;
use crate::entropy::{Entropy, SystemEntropy};
use crate::error::{Error, ErrorKind};
use crate::secret::{SecretBytes, SecretString};

const MIN_PASSPHRASE_CHARS: usize = 12;
/// Derived keys kept, one per salt and cost: usually there is a single one.
const MAX_DERIVED: usize = 16;
const FORMAT: u8 = 1;

/// A key-encryption key derived from a passphrase with argon2id.
///
/// A thief of the database may guess a passphrase offline, so prefer [`RawKek`](super::RawKek) or a key service.
///
/// Wrapped bytes: `0x01 ‖ memory in KiB u32 ‖ passes u32 ‖ lanes u32 ‖ salt 16`, all big-endian, then the envelope of
/// format v1 under the derived key. Deriving takes tens of milliseconds on a blocking thread of tokio, once per salt.
pub struct PassphraseKek {
    id: String,
    passphrase: Arc<SecretString>,
    cost: Cost,
    entropy: Arc<dyn Entropy>,
    derived: Mutex<Vec<(Salted, Arc<Key>)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    const DEFAULT: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    /// Bounds what a stored record can make this process allocate and compute.
    const fn is_bounded(self) -> bool {
        matches!(self.passes, 1..=16)
            && matches!(self.lanes, 1..=16)
            && self.memory_kib >= 8 * self.lanes
            && self.memory_kib <= 256 * 1024
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Salted {
    cost: Cost,
    salt: [u8; 16],
}

impl PassphraseKek {
    /// With 19 MiB of memory, two passes and one lane.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an id that cannot be one, and for a passphrase of fewer than 12 characters or
    /// of one character repeated. The message names the id, never the passphrase.
    pub fn new(id: &str, passphrase: SecretString) -> Result<Self, Error> {
        check_id(id)?;
        let mut chars = passphrase.expose_secret().chars();
        let first = chars.next();
        if passphrase.expose_secret().chars().count() < MIN_PASSPHRASE_CHARS
            || chars.all(|next| Some(next) == first)
        {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("passphrase of key \"{id}\" is weak: fewer than 12 characters, or all the same"),
            ));
        }
        Ok(Self {
            id: id.to_owned(),
            passphrase: Arc::new(passphrase),
            cost: Cost::DEFAULT,
            entropy: Arc::new(SystemEntropy),
            derived: Mutex::default(),
        })
    }

    /// With another cost for keys wrapped from now on: memory in KiB (8 per lane to 256 MiB), passes and lanes (1 to
    /// 16 each).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when it is out of these bounds.
    pub fn with_cost(mut self, memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, Error> {
        self.cost = Cost { memory_kib, passes, lanes };
        if self.cost.is_bounded() {
            return Ok(self);
        }
        Err(Error::new(
            ErrorKind::InvalidConfig,
            format!(
                "argon2 cost of key \"{}\" is out of bounds: m={memory_kib} KiB, t={passes}, p={lanes}",
                self.id
            ),
        ))
    }

    /// Draws from another source of random bytes.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    async fn derive(&self, salted: Salted) -> Result<Arc<Key>, KekError> {
        let passphrase = Arc::clone(&self.passphrase);
        spawn_blocking(move || derive(&passphrase, &salted).map(Arc::new)).await.map_err(|error| {
            KekError::new(KekErrorKind::Unavailable, "key derivation was interrupted").with_source(error)
        })?
    }
}

#[async_trait]
impl Kek for PassphraseKek {
    fn id(&self) -> &str {
        &self.id
    }

    async fn wrap(&self, key: &SecretBytes, context: &[u8]) -> Result<Vec<u8>, KekError> {
        let mut derived = self.derived.lock().await;
        let known = derived.iter().find(|(salted, _)| salted.cost == self.cost);
        let (salted, kek) = if let Some((salted, kek)) = known {
            (*salted, Arc::clone(kek))
        } else {
            let mut salt = [0; 16];
            self.entropy.fill(&mut salt)?;
            let salted = Salted { cost: self.cost, salt };
            let kek = self.derive(salted).await?;
            remember(&mut derived, salted, &kek);
            (salted, kek)
        };
        let mut wrapped = salted.to_bytes();
        wrapped.extend(wrap_under(&kek, &*self.entropy, key, context)?);
        Ok(wrapped)
    }

    /// A salt is remembered only once it has opened something, so that edited rows cannot choose the next wrap's salt.
    async fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretBytes, KekError> {
        let (salted, envelope) = Salted::split(wrapped)?;
        let mut derived = self.derived.lock().await;
        if let Some((_, kek)) = derived.iter().find(|(known, _)| *known == salted) {
            return unwrap_under(kek, envelope, context);
        }
        let kek = self.derive(salted).await?;
        let key = unwrap_under(&kek, envelope, context)?;
        remember(&mut derived, salted, &kek);
        Ok(key)
    }
}

impl fmt::Debug for PassphraseKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassphraseKek")
            .field("id", &self.id)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl Salted {
    fn to_bytes(self) -> Vec<u8> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let mut bytes = vec![FORMAT];
        for number in [memory_kib, passes, lanes] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt);
        bytes
    }

    fn split(wrapped: &[u8]) -> Result<(Self, &[u8]), KekError> {
        let truncated = || KekError::new(KekErrorKind::Corrupt, "truncated");
        let (&format, rest) = wrapped.split_first().ok_or_else(truncated)?;
        if format != FORMAT {
            return Err(KekError::new(
                KekErrorKind::Corrupt,
                format!("unsupported passphrase format {format}"),
            ));
        }
        let number = |rest: &mut &[u8]| -> Result<u32, KekError> {
            let (bytes, tail) = rest.split_first_chunk().ok_or_else(truncated)?;
            *rest = tail;
            Ok(u32::from_be_bytes(*bytes))
        };
        let mut rest = rest;
        let cost =
            Cost { memory_kib: number(&mut rest)?, passes: number(&mut rest)?, lanes: number(&mut rest)? };
        let (salt, envelope) = rest.split_first_chunk().ok_or_else(truncated)?;
        if !cost.is_bounded() {
            return Err(refused(cost));
        }
        Ok((Self { cost, salt: *salt }, envelope))
    }
}

fn remember(derived: &mut Vec<(Salted, Arc<Key>)>, salted: Salted, kek: &Arc<Key>) {
    if derived.len() == MAX_DERIVED {
        derived.remove(0);
    }
    derived.push((salted, Arc::clone(kek)));
}

fn derive(passphrase: &SecretString, salted: &Salted) -> Result<Key, KekError> {
    let Cost { memory_kib, passes, lanes } = salted.cost;
    let params = Params::new(memory_kib, passes, lanes, None).map_err(|_| refused(salted.cost))?;
    // Our own memory, because argon2 does not wipe what it allocates.
    let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
    let mut key = Key::zeroed();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(
            passphrase.expose_secret().as_bytes(),
            &salted.salt,
            key.as_mut_bytes(),
            memory.as_mut_slice(),
        )
        .map_err(|_| refused(salted.cost))?;
    Ok(key)
}

fn refused(cost: Cost) -> KekError {
    let Cost { memory_kib, passes, lanes } = cost;
    KekError::new(
        KekErrorKind::KdfParamsRefused,
        format!("argon2 parameters refused: m={memory_kib} KiB, t={passes}, p={lanes}"),
    )
}
