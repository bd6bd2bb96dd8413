//! Identifiers: whose connection, to what, and which one of several.
//!
//! Host-chosen identifiers ([`TenantId`], [`UserId`], [`ConnectorId`], [`Slot`]) are opaque: kept byte for byte,
//! compared byte for byte, never normalised. Two user ids that differ only by case or by Unicode form are two users.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, LazyLock};

use quick_cache::Equivalent;

use crate::entropy::{Entropy, EntropyError};

/// The longest identifier, in bytes.
pub const MAX_ID_BYTES: usize = 255;

/// Why a string is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// No bytes at all.
    #[error("invalid {0}: empty")]
    Empty(&'static str),
    /// A NUL byte, which not every database can store.
    #[error("invalid {0}: contains a NUL byte")]
    Nul(&'static str),
    /// More than [`MAX_ID_BYTES`] bytes.
    #[error("invalid {0}: longer than 255 bytes")]
    TooLong(&'static str),
    /// Not UTF-8.
    #[error("invalid {0}: not UTF-8")]
    Utf8(&'static str),
}

/// An identifier's text. The default one is in every key of most hosts: it takes no hashing, and nobody counts who shares
/// it, which all threads would do in one place.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Text {
    Default,
    /// Any other.
    Own(Arc<str>),
}

const DEFAULT: &str = "default";

impl Text {
    fn new(text: &str) -> Self {
        if text == DEFAULT { Self::Default } else { Self::Own(text.into()) }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Default => DEFAULT,
            Self::Own(text) => text,
        }
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to [`MAX_ID_BYTES`] bytes of UTF-8 without NUL. Cloning shares the text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Text);

        impl $name {
            /// Checks the limits and keeps the text as it is.
            ///
            /// # Errors
            /// [`IdError`] names the kind of identifier and the limit that it breaks.
            pub fn new(id: impl AsRef<str>) -> Result<Self, IdError> {
                let id = id.as_ref();
                match id.len() {
                    0 => Err(IdError::Empty($what)),
                    n if n > MAX_ID_BYTES => Err(IdError::TooLong($what)),
                    _ if id.contains('\0') => Err(IdError::Nul($what)),
                    _ => Ok(Self(Text::new(id))),
                }
            }

            /// The same from bytes of unknown origin.
            ///
            /// # Errors
            /// As [`new`](Self::new), and [`IdError::Utf8`].
            pub fn from_bytes(id: &[u8]) -> Result<Self, IdError> {
                Self::new(std::str::from_utf8(id).map_err(|_| IdError::Utf8($what))?)
            }

            /// The text, as given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.as_str().escape_debug(), f)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(id: &str) -> Result<Self, IdError> {
                Self::new(id)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(id: String) -> Result<Self, IdError> {
                Self::new(id)
            }
        }

        // So that handles take an id or the text of one.
        #[expect(clippy::infallible_try_from, reason = "handles take `TryInto`, and a reference to an id is one")]
        impl TryFrom<&$name> for $name {
            type Error = std::convert::Infallible;
            fn try_from(id: &$name) -> Result<Self, Self::Error> {
                Ok(id.clone())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&id).map_err(serde::de::Error::custom)
            }
        }
    };
}

opaque_id!(
    /// The isolation boundary above everything: part of every key, every store call and every sealed context.
    /// Hosts without tenants use `TenantId::default()`.
    TenantId,
    "tenant id"
);
opaque_id!(
    /// One app user, named as the host names them.
    UserId,
    "user id"
);
opaque_id!(
    /// One registered OAuth application. The vault makes it up when the connector is registered.
    ConnectorId,
    "connector id"
);
opaque_id!(
    /// Tells apart several accounts that one owner connects through one connector. `Slot::default()` is the usual one.
    Slot,
    "slot"
);

impl Default for TenantId {
    fn default() -> Self {
        Self(Text::Default)
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self(Text::Default)
    }
}

impl ConnectorId {
    /// 128 random bits in hexadecimal.
    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        Ok(Self(Text::new(&hex(&random::<16>(entropy)?))))
    }
}

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an owner is one user or all of them; a third kind would be a new design"
)]
pub enum Owner {
    /// One account for all users of the tenant.
    Shared,
    /// One app user.
    User(UserId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("shared"),
            Self::User(user) => write!(f, "user {user}"),
        }
    }
}

/// Names one connection: tenant, owner, connector and slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the key is these four parts; backends take it apart")]
pub struct ConnectionKey {
    /// Isolation boundary.
    pub tenant: TenantId,
    /// Whose it is.
    pub owner: Owner,
    /// Through which OAuth application.
    pub connector: ConnectorId,
    /// Which of the owner's accounts.
    pub slot: Slot,
}

