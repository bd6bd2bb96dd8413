//! The binary format, as pure functions: no lookup, no clock, no randomness of its own.

use zeroize::{Zeroize as _, Zeroizing, optimization_barrier};

use super::aead::{self, TAG_BYTES, ZERO_NONCE};
use super::context::AssociatedData;
use super::key::Key;
use crate::id::DataKeyId;
use crate::secret::SecretBytes;

/// The most that can be sealed in one value, in bytes.
pub const MAX_PLAINTEXT_BYTES: usize = 1 << 20;

/// Magic 2, version 1, suite 1, flags 1, data key id 16, salt 32, commitment 32.
pub(super) const HEADER_BYTES: usize = 85;

const MAGIC: [u8; 2] = *b"TV";
const VERSION: u8 = 1;
/// BLAKE3 and ChaCha20-Poly1305.
const SUITE: u8 = 1;
const FLAGS: u8 = 0;
const LENGTH_BYTES: usize = 4;
const STEP: usize = 64;
const MAX_PADDED_BYTES: usize = padded(MAX_PLAINTEXT_BYTES);

/// Why bytes do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error("unsupported flags {0:#04x}")]
    Flags(u8),
    #[error("not a sealed value")]
    Magic,
    #[error("malformed padding")]
    Padding,
    #[error("unsupported suite {0}")]
    Suite(u8),
    #[error("tampered or moved")]
    Tampered,
    #[error("larger than a sealed value can be")]
    TooLong,
    #[error("truncated")]
    Truncated,
    #[error("unsupported format {0}")]
    Version(u8),
    /// The commitment is another key's. As keys are looked up by id, the cause is a wrong key-encryption key, or an
    /// edited header, or a value moved from another purpose.
    #[error("wrong key, or moved from another purpose")]
    WrongKey,
}

/// More than [`MAX_PLAINTEXT_BYTES`].
#[derive(Debug)]
pub(super) struct TooLong;

