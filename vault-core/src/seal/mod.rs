//! Sealing: what the stores hold is encrypted here, and opens only for the record that it was sealed for.
//!
//! # Keys
//! A [`KeyRing`] holds key-encryption keys ([`Kek`]), which the host provides: one primary, which wraps, and others that
//! only unwrap. They wrap **data keys**, one per tenant or per user ([`DataKeyScope`]), which lie in the
//! [`KeyStore`](crate::store::KeyStore). From its data key every sealed value derives a key of its own, used once. So a
//! new key-encryption key costs one small row per tenant, and deleting that row makes everything under it unreadable,
//! in old backups too. There is no mode without keys.
//!
//! # Format v1
//! Numbers are big-endian; `‖` joins bytes.
//!
//! | offset | bytes | field | value |
//! |---|---|---|---|
//! | 0 | 2 | magic | `TV` |
//! | 2 | 1 | version | 1 |
//! | 3 | 1 | suite | 1: BLAKE3 and ChaCha20-Poly1305 (RFC 8439) |
//! | 4 | 1 | flags | 0 |
//! | 5 | 16 | key id | names the data key |
//! | 21 | 32 | salt | makes the value's key unique |
//! | 53 | 32 | commitment | tells a wrong key from edited bytes |
//! | 85 | 64·n | ciphertext | of: length u32 ‖ plaintext ‖ zeros up to a multiple of 64 |
//! | end | 16 | tag | Poly1305 |
//!
//! With `K` the data key and `purpose` its one byte:
//! - encryption key (32) ‖ commitment (32) = `BLAKE3-keyed(K, purpose ‖ salt)`, 64 bytes of output. The nonce is twelve
//!   zeros, which a key used once allows.
//! - salt = `BLAKE3-keyed(K, "salt" ‖ 32 random bytes ‖ fields ‖ padded plaintext)`. Should the random bytes ever repeat,
//!   as in a cloned virtual machine, other content still gets another key. Readers take the salt as it stands.
//! - associated data = bytes 0 to 84 ‖ fields.
//!
//! A field is `tag u8 ‖ length u32 ‖ value`. Fields come in the order of their tags, and one that does not apply is left
//! out, so that different contexts never encode alike:
//!
//! | tag | field | value |
//! |---|---|---|
//! | 1 | purpose | 1 credential, 2 summary, 3 flow, 4 connector, 5 revocation, 6 data key |
//! | 2 | tenant | UTF-8 |
//! | 3 | owner | `0x00` for shared, or `0x01` ‖ user id in UTF-8 |
//! | 4 | connector | UTF-8 |
//! | 5 | slot | UTF-8 |
//! | 6 | incarnation | 16 bytes |
//! | 7 | generation | u64 |
//! | 8 | subject | at most 255 bytes |
//!
//! A connection's credential and its summary differ in purpose, so that the two cannot be swapped within their row.
//!
//! # Opening
//! Parse, check the bounds, look the data key up by its id (no key is ever tried), derive, compare the commitment in
//! constant time, open. Each step has its own message: `not a sealed value`, `unsupported format 7`, `truncated`,
//! `wrong key, or moved from another purpose`, `tampered or moved`. A value that does not open is left as it is, and
//! nothing of it gets out.
//!
//! # Wrapped data keys
//! The record of a scope holds `0x01`, then a [postcard] list of (data key id, key-encryption key id, active, wrapped
//! bytes). [`RawKek`] wraps in format v1 itself, with purpose 6, the data key's id, and the fields of the scope: tenant,
//! and owner where the key is a user's. [`PassphraseKek`] puts its parameters in front. The scope `Vault` is the canary:
//! a data key that seals nothing, wrapped by every primary key in turn, which must open before a vault starts.
//!
//! # What it does not do
//! It cannot tell that a whole row was put back as it was before, key rows included; what must not go back carries a
//! generation. It wipes the keys and plaintexts in its own buffers, and cannot wipe what others copied.
//!
//! [postcard]: https://postcard.jamesmunns.com/wire-format

mod aead;
mod context;
mod data_keys;
mod envelope;
mod kek;
mod key;
mod key_list;
mod passphrase;
mod ring;
mod sealer;
#[cfg(test)]
mod tests;

pub use self::context::{Context, Purpose};
pub use self::envelope::MAX_PLAINTEXT_BYTES;
pub use self::kek::{Kek, KekError, KekErrorKind, RawKek};
pub use self::passphrase::PassphraseKek;
pub use self::ring::KeyRing;
pub use self::sealer::{DataKeyScope, Sealer};
