//! One question to the token endpoint, through the `oauth2` crate.

use oauth2::basic::{BasicRequestTokenError, BasicTokenResponse};
use oauth2::{AuthorizationCode, PkceCodeVerifier, RefreshToken, TokenUrl};
use url::Url;

use super::classify::{Refused, malformed};
use super::client::Client;
use super::grant::Context;
use super::reply::{self, TokenSets};
use super::rewrite::{Rewrite, misconfigured};
use super::types::{Failure, Grant, ReplyBody};
use super::wire::Wire;
use crate::clock::Timestamp;
use crate::http::HttpResponse;
use crate::provider::spec::{Call, Phase};
use crate::secret::{ClientSecret, SecretString};

/// What is presented for a token.
#[derive(Clone, Copy)]
pub(super) enum Credential<'a> {
    Code(&'a SecretString, Option<&'a SecretString>),
    Client,
    Refresh(&'a SecretString),
}

/// One request to the token endpoint.
pub(super) struct Ask<'a> {
    pub(super) phase: Phase,
    pub(super) call: &'a Call,
    pub(super) url: &'a Url,
    pub(super) credential: Credential<'a>,
    /// Standard ones that the `oauth2` crate does not set itself.
    pub(super) standard: Vec<(&'static str, String)>,
    /// The provider's own.
    pub(super) own: Vec<(String, String)>,
}

impl Client<'_> {
    /// Asks with the current secret and, when the server refuses the credentials, with the next one.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Vec<Grant>, Failure> {
        let wire = self.wire("token request");
        let mut secrets = self.usable_secrets()?;
        let mut secret = secrets.next();
        loop {
            match self.ask_with(ask, secret, &wire).await {
                Err(refused) if refused.bad_credentials && secrets.len() > 0 => secret = secrets.next(),
                Err(refused) => return Err(refused.failure),
                Ok(grants) => return Ok(grants),
            }
        }
    }

    /// The crate writes the request and reads the reply; between the two they are rewritten and sent here. Its
    /// asynchronous calls do both in one go, but their futures are not `Send` for a client that borrows.
    async fn ask_with(
        &self,
        ask: &Ask<'_>,
        secret: Option<&ClientSecret>,
        wire: &Wire<'_>,
    ) -> Result<Vec<Grant>, Refused> {
        let request = captured(|http| drop(self.through_crate(ask, secret, http)))?;
        let response = self.send(ask, request, wire).await?;
        let head = self.head(ask.phase, &response);
        let body = reply::read(self.spec, head, &response)?;
        let sets = TokenSets::find(&self.spec.response, ask.phase, &body.0)?;
        let standard = reply::standard(&self.spec.response, sets.main)?;
        let standard = standard.0.to_string().into_bytes();
        let reply = |_| Ok(http::Response::new(standard.clone()));
        let token = self.through_crate(ask, secret, &reply).map_err(|_| malformed("body"))?;
        Ok(self.grants(ask.phase, &token, &body)?)
    }

    fn through_crate(
        &self,
        ask: &Ask<'_>,
        secret: Option<&ClientSecret>,
        http: &Exchange<'_>,
    ) -> Result<BasicTokenResponse, BasicRequestTokenError<Captured>> {
        let client = self.basic(secret).set_token_uri(TokenUrl::from_url(ask.url.clone()));
        match ask.credential {
            Credential::Client => client.exchange_client_credentials().request(&http),
            Credential::Code(code, verifier) => {
                let mut request = client.exchange_code(AuthorizationCode::new(owned(code)));
                if let Some(verifier) = verifier {
                    request = request.set_pkce_verifier(PkceCodeVerifier::new(owned(verifier)));
                }
                request.request(&http)
            }
            Credential::Refresh(token) => {
                client.exchange_refresh_token(&RefreshToken::new(owned(token))).request(&http)
            }
        }
    }

    /// `token` is the main token set of `body`.
    fn grants(
        &self,
        phase: Phase,
        token: &BasicTokenResponse,
        body: &ReplyBody,
    ) -> Result<Vec<Grant>, Failure> {
        let context = Context { spec: self.spec, phase, now: Timestamp::from(self.clock.now()) };
        let sets = TokenSets::find(&self.spec.response, phase, &body.0)?;
        let mut grants = vec![Grant { slot: None, reply: context.token_reply(token, sets.main, &body.0)? }];
        for (slot, set) in sets.others {
            let mut standard = reply::standard(&self.spec.response, set)?;
            let token = serde_json::from_value(standard.0.take()).map_err(|_| malformed("body"))?;
            grants.push(Grant {
                slot: Some(slot.to_owned()),
                reply: context.token_reply(&token, set, &body.0)?,
            });
        }
        Ok(grants)
    }

    async fn send(
        &self,
        ask: &Ask<'_>,
        request: oauth2::HttpRequest,
        wire: &Wire<'_>,
    ) -> Result<HttpResponse, Failure> {
        let rewrite = Rewrite {
            url: ask.url,
            call: ask.call,
            auth: self.auth,
            client_id: self.client_id,
            credential_names: &self.spec.client_auth.rename,
            standard: &ask.standard,
            own: &ask.own,
        };
        wire.send(rewrite.apply(request)?).await
    }
}

/// What the crate sends its requests with: keeps the request, or answers with a reply that is here already.
pub(super) type Exchange<'a> = dyn Fn(oauth2::HttpRequest) -> Result<oauth2::HttpResponse, Captured> + 'a;

/// The request was taken from the crate instead of being sent.
#[derive(Debug, thiserror::Error)]
#[error("the request was not sent")]
pub(super) struct Captured;

/// The request that `send` hands to the client it is given.
pub(super) fn captured(send: impl FnOnce(&Exchange<'_>)) -> Result<oauth2::HttpRequest, Failure> {
    let taken = std::cell::Cell::new(None);
    send(&|request| {
        taken.set(Some(request));
        Err(Captured)
    });
    taken.into_inner().ok_or_else(|| Failure::from(misconfigured("the request cannot be written".into())))
}

fn owned(secret: &SecretString) -> String {
    secret.expose_secret().to_owned()
}
