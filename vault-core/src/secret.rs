//! Text and bytes that must not leak: redacted in `Debug`, no `Display`, no serde, no `PartialEq`, no `Clone`, wiped
//! on drop, and one accessor to search for: `expose_secret`.
//!
//! Wiping covers the buffers owned here. What the operating system, the TLS library or the caller copies is theirs.

use std::fmt;

use zeroize::Zeroize as _;

/// Secret text.
pub struct SecretString(Box<str>);

impl SecretString {
    /// Takes ownership; the text is wiped when this is dropped.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        let mut secret: String = secret.into();
        if secret.len() == secret.capacity() {
            return Self(secret.into_boxed_str());
        }
        // Shrinking may move the text and leave the old allocation unwiped.
        let boxed = Box::from(secret.as_str());
        secret.zeroize();
        Self(boxed)
    }

    /// The secret itself.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretString {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Secret bytes, such as a request body that carries a refresh token.
#[derive(Default)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes ownership; the bytes are wiped when this is dropped.
    #[must_use]
    pub const fn new(secret: Vec<u8>) -> Self {
        Self(secret)
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Wipes everything behind the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        if let Some(rest) = self.0.get_mut(len..) {
            rest.zeroize();
        }
        self.0.truncate(len);
    }

    /// Gives the bytes away; wiping them is then the taker's part.
    #[must_use]
    pub fn into_exposed(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The secret of an OAuth client. Write-only: the vault seals it and never gives it back.
#[derive(Debug)]
pub struct ClientSecret(SecretString);

impl ClientSecret {
    /// Takes ownership of the secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(SecretString::new(secret))
    }

    pub(crate) fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e17_debug_of_a_secret_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", SecretString::new("canary")), "[secret]");
        assert_eq!(format!("{:#?}", SecretBytes::new(b"canary".to_vec())), "[secret]");
        assert!(!format!("{:?}", ClientSecret::new("canary")).contains("canary"));
    }
}
