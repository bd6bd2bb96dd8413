use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::kek::{Kek, RawKek, check_id};
use super::key::Key;
use super::passphrase::PassphraseKek;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::secret::{SecretBytes, SecretString};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const MAX_FILE_BYTES: usize = 64 * 1024;

/// The key-encryption keys of a vault: one that wraps new data keys, and others that still unwrap old ones.
///
/// # Text form
/// Entries `id:base64-of-32-bytes`, separated by commas or newlines. The primary key is marked by a leading `*`; a single
/// entry needs no mark. Ids are 1 to 64 letters, digits, dots, underscores and hyphens.
///
/// ```text
/// *2026-08:sHTTMYS1…=
/// 2025-11:9hbcWl0Z…=
/// ```
///
/// There is no vault without a key: nothing here makes one up. [`generate_key`](Self::generate_key) is for operators.
#[derive(Clone)]
pub struct KeyRing {
    primary: Arc<dyn Kek>,
    decrypt_only: Vec<Arc<dyn Kek>>,
}

impl KeyRing {
    /// A ring of one key. A fault in the ids is reported when the vault starts.
    #[must_use]
    pub fn new(primary: Arc<dyn Kek>) -> Self {
        Self { primary, decrypt_only: Vec::new() }
    }

    /// With another key that opens what it once wrapped, and wraps nothing.
    #[must_use]
    pub fn with_decrypt_only(mut self, kek: Arc<dyn Kek>) -> Self {
        self.decrypt_only.push(kek);
        self
    }

    /// From the text form in an environment variable.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when the variable is missing or does not hold a usable ring. The message names the
    /// variable and the key id, never a value.
    pub fn from_env(var: &str) -> Result<Self, Error> {
        Self::from_var(var, std::env::var_os(var))
    }

    pub(super) fn from_var(var: &str, value: Option<OsString>) -> Result<Self, Error> {
        let origin = format!("environment variable {var}");
        let value = value.ok_or_else(|| invalid(format!("{origin} is not set")))?;
        let text = SecretBytes::new(value.into_encoded_bytes());
        parse_bytes(text.expose_secret(), &origin)
    }

    /// From the text form in a file that nobody but its owner can open.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when the file cannot be read, when its mode gives group or others any access (on
    /// Unix), or when it does not hold a usable ring. The message names the path and the key id, never a value.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let origin = format!("key file {}", path.display());
        let unreadable =
            |error: std::io::Error| invalid(format!("{origin} cannot be read")).with_source(error);
        let file = File::open(path).map_err(unreadable)?;
        refuse_open_mode(&file.metadata().map_err(unreadable)?, &origin)?;
        // Room for all from the start: growing would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
        file.take(MAX_FILE_BYTES as u64).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() == MAX_FILE_BYTES {
            return Err(invalid(format!("{origin} is too long for a key ring")));
        }
        parse_bytes(&text, &origin)
    }

    /// From the text form itself.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for text that does not hold a usable ring: no key or no primary, two primaries, two
    /// keys of one id, a key that is not 32 bytes in base64 or repeats one byte. The message never shows a value.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        parse(text, "key text")
    }

    /// A ring of one key derived from a passphrase; see [`PassphraseKek`].
    ///
    /// # Errors
    /// As [`PassphraseKek::new`].
    pub fn from_passphrase(id: &str, passphrase: SecretString) -> Result<Self, Error> {
        Ok(Self::new(Arc::new(PassphraseKek::new(id, passphrase)?)))
    }

    /// A fresh entry of the text form, `id:base64`, for an operator to put where secrets are kept. It *is* the secret:
    /// whoever has it and the database has every token.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an id that cannot be one, and [`ErrorKind::RandomUnavailable`].
    pub fn generate_key(id: &str, entropy: &dyn Entropy) -> Result<SecretString, Error> {
        check_id(id)?;
        let key = Key::random(entropy)?;
        // Room for all from the start: growing would leave copies behind.
        let mut line = String::with_capacity(id.len() + 1 + 44);
        line.push_str(id);
        line.push(':');
        BASE64.encode_string(key.as_bytes(), &mut line);
        Ok(SecretString::new(line))
    }

    /// The key that wraps new data keys.
    #[must_use]
    pub fn primary(&self) -> &dyn Kek {
        &*self.primary
    }

    /// The ids of all keys, the primary's first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.all().map(Kek::id)
    }

    pub(super) fn find(&self, id: &str) -> Option<&dyn Kek> {
        self.all().find(|kek| kek.id() == id)
    }

    /// Ids must be well formed and differ.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (at, id) in self.ids().enumerate() {
            check_id(id)?;
            if self.ids().take(at).any(|earlier| earlier == id) {
                return Err(invalid(format!("two keys of the key ring have the id \"{id}\"")));
            }
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &dyn Kek> {
        std::iter::once(&self.primary).chain(&self.decrypt_only).map(|kek| &**kek)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("primary", &self.primary)
            .field("decrypt_only", &self.decrypt_only)
            .finish()
    }
}

