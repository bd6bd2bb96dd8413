//! Sealing: what the stores hold is encrypted here, and opens only for the record that it was sealed for.
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

pub use self::context::{Context, Purpose};
pub use self::envelope::MAX_PLAINTEXT_BYTES;
pub use self::kek::{Kek, KekError, KekErrorKind, RawKek};
pub use self::passphrase::PassphraseKek;
pub use self::ring::KeyRing;
pub use self::sealer::{DataKeyScope, Sealer};
