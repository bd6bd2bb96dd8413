//! Where a provider's endpoints are, once every variable is filled in.

use std::collections::BTreeMap;

use url::Url;

/// Values of the variables in URL templates, already validated.
pub(crate) type Vars = BTreeMap<String, String>;

/// The endpoints of one provider for one connector or connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// Who must have issued callbacks and id_tokens. Compared byte for byte.
    pub(crate) issuer: Option<String>,
    pub(crate) authorize: Url,
    pub(crate) token: Url,
    pub(crate) refresh: Option<Url>,
    pub(crate) revoke: Option<Url>,
    pub(crate) jwks: Option<Url>,
    pub(crate) userinfo: Option<Url>,
    /// The server says that it sends `iss` in callbacks (RFC 9207).
    pub(crate) sends_iss: bool,
    /// What the metadata says of client authentication; empty when there is no metadata.
    pub(crate) auth_methods: Vec<String>,
    /// What the metadata says of PKCE; `None` when there is no metadata or it does not say.
    pub(crate) pkce_methods: Option<Vec<String>>,
}
