//! `id_token`s and the keys to check them with (`OpenID` Connect Core section 2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::random;
use super::reply::Reply;
use super::switches::{IdTokenFlaw, JwksFlaw};
use super::world::World;

const KEY_ID: &str = "sim-1";
const LIFETIME_SECS: i64 = 600;

/// What stands before the 32 bytes of a P-256 private key in its PKCS #8 form (RFC 5208, RFC 5915).
const PKCS8_HEAD: [u8; 35] = [
    0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04,
    0x20,
];

/// The provider's ES256 key, new in every simulator.
pub(super) struct Signer {
    key: EncodingKey,
    x: String,
    y: String,
}

impl Signer {
    pub(super) fn new() -> Self {
        let der = [&PKCS8_HEAD[..], &random::bytes()].concat();
        let key = EncodingKey::from_ec_der(&der);
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)
            .expect("all but one in 2^32 strings of 32 bytes are keys of P-256");
        let AlgorithmParameters::EllipticCurve(point) = jwk.algorithm else {
            unreachable!("an ES256 key is a point");
        };
        Self { key, x: point.x, y: point.y }
    }

    fn public(&self) -> Value {
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": self.x, "y": self.y })
    }

    /// The public key as the bytes that an attacker would key an HMAC with.
    fn public_bytes(&self) -> Vec<u8> {
        format!("{}.{}", self.x, self.y).into_bytes()
    }

    fn sign(&self, header: &Header, key: &EncodingKey, claims: &Map<String, Value>) -> String {
        jsonwebtoken::encode(header, claims, key).expect("the key fits the algorithm, and claims are JSON")
    }
}

impl World {
    pub(super) fn id_token(&self, authorization: usize, nonce: Option<&str>) -> String {
        let Some(authorization) = self.ledger.authorizations().get(authorization) else {
            unreachable!("tokens are issued for authorizations that exist");
        };
        let account = self.account(&authorization.account);
        let now = self.now().as_millis() / 1000;
        let mut claims = Map::new();
        claims.insert("iss".into(), self.issuer.clone().into());
        claims.insert("aud".into(), authorization.client.clone().into());
        claims.insert("sub".into(), account.id.into());
        claims.insert("iat".into(), now.into());
        claims.insert("exp".into(), (now + LIFETIME_SECS).into());
        claims.insert("email".into(), account.email.into());
        claims.insert("name".into(), account.name.into());
        if let Some(nonce) = nonce {
            claims.insert("nonce".into(), nonce.into());
        }
        let flaw = self.switches.id_token_flaw.as_ref();
        if let Some(flaw) = flaw {
            bend(&mut claims, flaw, now);
        }
        self.signed(&claims, flaw)
    }

    fn signed(&self, claims: &Map<String, Value>, flaw: Option<&IdTokenFlaw>) -> String {
        let signer = &self.signer;
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KEY_ID.to_owned());
        match flaw {
            Some(IdTokenFlaw::AlgNone) => {
                let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
                let header = part(json!({ "alg": "none", "typ": "JWT" }));
                format!("{header}.{}.", part(Value::Object(claims.clone())))
            }
            Some(IdTokenFlaw::BadSignature) => {
                let signed = signer.sign(&header, &signer.key, claims);
                let other = signer.sign(&header, &signer.key, &Map::new());
                let (content, _) = signed.rsplit_once('.').unwrap_or_default();
                let (_, signature) = other.rsplit_once('.').unwrap_or_default();
                format!("{content}.{signature}")
            }
            Some(IdTokenFlaw::Hs256WithPublicKey) => {
                header.alg = Algorithm::HS256;
                signer.sign(&header, &EncodingKey::from_secret(&signer.public_bytes()), claims)
            }
            Some(IdTokenFlaw::UnknownKid) => {
                header.kid = Some("sim-unknown".to_owned());
                signer.sign(&header, &signer.key, claims)
            }
            _ => signer.sign(&header, &signer.key, claims),
        }
    }

    pub(super) fn jwks(&self) -> Reply {
        let genuine = self.signer.public();
        let keys = match self.switches.jwks_flaw {
            None => vec![genuine],
            Some(JwksFlaw::Empty) => Vec::new(),
            Some(JwksFlaw::ManyKeys(count)) => {
                let other = |index: usize| {
                    let mut key = genuine.clone();
                    key["kid"] = json!(format!("sim-other-{index}"));
                    key
                };
                (0..count).map(other).chain([genuine.clone()]).collect()
            }
            Some(JwksFlaw::SymmetricKey) => {
                let key = URL_SAFE_NO_PAD.encode(self.signer.public_bytes());
                vec![json!({ "kty": "oct", "alg": "HS256", "use": "sig", "kid": KEY_ID, "k": key })]
            }
        };
        Reply::json(StatusCode::OK, &json!({ "keys": keys }))
    }
}

fn bend(claims: &mut Map<String, Value>, flaw: &IdTokenFlaw, now: i64) {
    let (claim, value) = match flaw {
        IdTokenFlaw::ExpAsString => ("exp", json!((now + LIFETIME_SECS).to_string())),
        IdTokenFlaw::Expired => ("exp", json!(now - 3600)),
        IdTokenFlaw::WrongAudience => ("aud", json!("another-client")),
        IdTokenFlaw::WrongIssuer => ("iss", json!("https://another-issuer.example")),
        IdTokenFlaw::WrongNonce => ("nonce", json!("another-nonce")),
        IdTokenFlaw::MissingClaim(name) => {
            claims.remove(name);
            return;
        }
        IdTokenFlaw::AlgNone
        | IdTokenFlaw::BadSignature
        | IdTokenFlaw::Hs256WithPublicKey
        | IdTokenFlaw::UnknownKid => return,
    };
    claims.insert(claim.to_owned(), value);
}
