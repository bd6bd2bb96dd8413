//! Validation of `id_token`s (OIDC Core 3.1.3.7).
//!
//! Item 6 there lets a client skip the signature of a token that came straight from the token endpoint. It is checked
//! here all the same: the account's identity should not hang on TLS alone.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use url::Url;

use super::discovery::{TENANT, is_guid};
use super::jwks::{Jwks, algorithm};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::provider::spec::NonceMode;
use crate::secret::SecretString;

/// The longest `id_token` that is looked at, in bytes.
const MAX_LEN: usize = 64 * 1024;
/// How far the provider's clock may be off, in seconds.
const LEEWAY: f64 = 60.0;

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Compared with `iss` byte for byte. A `{tenantid}` in it stands for the token's own `tid`, which must be a GUID
    /// (Entra's multi-tenant issuers).
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    /// What was sent with the authorization request.
    pub(crate) nonce: Option<&'a SecretString>,
    pub(crate) nonce_mode: NonceMode,
    /// The `max_age` that was sent: how long ago the user may have signed in.
    pub(crate) max_age: Option<Duration>,
    pub(crate) now: Timestamp,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

/// Checks the signature with the keys at `jwks_uri`, then the claims, and returns the claims.
///
/// # Errors
/// `IdTokenInvalid`, naming what is wrong and nothing of the token; as [`Jwks::key`] when the keys cannot be had.
///
/// # Cancel safety
/// As [`Jwks::key`].
pub(crate) async fn validate(
    jwks: &Jwks,
    jwks_uri: &Url,
    id_token: &SecretString,
    expected: Expected<'_>,
) -> Result<Value, Error> {
    let token = id_token.expose_secret();
    if token.len() > MAX_LEN {
        return Err(invalid("too long"));
    }
    let (message, signature) = token.rsplit_once('.').ok_or_else(|| invalid("form"))?;
    let (header, payload) = message.split_once('.').ok_or_else(|| invalid("form"))?;
    let header: Header = decode(header).ok_or_else(|| invalid("header"))?;
    let alg = algorithm(&header.alg).ok_or_else(|| invalid("alg"))?;
    if header.crit.is_some() {
        return Err(invalid("crit"));
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid("signature"))?;
    let key = jwks.key(jwks_uri, header.kid.as_deref(), alg).await?;
    if !key.verifies(alg, message.as_bytes(), &signature) {
        return Err(invalid("signature"));
    }
    let claims: Value = decode(payload).ok_or_else(|| invalid("claims"))?;
    expected.check(&claims).map_err(invalid)?;
    Ok(claims)
}

/// `IdTokenInvalid` because of `what`, which is a claim's name or a few words of our own.
pub(super) fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::IdTokenInvalid, format!("id_token invalid: {what}"))
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

impl Expected<'_> {
    /// The name of the first claim that is wrong.
    fn check(&self, claims: &Value) -> Result<(), &'static str> {
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        self.check_times(claims)?;
        self.check_nonce(claims)?;
        claims["sub"].as_str().filter(|sub| !sub.is_empty()).ok_or("sub")?;
        Ok(())
    }

    fn check_issuer(&self, claims: &Value) -> Result<(), &'static str> {
        let iss = claims["iss"].as_str().ok_or("iss")?;
        let matches = if self.issuer.contains(TENANT) {
            let tenant = claims["tid"].as_str().filter(|tid| is_guid(tid)).ok_or("tid")?;
            iss == self.issuer.replace(TENANT, tenant)
        } else {
            iss == self.issuer
        };
        matches.then_some(()).ok_or("iss")
    }

    fn check_audience(&self, claims: &Value) -> Result<(), &'static str> {
        match &claims["aud"] {
            Value::String(audience) if audience == self.client_id => Ok(()),
            Value::Array(audiences) if audiences.iter().any(|audience| audience == self.client_id) => {
                let is_alone = audiences.len() == 1;
                (is_alone || claims["azp"] == self.client_id).then_some(()).ok_or("azp")
            }
            _ => Err("aud"),
        }
    }

    fn check_times(&self, claims: &Value) -> Result<(), &'static str> {
        let now = self.now.as_millis() as f64 / 1_000.0;
        let seconds = |name: &'static str| claims[name].as_f64().ok_or(name);
        if seconds("exp")? <= now - LEEWAY {
            return Err("exp");
        }
        if seconds("iat")? > now + LEEWAY {
            return Err("iat");
        }
        if !claims["nbf"].is_null() && seconds("nbf")? > now + LEEWAY {
            return Err("nbf");
        }
        if let Some(max_age) = self.max_age
            && seconds("auth_time")? + max_age.as_secs_f64() < now - LEEWAY
        {
            return Err("auth_time");
        }
        Ok(())
    }

    fn check_nonce(&self, claims: &Value) -> Result<(), &'static str> {
        let Some(sent) = self.nonce else { return Ok(()) };
        if self.nonce_mode == NonceMode::NotReturned && claims["nonce"].is_null() {
            return Ok(());
        }
        let nonce = claims["nonce"].as_str().ok_or("nonce")?;
        let matches: bool = nonce.as_bytes().ct_eq(sent.expose_secret().as_bytes()).into();
        matches.then_some(()).ok_or("nonce")
    }
}

#[cfg(test)]
mod tests;
