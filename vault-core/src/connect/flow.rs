use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::clock::Timestamp;
use crate::core::{Core, Moment};
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::id::ConnectionKey;
use crate::seal::{Context, Purpose};
use crate::secret::{SecretBytes, SecretString};
use crate::store::FlowRecord;

/// The sealed part of a pending authorization: all that the callback is held against.
#[derive(Serialize, Deserialize)]
pub(crate) struct Flow {
    pub(crate) binding: [u8; 32],
    pub(crate) client_id: String,
    pub(crate) issuer: Option<String>,
    /// The code goes to this endpoint and no other (RFC 9700 section 4.4).
    pub(crate) token_endpoint: String,
    pub(crate) redirect_uri: String,
    pub(crate) requested: Vec<String>,
    pub(crate) required: Vec<String>,
    pub(crate) return_to: String,
    pub(crate) verifier: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) config: BTreeMap<String, String>,
    /// From then on it must not be completed.
    pub(crate) expires_at: Timestamp,
    pub(crate) began: Moment,
}

impl Flow {
    pub(crate) fn to_bytes(&self) -> Result<SecretBytes, Error> {
        postcard::to_allocvec(self).map(SecretBytes::new).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the authorization cannot be encoded").with_source(error)
        })
    }
}

impl Core {
    pub(crate) async fn open_flow(&self, record: &FlowRecord) -> Result<Flow, Error> {
        let key = key(record);
        let plain = self.sealer.open(&context(&key, &record.state_hash), &record.sealed).await?;
        postcard::from_bytes(plain.expose_secret()).map_err(|error| {
            Error::new(ErrorKind::CorruptRecord, "a pending authorization does not decode").with_source(error)
        })
    }
}

pub(crate) fn key(record: &FlowRecord) -> ConnectionKey {
    ConnectionKey {
        tenant: record.tenant.clone(),
        owner: record.owner.clone(),
        connector: record.connector.clone(),
        slot: record.slot.clone(),
    }
}

pub(crate) fn context<'a>(key: &'a ConnectionKey, state_hash: &'a [u8; 32]) -> Context<'a> {
    Context { subject: Some(state_hash), ..Context::of_connection(Purpose::Flow, key) }
}

/// 256 random bits, base64url: a handle with nothing inside.
pub(crate) fn random_handle(entropy: &dyn Entropy) -> Result<SecretString, Error> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes)?;
    let handle = SecretString::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes));
    bytes.zeroize();
    Ok(handle)
}

/// The store sees this, so that reading the store does not let anybody finish a flow.
pub(crate) fn state_hash(state: &SecretString) -> [u8; 32] {
    blake3::derive_key("token-vault 2026 flow state v1", state.expose_secret().as_bytes())
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.verifier.zeroize();
        self.nonce.zeroize();
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flow")
    }
}
