//! Providers as data.
mod catalog;
mod check;
pub(crate) mod endpoints;
mod parse;
pub(crate) mod scopes;
pub(crate) mod spec;
mod template;
mod unsupported;
pub(crate) mod url_rules;
pub(crate) mod vars;

use std::fmt;
use std::sync::Arc;

pub use self::catalog::Catalog;
use self::endpoints::{Endpoints, PartialEndpoints, Vars};
use self::spec::{ClientAuth, ClientAuthKind, Discovery, Identity, IdentitySource, ScopesCheck, Spec};
use crate::error::{Error, ErrorKind};

/// An authorization server and its quirks. Cloning is cheap.
///
/// From the [`Catalog`], from a file ([`from_toml`](Self::from_toml)), or, for a server that describes itself, from
/// nothing but its issuer ([`oidc`](Self::oidc)).
#[derive(Clone, PartialEq, Eq)]
pub struct Provider(Arc<Spec>);

impl Provider {
    /// Reads and checks a provider file (see [the format](self)). One that extends another needs
    /// [`Catalog::with_toml`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] names the field at fault, [`ErrorKind::EndpointRefused`] the endpoint.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        Self::from_table(parse::table(text)?)
    }

    /// A server that publishes its metadata (RFC 8414 or OpenID Connect Discovery): Keycloak, Auth0, Okta, Zitadel and
    /// most others. PKCE is required; refresh tokens are treated as if reusing one would end the grant.
    ///
    /// The issuer is `https` (`http` on loopback hosts), without query and fragment, and is compared byte for byte with
    /// what the server states.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for the id, [`ErrorKind::EndpointRefused`] for the issuer.
    ///
    /// ```
    /// let provider = vault_core::Provider::oidc("acme_sso", "https://id.acme.example/realms/staff")?;
    /// assert!(provider.is_discovered());
    /// # Ok::<_, vault_core::Error>(())
    /// ```
    pub fn oidc(id: &str, issuer: &str) -> Result<Self, Error> {
        use ClientAuthKind as Auth;
        url_rules::check_issuer("issuer", issuer)?;
        let spec = Spec {
            id: id.to_owned(),
            name: id.to_owned(),
            category: "identity".into(),
            endpoints: spec::Endpoints {
                issuer: Some(issuer.to_owned()),
                discovery: Some(Discovery::default()),
                ..spec::Endpoints::default()
            },
            client_auth: ClientAuth {
                kinds: vec![Auth::Basic, Auth::Post, Auth::None],
                ..ClientAuth::default()
            },
            identity: Identity {
                source: IdentitySource::IdToken,
                needs_scopes: vec!["openid".into()],
                ..Identity::default()
            },
            scopes_check: ScopesCheck::SubsetOk,
            ..Spec::default()
        };
        check::check(&spec)?;
        Ok(Self(Arc::new(spec)))
    }

    pub(crate) fn from_table(table: toml::Table) -> Result<Self, Error> {
        if table.contains_key("extends") {
            return Err(check::invalid("`extends` needs a catalog"));
        }
        Ok(Self(Arc::new(parse::spec(table)?)))
    }

    /// Lower-case letters, digits, `_` and `-`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// For people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What a connector asks for when it names no scopes.
    #[must_use]
    pub fn default_scopes(&self) -> &[String] {
        &self.0.authorize.scope.defaults
    }

    /// Whether endpoints come from the server's metadata.
    #[must_use]
    pub fn is_discovered(&self) -> bool {
        self.0.endpoints.discovery.is_some()
    }

    /// The provider's own documentation.
    #[must_use]
    pub fn docs(&self) -> &[String] {
        &self.0.docs
    }

    /// How sure we are of what the file says, `high`, `medium` or `low`, and the day it was checked. Empty when the
    /// file does not say.
    #[must_use]
    pub fn confidence(&self) -> (&str, &str) {
        (&self.0.confidence, &self.0.checked)
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.0
    }

    /// The first field of the file that the engine cannot honour yet, if any.
    pub(crate) fn unsupported(&self) -> Option<String> {
        unsupported::unsupported(&self.0).map(str::to_owned)
    }

    /// Checks scopes to ask for, and merges duplicates. What separates scopes cannot be part of one.
    pub(crate) fn check_scopes(&self, scopes: &[String]) -> Result<Vec<String>, Error> {
        let separator = &self.0.authorize.scope.separator;
        match scopes.iter().position(|scope| scope.contains(separator)) {
            Some(index) => Err(scopes::invalid_scope(index)),
            None => scopes::check_scopes(scopes),
        }
    }

    /// The endpoints that the file names. `vars` holds the checked variables and [`vars::CLIENT_ID`].
    pub(crate) fn configured(&self, vars: &Vars) -> Result<PartialEndpoints, Error> {
        PartialEndpoints::configured(&self.0, vars)
    }

    /// The endpoints, of a provider that needs no discovery.
    pub(crate) fn resolve(&self, vars: &Vars) -> Result<Endpoints, Error> {
        self.configured(vars)?.complete()
    }

    /// The whole file with every default spelt out, so that a connector keeps its meaning when defaults change.
    pub(crate) fn to_stored(&self) -> String {
        serde_json::to_string(&*self.0).expect("string keys and no custom serialisers")
    }

    pub(crate) fn from_stored(text: &str) -> Result<Self, Error> {
        let spec: Spec = serde_json::from_str(text).map_err(|error| {
            Error::new(ErrorKind::CorruptRecord, "the stored provider does not read").with_source(error)
        })?;
        check::check(&spec)?;
        Ok(Self(Arc::new(spec)))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.0.id).finish()
    }
}

#[cfg(test)]
mod tests;
