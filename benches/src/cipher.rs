//! The least that sealing and opening cost: one key derivation, one commitment, one pass of the cipher, each in the
//! implementation that the vault uses for it.

use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, Tag};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

const SALT: usize = 32;
const TAG: usize = 16;
const NONCE: [u8; 12] = [0; 12];
/// As many bytes as the vault has there: its header, and the fields of a connection.
const ASSOCIATED: [u8; 200] = [3; 200];

/// Salt, ciphertext, tag.
pub fn seal(data_key: &[u8; 32], salt: u64, plain: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; SALT];
    sealed[..8].copy_from_slice(&salt.to_le_bytes());
    let key = derived(data_key, &sealed);
    sealed.extend_from_slice(plain);
    let tag = encrypt(&key, &mut sealed[SALT..]);
    sealed.extend_from_slice(&tag);
    sealed
}

/// Into a new buffer, which opening cannot do without.
pub fn open(data_key: &[u8; 32], sealed: &[u8]) -> Vec<u8> {
    let (salt, rest) = sealed.split_at(SALT);
    let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
    let key = UnboundKey::new(&CHACHA20_POLY1305, &derived(data_key, salt)).expect("32 bytes");
    let mut buffer = ciphertext.to_vec();
    let tag = tag.try_into().expect("16 bytes");
    let nonce = Nonce::assume_unique_for_key(NONCE);
    let opened =
        LessSafeKey::new(key).open_in_place_separate_tag(nonce, Aad::from(ASSOCIATED), tag, &mut buffer, 0..);
    opened.expect("genuine");
    buffer
}

fn encrypt(key: &[u8; 32], buffer: &mut [u8]) -> Tag {
    let cipher = ChaCha20Poly1305::new(key.into());
    cipher.encrypt_inout_detached(&NONCE.into(), &ASSOCIATED, buffer.into()).expect("a short buffer")
}

/// A key and a commitment, 64 bytes of output, as the vault derives them.
fn derived(data_key: &[u8; 32], salt: &[u8]) -> [u8; 32] {
    let mut derived = [0; 64];
    blake3::Hasher::new_keyed(data_key).update(&[1]).update(salt).finalize_xof().fill(&mut derived);
    let [key, commitment] = [0, 32].map(|at| *derived[at..].first_chunk().expect("64 bytes"));
    std::hint::black_box::<[u8; 32]>(commitment);
    key
}
