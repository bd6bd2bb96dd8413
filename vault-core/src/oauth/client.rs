//! Everything that one OAuth client says to its authorization server.

use std::collections::BTreeMap;
use std::time::Duration;

use oauth2::basic::BasicClient;
use oauth2::{AuthType, ClientId};
use url::Url;

use super::authorize::asked_scopes;
use super::classify::Head;
use super::reply;
use super::rewrite::misconfigured;
use super::token::{Ask, Credential};
use super::types::{Failure, FailureClass, Grant, TokenReply};
use super::wire::{Wire, retry_after};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, ReauthReason};
use crate::http::{HttpClient, HttpResponse};
use crate::provider::endpoints::Endpoints;
use crate::provider::spec::{
    Call, ClientAuthKind, Param, Phase, RedirectUri, RefreshCredential, ScopeForm, SendScope, Spec,
};
use crate::secret::{ClientSecret, SecretString};

/// An OAuth client at one authorization server.
///
/// # Cancel safety
/// Dropping the future of `exchange`, `refresh` or `revoke` abandons the request; whether the server acted is unknown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) client_id: &'a str,
    /// The current one, then the next one while it is being changed. Empty for public clients.
    pub(crate) secrets: &'a [ClientSecret],
    pub(crate) auth: ClientAuthKind,
    pub(crate) http: &'a dyn HttpClient,
    pub(crate) clock: &'a dyn Clock,
    /// For one operation as a whole.
    pub(crate) timeout: Duration,
}

pub(crate) struct ExchangeRequest<'a> {
    pub(crate) code: &'a SecretString,
    pub(crate) verifier: Option<&'a SecretString>,
    /// As in the authorization request, to the byte.
    pub(crate) redirect_uri: &'a str,
    /// As asked for.
    pub(crate) scopes: &'a [String],
    /// The callback's parameters: some providers want them again, or grant scopes there.
    pub(crate) callback: &'a BTreeMap<String, String>,
    pub(crate) state: Option<&'a SecretString>,
}

pub(crate) struct RefreshRequest<'a> {
    /// The refresh token, or the access token where that is what refreshes. `None` only for providers that refresh with
    /// the client's credentials.
    pub(crate) token: Option<&'a SecretString>,
    /// As granted.
    pub(crate) scopes: &'a [String],
    /// The parameter that asks for a token for another audience than the usual one, and its value.
    pub(crate) audience: Option<(&'static str, &'a str)>,
    /// For providers that want it here too.
    pub(crate) redirect_uri: &'a str,
    /// The connection config.
    pub(crate) config: &'a BTreeMap<String, String>,
}

