//! The keys with which providers sign `id_token`s (RFC 7517).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::rust_crypto;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use url::Url;

use super::cached::Cached;
use super::document::Documents;
use super::id_token::invalid;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, printable};
use crate::http::HttpClient;

/// How many key sets are remembered.
const CAPACITY: usize = 1_000;
/// How many keys of a set are looked at; what comes after them is not read. Providers publish two to ten.
const MAX_KEYS: usize = 100;

/// Looks keys up and remembers them; see [`Cached`] for how long and what happens when the provider is down.
#[derive(Debug)]
pub(crate) struct Jwks {
    documents: Documents,
    cached: Cached<Url, KeySet>,
}

#[derive(Debug)]
struct KeySet(Vec<Arc<VerifyingKey>>);

/// A public key and what it may be used for.
#[derive(Debug)]
pub(crate) struct VerifyingKey {
    kid: Option<String>,
    kind: KeyKind,
    /// The one algorithm that it is for, where the set says so.
    alg: Option<Algorithm>,
    key: DecodingKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Ed25519,
    P256,
    P384,
    Rsa,
}

/// The signature algorithm of that name, if an `id_token` may be signed with it. Never `none`, and never the HMAC ones:
/// keyed with a public key, anybody could make those.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        "PS256" => Algorithm::PS256,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        _ => return None,
    })
}

impl Jwks {
    /// `timeout` bounds each request.
    pub(crate) fn new(http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        Self {
            documents: Documents::new(http, Arc::clone(&clock), timeout),
            cached: Cached::new(clock, CAPACITY),
        }
    }

    /// The key named `kid` at `jwks_uri`, or without a name the only one there for `alg`. An unknown name has the set
    /// fetched again, at most every five minutes.
    ///
    /// # Errors
    /// `IdTokenInvalid` when there is no such key or it is not for `alg`; otherwise as [`Documents::get`].
    ///
    /// # Cancel safety
    /// As [`Cached`].
    pub(crate) async fn key(
        &self,
        jwks_uri: &Url,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Arc<VerifyingKey>, Error> {
        let known = self.cached.get(jwks_uri, || self.fetch(jwks_uri)).await?;
        if let Some(key) = known.choose(kid, alg)? {
            return Ok(key);
        }
        let newer = self.cached.refetch(jwks_uri, &known, || self.fetch(jwks_uri)).await?;
        newer.choose(kid, alg)?.ok_or_else(|| invalid("unknown kid"))
    }

    async fn fetch(&self, jwks_uri: &Url) -> Result<KeySet, Error> {
        let Some(Document { keys }) = self.documents.get(jwks_uri).await? else {
            let message = format!("no key set at {}", printable(jwks_uri.as_str()));
            return Err(Error::new(ErrorKind::ProviderUnavailable, message));
        };
        let usable = keys.0.into_iter().filter_map(|key| RawKey::deserialize(key).ok()?.usable());
        Ok(KeySet(usable.map(Arc::new).collect()))
    }
}

impl KeySet {
    /// `None` when the set has no such key.
    fn choose(&self, kid: Option<&str>, alg: Algorithm) -> Result<Option<Arc<VerifyingKey>>, Error> {
        let named = || self.0.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        let mut fitting = named().filter(|key| key.fits(alg));
        match (fitting.next(), fitting.next()) {
            (Some(_), Some(_)) if kid.is_none() => Err(invalid("kid")),
            (Some(key), _) => Ok(Some(Arc::clone(key))),
            (None, _) if kid.is_some() && named().next().is_some() => Err(invalid("alg")),
            (None, _) => Ok(None),
        }
    }
}

impl VerifyingKey {
    fn fits(&self, alg: Algorithm) -> bool {
        let kind = match alg {
            Algorithm::ES256 => KeyKind::P256,
            Algorithm::ES384 => KeyKind::P384,
            Algorithm::EdDSA => KeyKind::Ed25519,
            Algorithm::PS256 | Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => KeyKind::Rsa,
            _ => return false,
        };
        self.kind == kind && self.alg.is_none_or(|only| only == alg)
    }

    /// Whether `signature` is this key's signature of `message`.
    pub(crate) fn verifies(&self, alg: Algorithm, message: &[u8], signature: &Vec<u8>) -> bool {
        // Not `jsonwebtoken::decode`: that takes its cryptography from a process-wide setting of the host's.
        self.fits(alg)
            && (rust_crypto::DEFAULT_PROVIDER.verifier_factory)(&alg, &self.key)
                .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

#[derive(Deserialize)]
struct Document {
    keys: FirstKeys,
}

/// The first [`MAX_KEYS`] elements of an array, of any shape.
struct FirstKeys(Vec<Value>);

impl<'de> Deserialize<'de> for FirstKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = FirstKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of keys")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FirstKeys, A::Error> {
                let mut keys = Vec::new();
                while keys.len() < MAX_KEYS {
                    let Some(key) = seq.next_element()? else {
                        return Ok(FirstKeys(keys));
                    };
                    keys.push(key);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(FirstKeys(keys))
            }
        }
        deserializer.deserialize_seq(Keys)
    }
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// Only private keys have it.
    d: Option<IgnoredAny>,
}

impl RawKey {
    /// `None` for keys that cannot or must not verify an `id_token`: symmetric ones, published private ones, those for
    /// encryption, and those of kinds or sizes not known here.
    fn usable(self) -> Option<VerifyingKey> {
        let for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if self.d.is_some() || !for_signatures {
            return None;
        }
        let alg = match self.alg.as_deref() {
            Some(name) => Some(algorithm(name)?),
            None => None,
        };
        let (kind, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (KeyKind::Rsa, rsa(&self.n?, &self.e?)?),
            ("EC", Some("P-256")) => (KeyKind::P256, ec(&self.x?, &self.y?, 32)?),
            ("EC", Some("P-384")) => (KeyKind::P384, ec(&self.x?, &self.y?, 48)?),
            ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, ed25519(&self.x?)?),
            _ => return None,
        };
        Some(VerifyingKey { kid: self.kid, kind, alg, key })
    }
}

/// At least 2048 bits (RFC 7518 3.3), and at most the 4096 that the verifier takes.
fn rsa(n: &str, e: &str) -> Option<DecodingKey> {
    let (n, e) = (URL_SAFE_NO_PAD.decode(n).ok()?, URL_SAFE_NO_PAD.decode(e).ok()?);
    let significant = n.iter().skip_while(|byte| **byte == 0).count();
    (256..=512).contains(&significant).then(|| DecodingKey::from_rsa_raw_components(&n, &e))
}

fn ec(x: &str, y: &str, len: usize) -> Option<DecodingKey> {
    let fits = is_bytes(x, len) && is_bytes(y, len);
    fits.then(|| DecodingKey::from_ec_components(x, y).ok())?
}

fn ed25519(x: &str) -> Option<DecodingKey> {
    is_bytes(x, 32).then(|| DecodingKey::from_ed_components(x).ok())?
}

fn is_bytes(text: &str, len: usize) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == len)
}

#[cfg(test)]
mod tests;
