//! Where the browser is sent.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, Scope};
use url::Url;
use zeroize::Zeroizing;

use super::client::Client;
use crate::entropy::{Entropy, EntropyError};
use crate::error::{Error, ErrorKind};
use crate::provider::scopes::check_extra_params;
use crate::provider::spec::{Authorize, PkceHash, PkceMode, RedirectUri, ResponseMode, Spec};
use crate::secret::SecretString;

pub(crate) struct AuthorizeRequest<'a> {
    /// Or its alias, where the provider has one.
    pub(crate) redirect_uri: &'a str,
    pub(crate) scopes: &'a [String],
    pub(crate) state: &'a SecretString,
    /// `None` exactly when the provider has no PKCE.
    pub(crate) verifier: Option<&'a SecretString>,
    pub(crate) nonce: Option<&'a SecretString>,
    /// From the connector; it may change the provider file's parameters, but none that protects the flow.
    pub(crate) extra: &'a BTreeMap<String, String>,
}

/// A fresh PKCE verifier: 32 random bytes as 43 characters (RFC 7636 4.1).
pub(crate) fn new_verifier(entropy: &dyn Entropy) -> Result<SecretString, EntropyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy.fill(bytes.as_mut())?;
    Ok(SecretString::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// The scopes that a request for `scopes` really asks for: the provider's defaults when there are none, and what its
/// refresh tokens depend on.
pub(crate) fn asked_scopes(spec: &Spec, scopes: &[String]) -> Vec<String> {
    let known = &spec.authorize.scope;
    let chosen = if scopes.is_empty() { &known.defaults } else { scopes };
    let mut asked: Vec<String> = Vec::new();
    for scope in chosen.iter().chain(&known.required_for_refresh) {
        if !asked.contains(scope) {
            asked.push(scope.clone());
        }
    }
    asked
}

impl Client<'_> {
    pub(crate) fn authorize_url(&self, request: &AuthorizeRequest<'_>) -> Result<Url, Error> {
        let spec = &self.spec.authorize;
        check_extra_params(self.spec, request.extra)?;
        let standard = self.standard_url(request)?;
        let mut query = Query::of(&standard, spec);
        for (name, value) in &spec.params {
            query.set(name, value);
        }
        for (name, value) in request.extra {
            query.set(name, value);
        }
        let mut url = standard;
        url.query_pairs_mut().clear().extend_pairs(query.0);
        match &spec.url_suffix {
            None => Ok(url),
            Some(suffix) => Url::parse(&format!("{url}{suffix}")).map_err(|_| {
                Error::new(ErrorKind::InvalidConfig, "url_suffix does not fit the authorize URL")
            }),
        }
    }

    /// The URL as the RFCs have it.
    fn standard_url(&self, request: &AuthorizeRequest<'_>) -> Result<Url, Error> {
        let spec = &self.spec.authorize;
        let client = BasicClient::new(ClientId::new(self.client_id.to_owned()))
            .set_auth_uri(AuthUrl::from_url(self.endpoints.authorize.clone()));
        let state = request.state.expose_secret().to_owned();
        let mut builder = client.authorize_url(|| CsrfToken::new(state));
        if spec.pkce.mode != PkceMode::Unsupported {
            let verifier = request
                .verifier
                .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "PKCE verifier missing"))?;
            let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
            builder = builder.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        }
        let scopes = asked_scopes(self.spec, request.scopes);
        if !scopes.is_empty() && !spec.scope.fixed_on_app {
            builder = builder.add_scope(Scope::new(scopes.join(&spec.scope.separator)));
        }
        // Not through `RedirectUrl`: an alias is no URL.
        if spec.redirect_uri != RedirectUri::Omitted {
            builder = builder.add_extra_param("redirect_uri", request.redirect_uri);
        }
        if let Some(nonce) = request.nonce {
            builder = builder.add_extra_param("nonce", nonce.expose_secret());
        }
        if let Some(resource) = &spec.resource {
            builder = builder.add_extra_param("resource", resource);
        }
        if spec.response_mode == ResponseMode::FormPost {
            builder = builder.add_extra_param("response_mode", "form_post");
        }
        Ok(builder.url().0)
    }
}

/// The parameters under the provider's names.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(standard: &Url, spec: &Authorize) -> Self {
        let pairs = standard.query_pairs().filter_map(|(name, value)| {
            let value = match name.as_ref() {
                "code_challenge" if spec.pkce.hash == PkceHash::Hex => hex(&value),
                "code_challenge_method" => spec.pkce.method_label.clone(),
                _ => value.into_owned(),
            };
            let own = match spec.rename.get(name.as_ref()) {
                Some(own) => own.clone(),
                None if name == "scope" => spec.scope.param.clone(),
                None => name.into_owned(),
            };
            (!own.is_empty()).then_some((own, value))
        });
        Self(pairs.collect())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

/// The same hash, written in hexadecimal.
fn hex(challenge: &str) -> String {
    let hash = BASE64_URL_SAFE_NO_PAD.decode(challenge).unwrap_or_default();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
