//! Unguessable text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vault_core::entropy::{Entropy as _, SystemEntropy};

pub(super) fn bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemEntropy::default()
        .fill(&mut bytes)
        .expect("a machine without random bytes cannot run tests of security");
    bytes
}

/// 43 characters of base64url.
pub(super) fn text() -> String {
    URL_SAFE_NO_PAD.encode(bytes())
}
