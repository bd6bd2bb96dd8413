//! Ending tokens at the provider.

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use oauth2::{AccessToken, RefreshToken, RevocationUrl, StandardRevocableToken};
use url::Url;

use super::classify::Refused;
use super::client::Client;
use super::json;
use super::rewrite::{JSON, Rewrite, misconfigured, raw_basic};
use super::token::captured;
use super::types::{Failure, FailureClass, ReplyBody, RevokeOutcome};
use super::wire::Wire;
use crate::http::{HttpRequest, HttpResponse};
use crate::provider::spec::{Call, ClientAuthKind, Phase, RevokeShape, RevokeWhich};
use crate::secret::{ClientSecret, SecretBytes, SecretString};

const UNSUPPORTED: &str = "unsupported_token_type";

/// Error codes of tokens that are dead already; the classification knows more of them.
const DEAD: [&str; 2] = ["invalid_auth", "invalid_token"];

/// The tokens of one grant, as far as there are any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RevokeTokens<'a> {
    pub(crate) access: Option<&'a SecretString>,
    pub(crate) refresh: Option<&'a SecretString>,
}

#[derive(Clone, Copy)]
enum Token<'a> {
    Access(&'a SecretString),
    Refresh(&'a SecretString),
}

impl<'a> RevokeTokens<'a> {
    /// The refresh token goes first: with it, servers end its access tokens too (RFC 7009 2.1).
    fn in_order(self, shape: RevokeShape, which: RevokeWhich) -> Vec<Token<'a>> {
        let access = self.access.map(Token::Access);
        let refresh = self.refresh.map(Token::Refresh);
        let chosen = match (shape, which) {
            (RevokeShape::DeleteBearer | RevokeShape::PostBearer | RevokeShape::DeleteBasicJson, _) => {
                [access, None]
            }
            (_, RevokeWhich::Refresh) => [refresh.or(access), None],
            (_, RevokeWhich::Access) => [access.or(refresh), None],
            (_, RevokeWhich::Both) => [refresh, access],
        };
        chosen.into_iter().flatten().collect()
    }
}

