//! The least that opening costs: one key derivation, one commitment, one pass of the cipher that the vault uses.

use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, Tag};

const SALT: usize = 32;
const TAG: usize = 16;
/// As many bytes as the vault has there: its header, and the fields of a connection.
const ASSOCIATED: [u8; 200] = [3; 200];

/// Salt, ciphertext, tag.
pub fn seal(data_key: &[u8; 32], salt: u64, plain: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; SALT];
    sealed[..8].copy_from_slice(&salt.to_le_bytes());
    let cipher = cipher(data_key, &sealed);
    sealed.extend_from_slice(plain);
    let tag = encrypt(&cipher, &mut sealed[SALT..]);
    sealed.extend_from_slice(&tag);
    sealed
}

/// Into a new buffer, which opening cannot do without.
pub fn open(data_key: &[u8; 32], sealed: &[u8]) -> Vec<u8> {
    let (salt, rest) = sealed.split_at(SALT);
    let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
    let cipher = cipher(data_key, salt);
    let mut buffer = ciphertext.to_vec();
    let tag: &Tag = tag.try_into().expect("16 bytes");
    let opened =
        cipher.decrypt_inout_detached(&[0; 12].into(), &ASSOCIATED, buffer.as_mut_slice().into(), tag);
    opened.expect("genuine");
    buffer
}

pub fn encrypt(cipher: &ChaCha20Poly1305, buffer: &mut [u8]) -> Tag {
    cipher.encrypt_inout_detached(&[0; 12].into(), &ASSOCIATED, buffer.into()).expect("a short buffer")
}

/// A key and a commitment, 64 bytes of output, as the vault derives them.
fn cipher(data_key: &[u8; 32], salt: &[u8]) -> ChaCha20Poly1305 {
    let mut derived = [0; 64];
    blake3::Hasher::new_keyed(data_key).update(&[1]).update(salt).finalize_xof().fill(&mut derived);
    let (encryption, commitment) = derived.split_at(32);
    std::hint::black_box(commitment);
    ChaCha20Poly1305::new_from_slice(encryption).expect("32 bytes")
}
