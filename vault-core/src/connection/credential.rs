use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::{decode, encode};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::secret::SecretBytes;

/// What a connection holds, sealed as one blob so that generations cannot be mixed. Kinds are added at the end: their
/// order is part of the stored format.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Credential {
    OAuth(TokenSet),
}

/// An OAuth token set and where it came from.
///
/// The first two fields are all that a token read looks at: [`Opened`](super::Opened) walks them where they lie, by the
/// order in which they stand here.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct TokenSet {
    /// One per audience; the first is the default audience's.
    pub(crate) access: Vec<Access>,
    pub(crate) config: Vec<(String, String)>,
    pub(crate) refreshed_at: Timestamp,
    pub(crate) refresh_token: Option<String>,
    pub(crate) refresh_expires_at: Option<Timestamp>,
    pub(crate) earliest_refresh_at: Option<Timestamp>,
    /// Other refresh tokens of the same parent, of which one may be the live one. The newest is last.
    pub(crate) alternates: Vec<String>,
    pub(crate) grant: Grant,
    /// Captured secrets that are not tokens, such as webhook URLs.
    pub(crate) secrets: Vec<(String, String)>,
}

/// The audience of an access token that names none: the provider's usual API. It stands first.
pub(crate) const DEFAULT_AUDIENCE: &str = "";

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Access {
    /// Or [`DEFAULT_AUDIENCE`].
    pub(crate) audience: String,
    pub(crate) token: String,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) obtained_at: Timestamp,
    /// Until then the provider is not asked for another one.
    pub(crate) refresh_after: Timestamp,
    pub(crate) scopes: Vec<String>,
}

/// Which grant the tokens belong to. Refresh tokens go to this token endpoint's origin and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) issuer: Option<String>,
    pub(crate) token_origin: String,
    pub(crate) client_id: String,
    pub(crate) account: Option<String>,
}

impl Credential {
    pub(crate) fn encode(tokens: &TokenSet) -> Result<SecretBytes, Error> {
        /// As the enum of the stored kinds, borrowed.
        #[derive(Serialize)]
        enum Borrowed<'a> {
            OAuth(&'a TokenSet),
        }
        encode(&Borrowed::OAuth(tokens))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes, "a sealed credential does not decode")
    }

    pub(crate) fn into_tokens(self) -> TokenSet {
        let Self::OAuth(tokens) = self;
        tokens
    }
}

impl TokenSet {
    /// The default audience's access token. Every grant has one.
    pub(crate) fn default_access(&self) -> Option<&Access> {
        self.access(DEFAULT_AUDIENCE)
    }

    pub(crate) fn access(&self, audience: &str) -> Option<&Access> {
        self.access.iter().find(|access| access.audience == audience)
    }

    /// Puts it in the place of the one before for the same audience. The default audience's stays first; beyond a number
    /// that no host needs, the one goes that was asked for longest ago.
    pub(crate) fn put_access(&mut self, access: Access) {
        const MOST: usize = 16;
        if access.audience == DEFAULT_AUDIENCE {
            self.access.retain(|other| other.audience != DEFAULT_AUDIENCE);
            return self.access.insert(0, access);
        }
        self.access.retain(|other| other.audience != access.audience);
        if self.access.len() >= MOST {
            self.access.remove(1);
        }
        self.access.push(access);
    }
}

impl Drop for TokenSet {
    fn drop(&mut self) {
        self.refresh_token.zeroize();
        self.alternates.zeroize();
        self.secrets.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

impl std::fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSet").field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("audience", &self.audience).finish_non_exhaustive()
    }
}
