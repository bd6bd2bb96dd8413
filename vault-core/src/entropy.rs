//! Where random bytes come from.

use std::fmt;

/// A source of cryptographically secure random bytes.
///
/// The vault uses [`SystemEntropy`] unless told otherwise. Another source is for simulations that must replay, and for
/// tests of what happens when the system's source fails.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `dest` whole.
    ///
    /// # Errors
    /// When no secure bytes can be had; `dest` is then not to be used.
    fn fill(&self, dest: &mut [u8]) -> Result<(), EntropyError>;
}

/// The random source failed. Whatever needed it was not done, and nothing was stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error("the random source failed")]
#[non_exhaustive]
pub struct EntropyError;

impl EntropyError {
    /// For sources outside this crate.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// The operating system's source.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, dest: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(dest).map_err(|_| EntropyError)
    }
}