impl ConnectionKey {
    /// A 32-byte name for the row: BLAKE3 over the length-prefixed parts, so that no two keys share one.
    ///
    /// Backends index by it: one fixed-width key is faster than four texts, and no byte of an identifier needs
    /// quoting. Opening a sealed record checks the full key again.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
        static CONTEXT: LazyLock<ContextKey> =
            LazyLock::new(|| hash_derive_key_context("token-vault 2026 connection key v1"));

        let (kind, user) = match &self.owner {
            Owner::Shared => (0u8, ""),
            Owner::User(user) => (1, user.as_str()),
        };
        // One call of the hasher, for all parts.
        let mut input = [0; 1 + 4 * (1 + MAX_ID_BYTES)];
        input[0] = kind;
        let mut end = 1;
        for part in [self.tenant.as_str(), user, self.connector.as_str(), self.slot.as_str()] {
            // One byte of length is injective.
            input[end] = u8::try_from(part.len()).unwrap_or(u8::MAX);
            input[end + 1..][..part.len()].copy_from_slice(part.as_bytes());
            end += 1 + part.len();
        }
        let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT);
        hasher.update(&input[..end]);
        hasher.finalize().into()
    }
}

/// A [`ConnectionKey`] whose parts lie with those who have them. Looks the same up.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct KeyParts<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) owner: &'a Owner,
    pub(crate) connector: &'a ConnectorId,
    pub(crate) slot: &'a Slot,
}

impl KeyParts<'_> {
    pub(crate) fn to_key(self) -> ConnectionKey {
        ConnectionKey {
            tenant: self.tenant.clone(),
            owner: self.owner.clone(),
            connector: self.connector.clone(),
            slot: self.slot.clone(),
        }
    }
}

impl Equivalent<ConnectionKey> for KeyParts<'_> {
    fn equivalent(&self, key: &ConnectionKey) -> bool {
        // What differs most comes first.
        *self.owner == key.owner
            && *self.connector == key.connector
            && *self.tenant == key.tenant
            && *self.slot == key.slot
    }
}

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, owner, connector, slot } = self;
        write!(f, "connection of {owner} to {connector} (slot {slot}, tenant {tenant})")
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Draws a new one.
            ///
            /// # Errors
            /// When the random source fails.
            pub fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
                random(entropy).map(Self)
            }

            /// As stored.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// For storing.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

random_id!(
    /// New at every successful connect, so that nothing from before can touch what came after.
    Incarnation
);
random_id!(
    /// Names one data key. It stands in clear in every sealed blob.
    DataKeyId
);
random_id!(
    /// Names one attempt to refresh; also the holder of its lease.
    AttemptId
);
random_id!(
    /// Names one revocation that is still owed to a provider.
    RevocationId
);

fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c05_a_user_id_is_refused_when_empty_nul_too_long_or_not_utf8() {
        assert_eq!(UserId::new(""), Err(IdError::Empty("user id")));
        assert_eq!(UserId::new("a\0b"), Err(IdError::Nul("user id")));
        assert_eq!(UserId::new("x".repeat(256)), Err(IdError::TooLong("user id")));
        assert_eq!(UserId::from_bytes(&[0xff]), Err(IdError::Utf8("user id")));
        assert!(UserId::new("x".repeat(255)).is_ok());
    }

    #[test]
    fn a_default_id_is_the_one_of_that_text() {
        let told = TenantId::new("default").expect("valid");
        assert_eq!((&told, told.as_str()), (&TenantId::default(), "default"));
        let mut sorted = ["e", "default", "d"].map(|id| Slot::new(id).expect("valid"));
        sorted.sort();
        assert_eq!(sorted.map(|slot| slot.as_str().to_owned()), ["d", "default", "e"]);
    }

    #[test]
    fn keys_that_would_collide_when_joined_have_different_digests() {
        let key = |tenant: &str, user: &str| ConnectionKey {
            tenant: TenantId::new(tenant).expect("valid"),
            owner: Owner::User(UserId::new(user).expect("valid")),
            connector: ConnectorId::new("c").expect("valid"),
            slot: Slot::default(),
        };
        assert_ne!(key("a:b", "c").digest(), key("a", "b:c").digest());
        assert_ne!(key("ab", "c").digest(), key("a", "bc").digest());
        let shared = ConnectionKey { owner: Owner::Shared, ..key("a", "x") };
        assert_ne!(shared.digest(), key("a", "shared").digest());
    }
}
