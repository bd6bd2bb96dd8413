use std::fmt;

use subtle::ConstantTimeEq as _;

use crate::error::{Error, ErrorKind};

/// Ties a flow to the browser session that started it, so that a callback which somebody else's browser brings is
/// refused (RFC 9700 section 4.7: an attacker would otherwise connect their own account to the victim, or the reverse).
///
/// Make it from a secret of the session that only this browser presents: the session cookie's value, or a value kept in
/// the server-side session. The vault keeps a hash.
#[derive(Clone)]
pub struct SessionBinding([u8; 32]);

/// Shorter session secrets could be guessed.
const MIN_BYTES: usize = 16;

impl SessionBinding {
    /// From the session's secret, at least 16 bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the secret is shorter.
    pub fn new(session_secret: impl AsRef<[u8]>) -> Result<Self, Error> {
        let secret = session_secret.as_ref();
        if secret.len() < MIN_BYTES {
            return Err(Error::new(ErrorKind::InvalidInput, "a session secret has at least 16 bytes"));
        }
        Ok(Self(blake3::derive_key("token-vault 2026 session binding v1", secret)))
    }

    /// No binding: **any** browser that brings the state completes the flow. For hosts that truly have no session, such
    /// as a command-line tool that runs the whole flow for one person.
    #[must_use]
    pub fn insecure_unbound() -> Self {
        Self(blake3::derive_key("token-vault 2026 session binding v1, unbound", b""))
    }

    pub(crate) const fn digest(&self) -> [u8; 32] {
        self.0
    }

    pub(crate) fn matches(&self, digest: &[u8; 32]) -> bool {
        self.0.ct_eq(digest).into()
    }
}

impl fmt::Debug for SessionBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionBinding")
    }
}
