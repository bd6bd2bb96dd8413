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
pub struct SecretBytes {
    buffer: Vec<u8>,
    /// Where they begin: what lies in front is not worth moving all of them for.
    start: usize,
}

impl SecretBytes {
    /// Takes ownership; the bytes are wiped when this is dropped.
    #[must_use]
    pub const fn new(secret: Vec<u8>) -> Self {
        Self { buffer: secret, start: 0 }
    }

    /// The bytes themselves.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Leaves the first `len` bytes out.
    pub(crate) fn skip(&mut self, len: usize) {
        self.start = self.buffer.len().min(self.start + len);
    }

    /// Wipes everything behind the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        let end = self.start + len;
        if let Some(rest) = self.buffer.get_mut(end..) {
            rest.zeroize();
        }
        self.buffer.truncate(end);
    }

    /// Gives the bytes away; wiping them is then the taker's part.
    #[must_use]
    pub fn into_exposed(mut self) -> Vec<u8> {
        let len = self.buffer.len() - self.start;
        self.buffer.copy_within(self.start.., 0);
        self.start = 0;
        self.truncate(len);
        std::mem::take(&mut self.buffer)
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        // As slices, which is many bytes at a time; `Vec` itself wipes byte by byte.
        self.buffer.as_mut_slice().zeroize();
        self.buffer.spare_capacity_mut().zeroize();
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

    #[test]
    fn what_is_left_out_in_front_and_cut_off_behind_is_not_exposed() {
        let mut secret = SecretBytes::new(b"len:secret:rest".to_vec());
        secret.skip(4);
        secret.truncate(6);
        assert_eq!(secret.expose_secret(), b"secret");
        assert_eq!(secret.into_exposed(), b"secret");
        let mut short = SecretBytes::new(b"ab".to_vec());
        short.skip(4);
        assert_eq!(short.expose_secret(), b"");
    }
}