fn parse_bytes(text: &[u8], origin: &str) -> Result<KeyRing, Error> {
    let text = std::str::from_utf8(text).map_err(|_| invalid(format!("{origin} is not UTF-8")))?;
    parse(text, origin)
}

fn parse(text: &str, origin: &str) -> Result<KeyRing, Error> {
    let mut primary = None;
    let mut others: Vec<Arc<dyn Kek>> = Vec::new();
    let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    for (at, entry) in entries.enumerate() {
        let (kek, marked) = parse_entry(entry, at + 1, origin)?;
        if !marked {
            others.push(kek);
        } else if let Some(first) = primary.replace(Arc::clone(&kek)) {
            return Err(invalid(format!(
                "{origin} marks two primary keys, \"{}\" and \"{}\"",
                first.id(),
                kek.id()
            )));
        }
    }
    let primary = match (primary, others.len()) {
        (Some(primary), _) => primary,
        (None, 0) => return Err(invalid(format!("{origin} holds no key"))),
        (None, 1) => others.remove(0),
        (None, _) => {
            let ids: Vec<_> = others.iter().map(|kek| kek.id()).collect();
            return Err(invalid(format!("{origin} marks no primary key with '*': {}", ids.join(", "))));
        }
    };
    let ring = KeyRing { primary, decrypt_only: others };
    ring.check().map_err(|error| invalid(format!("{origin}: {error}")))?;
    Ok(ring)
}

/// An entry that cannot be read is named by its place: the text before its colon may be the key.
fn parse_entry(entry: &str, place: usize, origin: &str) -> Result<(Arc<dyn Kek>, bool), Error> {
    let (entry, marked) = match entry.strip_prefix('*') {
        Some(rest) => (rest, true),
        None => (entry, false),
    };
    let (id, value) = entry
        .split_once(':')
        .ok_or_else(|| invalid(format!("entry {place} of {origin} is not id:base64")))?;
    check_id(id).map_err(|error| invalid(format!("entry {place} of {origin}: {error}")))?;
    let kek = BASE64
        .decode(value)
        .map(SecretBytes::new)
        .map_err(|_| "not base64".to_owned())
        .and_then(|key| RawKek::checked(id, &key))
        .map_err(|problem| {
            // 43 characters can be 32 bytes in base64: a key and its id the wrong way round.
            if id.len() < 43 {
                invalid(format!("key \"{id}\" in {origin} is not usable: {problem}"))
            } else {
                invalid(format!("entry {place} of {origin} is not usable: {problem}"))
            }
        })?;
    Ok((Arc::new(kek), marked))
}

#[cfg(unix)]
fn refuse_open_mode(metadata: &std::fs::Metadata, origin: &str) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(invalid(format!("{origin} is open to others than its owner (mode {mode:04o}); chmod 600 it")))
}

#[cfg(not(unix))]
fn refuse_open_mode(_: &std::fs::Metadata, _: &str) -> Result<(), Error> {
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