/// Seals under a key used for nothing else. `random` may repeat: another content still gets another key.
pub(super) fn seal(
    key: &Key,
    id: DataKeyId,
    associated: &mut AssociatedData,
    random: &[u8; 32],
    plaintext: &[u8],
) -> Result<Vec<u8>, TooLong> {
    if plaintext.len() > MAX_PLAINTEXT_BYTES {
        return Err(TooLong);
    }
    let length = u32::try_from(plaintext.len()).map_err(|_| TooLong)?;
    let end = HEADER_BYTES + padded(plaintext.len());
    // Exact from the start: growing would leave plaintext behind.
    let mut sealed = Vec::with_capacity(end + TAG_BYTES);
    sealed.resize(HEADER_BYTES, 0);
    sealed.extend_from_slice(&length.to_be_bytes());
    sealed.extend_from_slice(plaintext);
    sealed.resize(end, 0);

    let salt = hedged_salt(key, random, associated.fields(), &sealed[HEADER_BYTES..]);
    let derived = Derived::new(key, associated.purpose(), &salt);
    let header = header(id, &salt, derived.commitment());
    sealed[..HEADER_BYTES].copy_from_slice(&header);
    let tag = aead::seal_in_place(
        derived.encryption(),
        &ZERO_NONCE,
        associated.behind(&header),
        &mut sealed[HEADER_BYTES..],
    );
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// A sealed value taken apart, not yet opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) key_id: DataKeyId,
    header: &'a [u8; HEADER_BYTES],
    salt: &'a [u8; 32],
    commitment: &'a [u8; 32],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Envelope<'a> {
    /// Checks everything that can be checked without a key.
    pub(super) fn parse(sealed: &'a [u8]) -> Result<Self, OpenError> {
        use OpenError::{Flags, Magic, Suite, TooLong, Truncated, Version};

        let (magic, rest) = sealed.split_first_chunk::<2>().ok_or(Truncated)?;
        if *magic != MAGIC {
            return Err(Magic);
        }
        let (&[version, suite, flags], rest) = rest.split_first_chunk().ok_or(Truncated)?;
        match (version, suite, flags) {
            (VERSION, SUITE, FLAGS) => {}
            (VERSION, SUITE, _) => return Err(Flags(flags)),
            (VERSION, ..) => return Err(Suite(suite)),
            _ => return Err(Version(version)),
        }
        let header = sealed.first_chunk().ok_or(Truncated)?;
        let (key_id, rest) = rest.split_first_chunk::<16>().ok_or(Truncated)?;
        let (salt, rest) = rest.split_first_chunk().ok_or(Truncated)?;
        let (commitment, rest) = rest.split_first_chunk().ok_or(Truncated)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(Truncated)?;
        if ciphertext.len() > MAX_PADDED_BYTES {
            return Err(TooLong);
        }
        if ciphertext.is_empty() || ciphertext.len() % STEP != 0 {
            return Err(Truncated);
        }
        Ok(Self { key_id: DataKeyId::from_bytes(*key_id), header, salt, commitment, tag })
    }
}

/// Opens, where it lies, the value that fills `buffer` from `at` on. Allocates nothing.
pub(super) fn open(
    key: &Key,
    associated: &mut AssociatedData,
    mut buffer: Vec<u8>,
    at: usize,
) -> Result<SecretBytes, OpenError> {
    let envelope = Envelope::parse(buffer.get(at..).ok_or(OpenError::Truncated)?)?;
    let derived = Derived::new(key, associated.purpose(), envelope.salt);
    // `Hash` compares in constant time.
    if blake3::Hash::from_bytes(*derived.commitment()) != *envelope.commitment {
        return Err(OpenError::WrongKey);
    }
    let (tag, text) = (*envelope.tag, at + HEADER_BYTES);
    let associated = associated.behind(envelope.header);
    buffer.truncate(buffer.len() - TAG_BYTES);
    aead::open_in_place(derived.encryption(), &ZERO_NONCE, associated, &mut buffer[text..], &tag)
        .map_err(|aead::Forged| OpenError::Tampered)?;
    let mut opened = SecretBytes::new(buffer);
    opened.skip(text);
    unpad(opened)
}

/// The keys of one sealed value: encryption, then commitment.
struct Derived(Zeroizing<[u8; 64]>);

impl Derived {
    fn new(key: &Key, purpose: u8, salt: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(key.as_bytes());
        hasher.update(&[purpose]).update(salt);
        let mut output = hasher.finalize_xof();
        let mut keys = Zeroizing::new([0; 64]);
        output.fill(keys.as_mut());
        output.zeroize();
        // Wipes what the hasher holds after so short an input. `zeroize` would go through its empty stack of subtrees
        // as well, which takes four times as long as all of the rest.
        hasher = blake3::Hasher::new();
        optimization_barrier(&hasher);
        Self(keys)
    }

    fn encryption(&self) -> &[u8; 32] {
        self.0.first_chunk().expect("64 bytes begin with 32")
    }

    fn commitment(&self) -> &[u8; 32] {
        self.0.last_chunk().expect("64 bytes end with 32")
    }
}

/// Depends on everything that is sealed, so that a repeated random state does not repeat a key for other content.
/// The padded plaintext begins with a zero byte, which is no field's tag: the two inputs cannot run into each other.
pub(super) fn hedged_salt(key: &Key, random: &[u8; 32], fields: &[u8], padded: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key.as_bytes());
    hasher.update(b"salt").update(random).update(fields).update(padded);
    let salt = hasher.finalize().into();
    hasher.zeroize();
    salt
}

fn header(id: DataKeyId, salt: &[u8; 32], commitment: &[u8; 32]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let mut at = 0;
    for part in [&MAGIC[..], &[VERSION, SUITE, FLAGS], id.as_bytes(), salt, commitment] {
        header[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    header
}

const fn padded(len: usize) -> usize {
    (LENGTH_BYTES + len).next_multiple_of(STEP)
}

fn unpad(mut padded_text: SecretBytes) -> Result<SecretBytes, OpenError> {
    let bytes = padded_text.expose_secret();
    let len = bytes
        .first_chunk()
        .and_then(|length| usize::try_from(u32::from_be_bytes(*length)).ok())
        .filter(|&len| len <= MAX_PLAINTEXT_BYTES && padded(len) == bytes.len())
        .ok_or(OpenError::Padding)?;
    padded_text.skip(LENGTH_BYTES);
    padded_text.truncate(len);
    Ok(padded_text)
}
