//! From the RFC's token request, as the `oauth2` crate builds it, to the provider's own.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method as HttpMethod};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::http::HttpRequest;
use crate::provider::spec::{BodyFormat, Call, ClientAuthKind, Method};
use crate::secret::SecretBytes;

pub(super) struct Rewrite<'a> {
    pub(super) url: &'a Url,
    pub(super) call: &'a Call,
    pub(super) auth: ClientAuthKind,
    pub(super) client_id: &'a str,
    /// Names of the client's credentials, where they are not the RFC's.
    pub(super) credential_names: &'a BTreeMap<String, String>,
    /// Standard parameters that the crate does not set.
    pub(super) standard: &'a [(&'static str, String)],
    /// The provider's own parameters. They replace standard ones of the same name.
    pub(super) own: &'a [(String, String)],
}

/// A parameter under the provider's name.
struct Pair {
    name: String,
    value: Zeroizing<String>,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    ClientId,
    ClientSecret,
    Other,
}

impl Rewrite<'_> {
    pub(super) fn apply(&self, request: oauth2::HttpRequest) -> Result<HttpRequest, Error> {
        let (parts, body) = request.into_parts();
        let mut pairs = self.pairs(&SecretBytes::new(body));
        let authorization = match self.auth {
            ClientAuthKind::BasicRaw => Some(take_basic(&mut pairs)?),
            _ => parts.headers.get(AUTHORIZATION).cloned(),
        };
        let (query, body): (Vec<Pair>, Vec<Pair>) = pairs.into_iter().partition(|pair| self.in_query(pair));
        if self.auth != ClientAuthKind::Query && query.iter().any(|pair| pair.role == Role::ClientSecret) {
            return Err(misconfigured("the client secret would stand in a URL".into()));
        }
        let mut request = http::Request::builder()
            .method(method(self.call.method))
            .uri(self.url_with(&query).as_str())
            .body(self.body(&body))
            .map_err(|_| misconfigured("the token endpoint is no URL that can be called".into()))?;
        self.headers(request.headers_mut(), authorization, body.is_empty())?;
        Ok(request)
    }

    fn pairs(&self, built: &SecretBytes) -> Vec<Pair> {
        let built = form_urlencoded::parse(built.expose_secret());
        let standard = self.standard.iter().map(|(name, value)| ((*name).into(), value.into()));
        let standard = built.chain(standard).filter_map(|(name, value)| self.renamed(&name, &value));
        let own = self.own.iter().map(|(name, value)| Pair {
            name: name.clone(),
            value: Zeroizing::new(value.clone()),
            role: Role::Other,
        });
        let replaced = |pair: &Pair| self.own.iter().any(|(name, _)| *name == pair.name);
        standard.filter(|pair| !replaced(pair)).chain(own).collect()
    }

    fn renamed(&self, name: &str, value: &str) -> Option<Pair> {
        let role = match name {
            "client_id" => Role::ClientId,
            "client_secret" => Role::ClientSecret,
            _ => Role::Other,
        };
        let own = self.call.rename.get(name).or_else(|| self.credential_names.get(name));
        let name = own.map_or(name, String::as_str);
        (!name.is_empty()).then(|| Pair {
            name: name.to_owned(),
            value: Zeroizing::new(value.to_owned()),
            role,
        })
    }

    fn in_query(&self, pair: &Pair) -> bool {
        self.call.method == Method::Get
            || self.call.body == BodyFormat::Query
            || (self.auth == ClientAuthKind::Query && pair.role != Role::Other)
    }

    fn is_json(&self) -> bool {
        self.call.body == BodyFormat::Json || self.auth == ClientAuthKind::Json
    }

    fn url_with(&self, query: &[Pair]) -> Url {
        let mut url = self.url.clone();
        url.set_fragment(None);
        if !query.is_empty() {
            let pairs = query.iter().map(|pair| (&pair.name, pair.value.as_str()));
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }

    fn body(&self, pairs: &[Pair]) -> SecretBytes {
        let size: usize = pairs.iter().map(|pair| pair.name.len() + pair.value.len() + 6).sum();
        let pairs = pairs.iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
        // Room for everything escaped: growing would leave copies behind that are not wiped.
        let room = 6 * size + 2;
        if size > 0 && self.is_json() {
            let mut body = Vec::with_capacity(room);
            let fields: BTreeMap<_, _> = pairs.collect();
            serde_json::to_writer(&mut body, &fields).expect("text goes into memory");
            return SecretBytes::new(body);
        }
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
        SecretBytes::new(form.extend_pairs(pairs).finish().into_bytes())
    }

    fn headers(
        &self,
        headers: &mut http::HeaderMap,
        authorization: Option<HeaderValue>,
        no_body: bool,
    ) -> Result<(), Error> {
        let accept = HeaderValue::from_str(&self.call.accept);
        headers.insert(ACCEPT, accept.map_err(|_| misconfigured("header accept has no valid value".into()))?);
        if !no_body {
            let json = self.is_json();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(if json { JSON } else { FORM }));
        }
        if let Some(mut authorization) = authorization {
            authorization.set_sensitive(true);
            headers.insert(AUTHORIZATION, authorization);
        }
        extend_headers(headers, &self.call.headers, self.client_id)
    }
}

pub(super) const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Headers of a provider file; `{client_id}` in a value stands for the client's.
pub(super) fn extend_headers(
    headers: &mut http::HeaderMap,
    own: &BTreeMap<String, String>,
    client_id: &str,
) -> Result<(), Error> {
    for (name, value) in own {
        let key = HeaderName::try_from(name);
        let value = HeaderValue::try_from(value.replace("{client_id}", client_id));
        let (Ok(key), Ok(value)) = (key, value) else {
            return Err(misconfigured(format!("header {name} is not valid")));
        };
        headers.insert(key, value);
    }
    Ok(())
}

/// Moves the credentials into a header without the escaping that RFC 6749 2.3.1 asks for.
fn take_basic(pairs: &mut Vec<Pair>) -> Result<HeaderValue, Error> {
    let mut take = |role| {
        let index = pairs.iter().position(|pair| pair.role == role)?;
        Some(pairs.remove(index).value)
    };
    let (Some(id), Some(secret)) = (take(Role::ClientId), take(Role::ClientSecret)) else {
        return Err(misconfigured("the client has no secret".into()));
    };
    Ok(raw_basic(&id, &secret))
}

/// `Basic` as in RFC 7617.
pub(super) fn raw_basic(id: &str, secret: &str) -> HeaderValue {
    let plain = Zeroizing::new(format!("{id}:{secret}"));
    let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(plain.as_bytes())));
    let mut value = HeaderValue::from_str(&text).expect("base64 is valid in a header");
    value.set_sensitive(true);
    value
}

const fn method(method: Method) -> HttpMethod {
    match method {
        Method::Post => HttpMethod::POST,
        Method::Get => HttpMethod::GET,
        Method::Delete => HttpMethod::DELETE,
    }
}

pub(super) fn misconfigured(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
