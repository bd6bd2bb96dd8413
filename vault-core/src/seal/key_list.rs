//! What [`KeyRecord::wrapped`](crate::store::KeyRecord::wrapped) holds: `0x01`, then a postcard list of wrapped keys.

use serde::{Deserialize, Serialize};

use super::context::AssociatedData;
use crate::error::{Error, ErrorKind};
use crate::id::DataKeyId;
use crate::store::KeyScope;

const FORMAT: u8 = 1;
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WrappedKey {
    pub(super) id: DataKeyId,
    /// Of the key-encryption key.
    pub(super) kek: String,
    /// Whether it seals, or only opens. One key of a scope is active.
    pub(super) active: bool,
    pub(super) wrapped: Vec<u8>,
}

/// The wrapped keys of one scope. One key may be there more than once, under several key-encryption keys.
#[derive(Debug)]
pub(super) struct KeyList(pub(super) Vec<WrappedKey>);

impl KeyList {
    pub(super) fn decode(scope: &KeyScope, bytes: &[u8]) -> Result<Self, Error> {
        let corrupt = |problem: String| {
            Error::new(ErrorKind::CorruptRecord, format!("data keys of {}: {problem}", Named(scope)))
        };
        match bytes {
            [] => Err(corrupt("truncated".to_owned())),
            [FORMAT, list @ ..] if bytes.len() <= MAX_BYTES => match postcard::take_from_bytes(list) {
                Ok((keys, [])) if !Vec::is_empty(&keys) => Ok(Self(keys)),
                _ => Err(corrupt("malformed".to_owned())),
            },
            [FORMAT, ..] => Err(corrupt("too long".to_owned())),
            [other, ..] => Err(corrupt(format!("unsupported format {other}"))),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(&self.0, vec![FORMAT]).expect("a list of plain values in growing memory")
    }
}

/// What a wrapped key is bound to: its id, and whose it is.
pub(super) fn wrap_context(scope: &KeyScope, id: DataKeyId) -> Vec<u8> {
    [id.as_bytes(), AssociatedData::of_scope(scope).fields()].concat()
}

/// Names a scope in an error message.
pub(super) struct Named<'a>(pub(super) &'a KeyScope);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            KeyScope::Tenant(tenant) => write!(f, "tenant {tenant}"),
            KeyScope::User(tenant, user) => write!(f, "user {user} (tenant {tenant})"),
            KeyScope::Vault => f.write_str("the vault"),
        }
    }
}
