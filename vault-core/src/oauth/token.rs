//! One question to the token endpoint, through the `oauth2` crate.

use std::sync::OnceLock;

use oauth2::basic::{BasicRequestTokenError, BasicTokenResponse};
use oauth2::{AuthorizationCode, PkceCodeVerifier, RefreshToken, TokenUrl};
use url::Url;

use super::classify::{Refused, malformed};
use super::client::Client;
use super::grant::Context;
use super::reply::{self, TokenSets};
use super::rewrite::Rewrite;
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

    async fn ask_with(
        &self,
        ask: &Ask<'_>,
        secret: Option<&ClientSecret>,
        wire: &Wire<'_>,
    ) -> Result<Vec<Grant>, Refused> {
        let body = OnceLock::new();
        let body_slot = &body;
        let adapter = move |request| async move {
            let response = self.send(ask, request, wire).await?;
            let head = self.head(ask.phase, &response);
            let whole = reply::read(self.spec, head, &response)?;
            let sets = TokenSets::find(&self.spec.response, ask.phase, &whole.0)?;
            let standard = reply::standard(&self.spec.response, sets.main)?;
            let standard = http::Response::new(standard.0.to_string().into_bytes());
            let _ = body_slot.set(whole);
            Ok::<_, Refused>(standard)
        };
        let client = self
            .basic(secret)
            .set_token_uri(TokenUrl::from_url(ask.url.clone()));
        let token = match ask.credential {
            Credential::Client => client.exchange_client_credentials().request_async(&adapter).await,
            Credential::Code(code, verifier) => {
                let mut request = client.exchange_code(AuthorizationCode::new(owned(code)));
                if let Some(verifier) = verifier {
                    request = request.set_pkce_verifier(PkceCodeVerifier::new(owned(verifier)));
                }
                request.request_async(&adapter).await
            }
            Credential::Refresh(token) => {
                let token = RefreshToken::new(owned(token));
                client
                    .exchange_refresh_token(&token)
                    .request_async(&adapter)
                    .await
            }
        };
        let token = token.map_err(refused)?;
        let body = body.into_inner().ok_or_else(|| malformed("body"))?;
        Ok(self.grants(ask.phase, &token, &body)?)
    }

    /// `token` is the main token set of `body`.
    fn grants(
        &self,
        phase: Phase,
        token: &BasicTokenResponse,
        body: &ReplyBody,
    ) -> Result<Vec<Grant>, Failure> {
        let context = Context {
            spec: self.spec,
            phase,
            now: Timestamp::from(self.clock.now()),
        };
        let sets = TokenSets::find(&self.spec.response, phase, &body.0)?;
        let mut grants = vec![Grant {
            slot: None,
            reply: context.token_reply(token, sets.main, &body.0)?,
        }];
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

fn refused(error: BasicRequestTokenError<Refused>) -> Refused {
    match error {
        BasicRequestTokenError::Request(refused) => refused,
        // The adapter hands over nothing but well-formed successes.
        _ => malformed("body").into(),
    }
}

fn owned(secret: &SecretString) -> String {
    secret.expose_secret().to_owned()
}
