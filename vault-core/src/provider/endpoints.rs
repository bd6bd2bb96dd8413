//! Where a provider's endpoints are, once every variable is filled in.

use std::collections::BTreeMap;

use url::Url;

use super::spec::{IssMode, Spec};
use super::template::Template;
use crate::error::{Error, ErrorKind};

/// Values of the variables in URL templates, already validated.
pub(crate) type Vars = BTreeMap<String, String>;

/// The endpoints of one provider for one connector or connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// Who must have issued callbacks and `id_token`s. Compared byte for byte.
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

/// The endpoints that a provider file names; discovery fills in what is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartialEndpoints {
    pub(crate) issuer: Option<String>,
    pub(crate) authorize: Option<Url>,
    pub(crate) token: Option<Url>,
    pub(crate) refresh: Option<Url>,
    pub(crate) revoke: Option<Url>,
    pub(crate) jwks: Option<Url>,
    pub(crate) userinfo: Option<Url>,
    /// Where the file says that the metadata is, when not at the well-known places of the issuer.
    pub(crate) metadata: Option<Url>,
    pub(crate) sends_iss: bool,
    pub(crate) auth_methods: Vec<String>,
    pub(crate) pkce_methods: Option<Vec<String>>,
}

impl PartialEndpoints {
    /// Fills in the provider's templates.
    pub(crate) fn configured(spec: &Spec, vars: &Vars) -> Result<Self, Error> {
        let fill = |field: &str, text: &Option<String>| match text {
            Some(text) => Template::parse(field, text)?.fill(spec, vars).map(Some),
            None => Ok(None),
        };
        let url = |field, text| Ok::<_, Error>(fill(field, text)?.map(|(_, url)| url));
        let from = &spec.endpoints;
        let metadata = match &from.discovery {
            Some(discovery) => url("discovery", &discovery.url)?,
            None => None,
        };
        Ok(Self {
            issuer: fill("issuer", &from.issuer)?.map(|(text, _)| text),
            authorize: url("authorize", &from.authorize)?,
            token: url("token", &from.token)?,
            refresh: url("refresh", &from.refresh)?,
            revoke: url("revoke", &from.revoke)?,
            jwks: url("jwks", &from.jwks)?,
            userinfo: url("userinfo", &from.userinfo)?,
            metadata,
            sends_iss: spec.callback.iss == IssMode::Required,
            auth_methods: Vec::new(),
            pkce_methods: None,
        })
    }

    /// The whole, or an error that names the endpoint without which nothing works.
    pub(crate) fn complete(self) -> Result<Endpoints, Error> {
        let missing = |name: &str| {
            let message = format!("no {name} endpoint: neither the provider file nor its metadata names one");
            Error::new(ErrorKind::InvalidConfig, message)
        };
        Ok(Endpoints {
            issuer: self.issuer,
            authorize: self.authorize.ok_or_else(|| missing("authorize"))?,
            token: self.token.ok_or_else(|| missing("token"))?,
            refresh: self.refresh,
            revoke: self.revoke,
            jwks: self.jwks,
            userinfo: self.userinfo,
            sends_iss: self.sends_iss,
            auth_methods: self.auth_methods,
            pkce_methods: self.pkce_methods,
        })
    }
}

impl Endpoints {
    /// Where refresh requests go.
    pub(crate) fn refresh_or_token(&self) -> &Url {
        self.refresh.as_ref().unwrap_or(&self.token)
    }
}
