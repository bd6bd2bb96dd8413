//! Whose account it is.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::client::Client;
use super::json;
use super::rewrite::{JSON, extend_headers, misconfigured};
use super::types::{Account, ReplyBody, TokenReply};
use crate::error::{Error, ErrorKind};
use crate::http::HttpRequest;
use crate::provider::spec::{IdentityMethod, IdentitySource, Phase, Spec};
use crate::secret::{SecretBytes, SecretString};

/// Longer identifiers and names are not believed.
const LONGEST: usize = 512;

/// The account that claims describe: those of an `id_token`, of a userinfo reply, or of a token reply.
pub(crate) fn account_from_claims(spec: &Spec, claims: &Value) -> Option<Account> {
    let identity = &spec.identity;
    let root = json::at(claims, identity.root.as_deref().unwrap_or(""))?;
    let find = |pointers: &[String]| pointers.iter().find_map(|pointer| line(json::at(root, pointer)?));
    Some(Account { id: find(&identity.id)?, email: find(&identity.email), name: find(&identity.name) })
}

fn line(value: &Value) -> Option<String> {
    let text = json::text(value)?;
    let fits = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
    fits.then_some(text)
}

impl Client<'_> {
    /// The account behind a token, where the provider tells. `None` when it does not, when nothing that was granted
    /// allows asking, or when the identity is the `id_token`'s, which is checked elsewhere.
    pub(crate) async fn account(
        &self,
        reply: &TokenReply,
        granted: &[String],
    ) -> Result<Option<Account>, Error> {
        let identity = &self.spec.identity;
        match identity.source {
            IdentitySource::Userinfo | IdentitySource::Graphql => {
                let needed = &identity.needs_scopes;
                if !needed.is_empty() && !needed.iter().any(|scope| granted.contains(scope)) {
                    return Ok(None);
                }
                let claims = self.userinfo(&reply.access_token).await?;
                let account = account_from_claims(self.spec, &claims.0);
                account.map(Some).ok_or_else(|| invalid("malformed userinfo response: account id"))
            }
            IdentitySource::TokenResponse => {
                let account = account_from_claims(self.spec, &reply.body.0);
                account.map(Some).ok_or_else(|| invalid("malformed token response: account id"))
            }
            IdentitySource::TokenPrefix => {
                let prefix = reply.access_token.expose_secret().split_once('.');
                Ok(prefix.map(|(id, _)| Account { id: id.to_owned(), email: None, name: None }))
            }
            IdentitySource::Callback
            | IdentitySource::IdToken
            | IdentitySource::Introspection
            | IdentitySource::None => Ok(None),
        }
    }

    async fn userinfo(&self, token: &SecretString) -> Result<ReplyBody, Error> {
        let request = self.userinfo_request(token)?;
        let response = self.wire("userinfo request").send(request).await;
        let response = response.map_err(|failure| failure.error)?;
        let head = self.head(Phase::Api, &response);
        if let Some(failure) = head.settled(self.spec, None) {
            return Err(failure.error);
        }
        if !head.status.is_success() {
            return Err(invalid(format!("userinfo request refused (status {})", head.status.as_u16())));
        }
        let body = json::parse(response.body().expose_secret());
        body.map(ReplyBody).map_err(|_| invalid("malformed userinfo response: body"))
    }

    fn userinfo_request(&self, token: &SecretString) -> Result<HttpRequest, Error> {
        let identity = &self.spec.identity;
        let call = identity.call.clone().unwrap_or_default();
        let url = self.endpoints.userinfo.as_ref();
        let url = url.ok_or_else(|| misconfigured("the provider has no userinfo endpoint".into()))?;
        let graphql = identity.source == IdentitySource::Graphql;
        let method = match call.method {
            IdentityMethod::Get if !graphql => Method::GET,
            IdentityMethod::Get | IdentityMethod::Post => Method::POST,
        };
        let body = call.body.unwrap_or_default();
        let body = if graphql { json!({ "query": body }).to_string() } else { body };
        let has_body = !body.is_empty();
        let mut request = http::Request::builder()
            .method(method)
            .uri(url.as_str())
            .body(SecretBytes::new(body.into_bytes()))
            .map_err(|_| misconfigured("the userinfo endpoint is no URL that can be called".into()))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        }
        let (name, value) = self.present(token)?;
        headers.insert(name, value);
        extend_headers(headers, &self.spec.present.extra_headers, self.client_id)?;
        extend_headers(headers, &call.headers, self.client_id)?;
        Ok(request)
    }

    /// The token as the provider's API wants to see it.
    pub(super) fn present(&self, token: &SecretString) -> Result<(HeaderName, HeaderValue), Error> {
        let present = &self.spec.present;
        let text = zeroize::Zeroizing::new(format!("{} {}", present.scheme, token.expose_secret()));
        let name = HeaderName::try_from(&present.header);
        let value = HeaderValue::from_str(text.trim_start());
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(misconfigured(format!("header {} is not valid", present.header)));
        };
        value.set_sensitive(true);
        Ok((name, value))
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::ProviderReplyInvalid, message)
}