impl Client<'_> {
    /// Revokes what the provider file says. A grant without tokens counts as revoked; one whose refresh token cannot be
    /// sent, for want of the access token, as not revocable.
    pub(crate) async fn revoke(&self, tokens: RevokeTokens<'_>) -> Result<RevokeOutcome, Failure> {
        let shape = self.spec.revoke.shape;
        let Some(url) = self.endpoints.revoke.as_ref().filter(|_| shape != RevokeShape::None) else {
            return Ok(RevokeOutcome::Unsupported);
        };
        let wire = self.wire("revocation request");
        let mut outcome = None;
        for token in tokens.in_order(shape, self.spec.revoke.which) {
            let this = self.revoke_one(url, token, &wire).await?;
            // That an access token cannot be revoked takes nothing from the revocation of its refresh token.
            outcome.get_or_insert(this);
        }
        let unsent = match tokens.refresh {
            Some(_) => RevokeOutcome::Unsupported,
            None => RevokeOutcome::Revoked,
        };
        Ok(outcome.unwrap_or(unsent))
    }

    async fn revoke_one(
        &self,
        url: &Url,
        token: Token<'_>,
        wire: &Wire<'_>,
    ) -> Result<RevokeOutcome, Failure> {
        let mut secrets = match self.spec.revoke.shape {
            RevokeShape::Rfc7009 | RevokeShape::DeleteBasicJson => self.usable_secrets()?,
            _ => [].iter(),
        };
        let mut secret = secrets.next();
        loop {
            match self.revoke_with(url, token, secret, wire).await {
                Err(refused) if refused.bad_credentials && secrets.len() > 0 => secret = secrets.next(),
                Err(refused) => return Err(refused.failure),
                Ok(outcome) => return Ok(outcome),
            }
        }
    }

    async fn revoke_with(
        &self,
        url: &Url,
        token: Token<'_>,
        secret: Option<&ClientSecret>,
        wire: &Wire<'_>,
    ) -> Result<RevokeOutcome, Refused> {
        let (Token::Access(access) | Token::Refresh(access)) = token;
        let request = match self.spec.revoke.shape {
            RevokeShape::DeleteBearer => self.bearer(Method::DELETE, url, access)?,
            RevokeShape::PostBearer => self.bearer(Method::POST, url, access)?,
            RevokeShape::DeleteBasicJson => self.basic_json(url, access, secret)?,
            _ => return self.rfc7009(url, token, secret, wire).await,
        };
        self.verdict(&wire.send(request).await?)
    }

    async fn rfc7009(
        &self,
        url: &Url,
        token: Token<'_>,
        secret: Option<&ClientSecret>,
        wire: &Wire<'_>,
    ) -> Result<RevokeOutcome, Refused> {
        let mut call = Call::default();
        let mut auth = self.auth;
        if self.spec.revoke.shape == RevokeShape::Rfc7009Noauth {
            call.rename.insert("client_id".into(), String::new());
            auth = ClientAuthKind::None;
        }
        let rewrite = Rewrite {
            url,
            call: &call,
            auth,
            client_id: self.client_id,
            credential_names: &self.spec.client_auth.rename,
            standard: &[],
            own: &[],
        };
        // The crate insists on https; which schemes are good enough is for the `HttpClient` to say.
        let mut secure = url.clone();
        let _ = secure.set_scheme("https");
        let token = match token {
            Token::Access(token) => {
                StandardRevocableToken::from(AccessToken::new(token.expose_secret().into()))
            }
            Token::Refresh(token) => RefreshToken::new(token.expose_secret().into()).into(),
        };
        let client = self.basic(secret).set_revocation_url(RevocationUrl::from_url(secure));
        let request = client
            .revoke_token(token)
            .map_err(|_| Failure::from(misconfigured("the revocation endpoint is not https".into())))?;
        let request = captured(|http| drop(request.request(&http)))?;
        let request = rewrite.apply(request).map_err(Failure::from)?;
        self.verdict(&wire.send(request).await?)
    }

    fn bearer(&self, method: Method, url: &Url, token: &SecretString) -> Result<HttpRequest, Failure> {
        let mut request = request(method, url, SecretBytes::default())?;
        let (name, value) = self.present(token)?;
        request.headers_mut().insert(name, value);
        Ok(request)
    }

    fn basic_json(
        &self,
        url: &Url,
        token: &SecretString,
        secret: Option<&ClientSecret>,
    ) -> Result<HttpRequest, Failure> {
        let secret = secret.ok_or_else(|| misconfigured("the client has no secret".into()))?;
        let body = serde_json::json!({ "access_token": token.expose_secret() });
        let body = SecretBytes::new(ReplyBody(body).0.to_string().into_bytes());
        let mut request = request(Method::DELETE, url, body)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(AUTHORIZATION, raw_basic(self.client_id, secret.expose_secret()));
        Ok(request)
    }

    /// What the reply says about the token.
    fn verdict(&self, response: &HttpResponse) -> Result<RevokeOutcome, Refused> {
        let spec = &self.spec.revoke;
        let head = self.head(Phase::Revoke, response);
        let status = head.status.as_u16();
        let body = json::parse(response.body().expose_secret()).map(ReplyBody).ok();
        let at = |pointer| body.as_ref().and_then(|body| json::at(&body.0, pointer));
        let code = at("/error").and_then(serde_json::Value::as_str).unwrap_or_default();
        // RFC 7009 ignores the body of a success; some providers say there that it was none.
        let denied = !code.is_empty() || at("/ok").is_some_and(|ok| ok == false);
        if spec.success.contains(&status) || (head.status.is_success() && !denied) {
            return Ok(RevokeOutcome::Revoked);
        }
        if let Some(failure) = head.settled(self.spec, body.as_ref()) {
            return Err(failure.into());
        }
        if code == UNSUPPORTED {
            return Ok(RevokeOutcome::Unsupported);
        }
        let bearer = matches!(spec.shape, RevokeShape::DeleteBearer | RevokeShape::PostBearer);
        if DEAD.contains(&code) || (bearer && status == 401) {
            return Ok(RevokeOutcome::Revoked);
        }
        let refused = head.refusal(self.spec, body.as_ref());
        match refused.failure.class {
            FailureClass::InvalidGrant => Ok(RevokeOutcome::Revoked),
            _ => Err(refused),
        }
    }
}

fn request(method: Method, url: &Url, body: SecretBytes) -> Result<HttpRequest, Failure> {
    let request = http::Request::builder().method(method).uri(url.as_str()).header(ACCEPT, JSON).body(body);
    Ok(request.map_err(|_| misconfigured("the revocation endpoint is no URL that can be called".into()))?)
}
