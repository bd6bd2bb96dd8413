use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::context::AssociatedData;
use super::envelope::{self, Envelope, OpenError};
use super::key::Key;
use crate::entropy::{Entropy, EntropyError, SystemEntropy};
use crate::error::{Error, ErrorKind};
use crate::id::DataKeyId;
use crate::secret::SecretBytes;

/// A key-encryption key: it wraps data keys and nothing else. Implement it for a remote key service.
///
/// # Contract
/// - What `wrap` returned, `unwrap` opens under the same `context` and under no other: the wrapping is authenticated
///   and bound to it. `context` is the id of the data key (16 bytes) and whose key it is; it is no secret.
/// - The wrapped bytes carry whatever `unwrap` needs, such as the key service's own key version. At most 4 KiB.
/// - An id names one key for good. A new key gets a new id.
///
/// The vault calls it once per data key and process, not once per token.
///
/// # Errors
/// [`KekError`]; see its kinds. Another key of the same id is [`KekErrorKind::WrongKey`] where that can be told apart
/// from edited bytes, and [`KekErrorKind::Corrupt`] otherwise. Messages carry no key material.
///
/// # Cancel safety
/// Dropping a future leaves nothing half done.
#[async_trait]
pub trait Kek: fmt::Debug + Send + Sync + 'static {
    /// Names the key in stored records, in clear: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    fn id(&self) -> &str;

    /// Encrypts a data key of 32 bytes.
    async fn wrap(&self, key: &SecretBytes, context: &[u8]) -> Result<Vec<u8>, KekError>;

    /// Decrypts what `wrap` made.
    async fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretBytes, KekError>;
}

/// Why a key-encryption key did not do its work.
#[derive(Debug, Clone)]
pub struct KekError {
    kind: KekErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Kinds of [`KekError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KekErrorKind {
    /// The wrapped bytes were edited, cut, or moved here from another scope.
    Corrupt,
    /// The parameters of a key derivation are outside the bounds; nothing was derived.
    KdfParamsRefused,
    /// No secure random bytes.
    RandomUnavailable,
    /// The key service says no: permission, or a disabled key.
    Refused,
    /// The key service is away or busy. Retryable.
    Unavailable,
    /// Another key of the same id wrapped it.
    WrongKey,
}

impl KekError {
    /// An error of that kind; `message` is a few words without key material.
    #[must_use]
    pub fn new(kind: KekErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// With the key service's error as its source.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What kind it is.
    #[must_use]
    pub const fn kind(&self) -> KekErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody mending anything by hand.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, KekErrorKind::Unavailable | KekErrorKind::RandomUnavailable)
    }
}

impl fmt::Display for KekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for KekError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

impl From<EntropyError> for KekError {
    fn from(error: EntropyError) -> Self {
        Self::new(KekErrorKind::RandomUnavailable, "the random source failed").with_source(error)
    }
}

impl From<OpenError> for KekError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::WrongKey => Self::new(KekErrorKind::WrongKey, "wrong key"),
            other => Self::new(KekErrorKind::Corrupt, other.to_string()),
        }
    }
}

/// A key of 32 random bytes that the process holds itself.
#[derive(Debug)]
pub struct RawKek {
    id: String,
    key: Key,
    entropy: Arc<dyn Entropy>,
}

impl RawKek {
    /// Takes the key.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an id that cannot be one, for other than 32 bytes, and for 32 times the same
    /// byte. The message names the id, never the value.
    #[expect(clippy::needless_pass_by_value, reason = "wipes the caller's copy")]
    pub fn new(id: &str, key: SecretBytes) -> Result<Self, Error> {
        check_id(id)?;
        Self::checked(id, &key).map_err(|problem| {
            Error::new(ErrorKind::InvalidConfig, format!("key \"{id}\" is not usable: {problem}"))
        })
    }

    /// The error says what is wrong with the value, without the id.
    pub(super) fn checked(id: &str, key: &SecretBytes) -> Result<Self, String> {
        let bytes = key.expose_secret();
        let key =
            Key::from_slice(bytes).ok_or_else(|| format!("{} bytes where 32 are needed", bytes.len()))?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err("one byte repeated".to_owned());
        }
        Ok(Self { id: id.to_owned(), key, entropy: Arc::new(SystemEntropy) })
    }

    /// Draws from another source of random bytes.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }
}

#[async_trait]
impl Kek for RawKek {
    fn id(&self) -> &str {
        &self.id
    }

    async fn wrap(&self, key: &SecretBytes, context: &[u8]) -> Result<Vec<u8>, KekError> {
        wrap_under(&self.key, &*self.entropy, key, context)
    }

    async fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretBytes, KekError> {
        unwrap_under(&self.key, wrapped, context)
    }
}

/// Checks what [`Kek::id`] may be. Whatever is refused is not repeated: it may be a key in the wrong place.
pub(super) fn check_id(id: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=64).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidConfig,
        "a key id is not 1 to 64 letters, digits, dots, underscores and hyphens",
    ))
}

pub(super) fn wrap_under(
    kek: &Key,
    entropy: &dyn Entropy,
    key: &SecretBytes,
    context: &[u8],
) -> Result<Vec<u8>, KekError> {
    let (id, mut associated) = split(context)?;
    let mut random = [0; 32];
    entropy.fill(&mut random)?;
    envelope::seal(kek, id, &mut associated, &random, key.expose_secret())
        .map_err(|envelope::TooLong| KekError::new(KekErrorKind::Corrupt, "too long for a data key"))
}

pub(super) fn unwrap_under(kek: &Key, wrapped: &[u8], context: &[u8]) -> Result<SecretBytes, KekError> {
    let (id, mut associated) = split(context)?;
    if Envelope::parse(wrapped)?.key_id != id {
        return Err(OpenError::Tampered.into());
    }
    Ok(envelope::open(kek, &mut associated, wrapped.to_vec(), 0)?)
}

fn split(context: &[u8]) -> Result<(DataKeyId, AssociatedData), KekError> {
    context
        .split_first_chunk()
        .and_then(|(id, fields)| Some((DataKeyId::from_bytes(*id), AssociatedData::of_wrapping(fields)?)))
        .ok_or_else(|| KekError::new(KekErrorKind::Corrupt, "not the context of a data key"))
}