impl Client<'_> {
    /// Trades the code for tokens. The first grant is the one asked for.
    pub(crate) async fn exchange(&self, request: &ExchangeRequest<'_>) -> Result<Vec<Grant>, Failure> {
        let call = &self.spec.exchange;
        let redirect_uri =
            (self.spec.authorize.redirect_uri != RedirectUri::Omitted).then_some(request.redirect_uri);
        let ask = Ask {
            phase: Phase::Exchange,
            call,
            url: &self.endpoints.token,
            credential: Credential::Code(request.code, request.verifier),
            standard: self.standard(call, redirect_uri, request.scopes),
            own: own_params(call, |source| match source.split_once('.') {
                Some(("callback", name)) => request.callback.get(name).cloned(),
                None if source == "state" => request.state.map(|state| state.expose_secret().to_owned()),
                _ => None,
            })?,
        };
        let mut grants = self.ask(&ask).await?;
        if let Some(name) = &self.spec.callback.granted_scope_param
            && let Some(granted) = request.callback.get(name)
            && let Some(main) = grants.first_mut()
            && main.reply.scopes.is_none()
        {
            let granted = reply::split(ScopeForm::FromCallback, granted);
            main.reply.scopes = Some(granted.into_iter().map(str::to_owned).collect());
        }
        Ok(grants)
    }

    /// Asks for a new token set.
    pub(crate) async fn refresh(&self, request: &RefreshRequest<'_>) -> Result<TokenReply, Failure> {
        let call = &self.spec.refresh;
        let credential = match (self.spec.refresh_policy.credential, request.token) {
            (RefreshCredential::ClientCredentials, _) => Credential::Client,
            (RefreshCredential::RefreshToken | RefreshCredential::AccessToken, Some(token)) => {
                Credential::Refresh(token)
            }
            (RefreshCredential::None, _) | (_, None) => return Err(nothing_to_refresh_with()),
        };
        let redirect_uri = call.send_redirect_uri.then_some(request.redirect_uri);
        let mut standard = self.standard(call, redirect_uri, request.scopes);
        let mut own = own_params(call, |source| request.config.get(source.strip_prefix("conn.")?).cloned())?;
        if let Some((name, audience)) = request.audience {
            standard.retain(|(other, _)| *other != name);
            own.retain(|(other, _)| other != name);
            own.push((name.to_owned(), audience.to_owned()));
        }
        let ask = Ask { phase: Phase::Refresh, call, url: self.refresh_url(), credential, standard, own };
        let mut grants = self.ask(&ask).await?;
        Ok(grants.swap_remove(0).reply)
    }

    /// Where refresh tokens go.
    pub(crate) fn refresh_url(&self) -> &Url {
        self.endpoints.refresh.as_ref().unwrap_or(&self.endpoints.token)
    }

    fn standard(
        &self,
        call: &Call,
        redirect_uri: Option<&str>,
        scopes: &[String],
    ) -> Vec<(&'static str, String)> {
        let spec = &self.spec.authorize;
        let scopes = match call.send_scope {
            SendScope::None => Vec::new(),
            SendScope::All => asked_scopes(self.spec, scopes),
            SendScope::Subset => spec.scope.required_for_refresh.clone(),
        };
        let scope = Some(scopes.join(&spec.scope.separator)).filter(|scope| !scope.is_empty());
        let standard = [
            ("redirect_uri", redirect_uri.map(str::to_owned)),
            ("resource", spec.resource.clone()),
            ("scope", scope),
        ];
        let given = standard.into_iter();
        given.filter_map(|(name, value)| Some((name, value?))).collect()
    }

    pub(super) fn wire(&self, what: &'static str) -> Wire<'_> {
        Wire {
            http: self.http,
            clock: self.clock,
            deadline: self.clock.monotonic().saturating_add(self.timeout),
            what,
        }
    }

    pub(super) fn head(&self, phase: Phase, response: &HttpResponse) -> Head {
        Head {
            phase,
            status: response.status(),
            retry_after: retry_after(response.headers(), self.clock.now()),
        }
    }

    pub(super) fn basic(&self, secret: Option<&ClientSecret>) -> BasicClient {
        let auth_type = match self.auth {
            ClientAuthKind::Basic => AuthType::BasicAuth,
            _ => AuthType::RequestBody,
        };
        let client = BasicClient::new(ClientId::new(self.client_id.to_owned())).set_auth_type(auth_type);
        match secret {
            Some(secret) => {
                client.set_client_secret(oauth2::ClientSecret::new(secret.expose_secret().to_owned()))
            }
            None => client,
        }
    }

    /// The secrets to try, in order: none when the client proves itself without.
    pub(super) fn usable_secrets(&self) -> Result<std::slice::Iter<'_, ClientSecret>, Error> {
        use ClientAuthKind as K;
        let secrets: &[ClientSecret] = match self.auth {
            K::Basic | K::BasicRaw | K::Post | K::Json | K::Query => self.secrets,
            K::None => &[],
            K::PrivateKeyJwt | K::Mtls | K::MintedJwtSecret | K::PlatformKey | K::HeaderTmpl => {
                return Err(misconfigured(format!("client authentication {:?} is not supported", self.auth)));
            }
        };
        Ok(secrets.iter())
    }
}

fn own_params(call: &Call, source: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, Error> {
    let params = call.params.iter().map(|(name, param)| {
        let value = match param {
            Param::Literal(value) => Some(value.clone()),
            Param::From { from } => source(from),
        };
        let value = value.ok_or_else(|| misconfigured(format!("no value for token parameter {name}")))?;
        Ok((name.clone(), value))
    });
    params.collect()
}

fn nothing_to_refresh_with() -> Failure {
    let reason = ReauthReason::NoRefreshToken;
    let kind = ErrorKind::NeedsReauthorization { reason };
    Failure::new(FailureClass::NotSent, kind, reason.to_string())
}
