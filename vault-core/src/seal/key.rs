use std::fmt;

use zeroize::Zeroize as _;

use crate::entropy::{Entropy, EntropyError};

/// A 256-bit key that lives in one place on the heap and is wiped there.
pub(super) struct Key(Box<[u8; 32]>);

impl Key {
    pub(super) fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Self::zeroed();
        entropy.fill(key.as_mut_bytes())?;
        Ok(key)
    }

    /// A copy of `bytes`, if there are 32.
    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::zeroed();
        (bytes.len() == key.0.len()).then(|| key.0.copy_from_slice(bytes))?;
        Some(key)
    }

    /// To be filled in place.
    pub(super) fn zeroed() -> Self {
        Self(Box::new([0; 32]))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn as_mut_bytes(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
