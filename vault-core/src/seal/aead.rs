//! The one place that names a cipher: ChaCha20-Poly1305 (RFC 8439), in place, with a detached tag.
//!
//! Two implementations of the same bytes: `ring` opens, because every token read does, and it takes less than half the
//! time; `chacha20poly1305` seals, in Rust alone. Each so checks the other.

use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize as _, optimization_barrier};

pub(super) const TAG_BYTES: usize = 16;

/// The nonce of every sealed value: its key is used once, so the nonce need not differ.
pub(super) const ZERO_NONCE: [u8; 12] = [0; 12];

/// The tag does not match.
#[derive(Debug)]
pub(super) struct Forged;

/// Encrypts `buffer` in place. It must be shorter than the cipher's limit of 256 GiB, as everything sealed here is.
pub(super) fn seal_in_place(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut [u8],
) -> [u8; TAG_BYTES] {
    ChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(nonce.into(), associated, buffer.into())
        .expect("the only failure is a buffer beyond 256 GiB")
        .into()
}

/// Decrypts `buffer` in place, or wipes it.
pub(super) fn open_in_place(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), Forged> {
    let mut cipher = opening(key);
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened =
        cipher.open_in_place_separate_tag(nonce, Aad::from(associated), (*tag).into(), buffer, 0..).is_ok();
    // `ring` wipes no key: another one in its place does.
    cipher = opening(&[0; 32]);
    optimization_barrier(&cipher);
    if opened {
        return Ok(());
    }
    buffer.zeroize();
    Err(Forged)
}

fn opening(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key of 32 bytes"))
}
