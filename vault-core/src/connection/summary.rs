use serde::{Deserialize, Serialize};

use super::{decode, encode};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::oauth::Account;
use crate::secret::SecretBytes;

/// What listings show of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) provider: String,
    pub(crate) client_id: String,
    pub(crate) account: Option<Account>,
    pub(crate) scopes: Vec<String>,
    pub(crate) requested: Vec<String>,
    pub(crate) config: Vec<(String, String)>,
    /// When the grant ends however often it is refreshed.
    pub(crate) reconsent_due_at: Option<Timestamp>,
}

impl Summary {
    pub(crate) fn to_bytes(&self) -> Result<SecretBytes, Error> {
        encode(self)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes, "a sealed summary does not decode")
    }
}
