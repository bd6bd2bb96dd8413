//! How the simulated provider behaves for as long as a switch stays as it is.

use std::time::Duration;

use serde_json::{Map, Value};

/// What the provider does with the refresh token at a refresh, and with one that was spent before.
///
/// Times run on the simulator's clock. A refused token gets `invalid_grant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// Every refresh gives a new refresh token. A spent one kills the whole family: every token that came out of the
    /// same authorization.
    Family,
    /// Every refresh gives a new refresh token. Within `secs` of being spent, the old one gets the very same reply again;
    /// after that it is refused.
    Idempotent {
        /// The window, in seconds.
        secs: u64,
    },
    /// As [`LeewaySiblings`](Self::LeewaySiblings), but only the newest of the siblings is live, and the leeway ends as
    /// soon as a sibling has been spent.
    LeewayLatest {
        /// The leeway, in seconds.
        secs: u64,
    },
    /// Every refresh gives a new refresh token. Within `secs` of being spent, the old one gets another new token, and all
    /// of these siblings are live; after that it is refused.
    LeewaySiblings {
        /// The leeway, in seconds.
        secs: u64,
    },
    /// The refresh token stays as it is, and refresh replies carry none, unless
    /// [`echo_refresh_token`](Switches::echo_refresh_token) is on.
    Static,
    /// Every refresh gives a new refresh token. A spent one is refused, and nothing else happens.
    Strict,
}

/// The `iss` parameter of the redirect back to the app (RFC 9207).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssParam {
    /// The issuer, as it should be.
    Genuine,
    /// Not sent.
    Omitted,
    /// Something else.
    Other(String),
}

/// What `/revoke` takes away. For failures of the endpoint inject a [`Fault`](super::Fault).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revocation {
    /// There is no such endpoint: 404, and discovery does not name it.
    Absent,
    /// Everything that the client ever got for the account, other authorizations included.
    Grant,
    /// An access token: itself. A refresh token: everything of its authorization, as RFC 7009 has it.
    Token,
}

/// A way in which `id_token`s are wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdTokenFlaw {
    /// `alg` is `none` and there is no signature.
    AlgNone,
    /// The signature is that of another token.
    BadSignature,
    /// `exp` is a string.
    ExpAsString,
    /// `exp` has passed.
    Expired,
    /// `alg` is `HS256`, keyed with the public key.
    Hs256WithPublicKey,
    /// This claim is missing.
    MissingClaim(String),
    /// `kid` names a key that the JWKS lacks.
    UnknownKid,
    /// `aud` names another client.
    WrongAudience,
    /// `iss` names another issuer.
    WrongIssuer,
    /// `nonce` is another than the one asked for.
    WrongNonce,
}

/// A way in which the JWKS is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwksFlaw {
    /// No keys at all.
    Empty,
    /// This many other keys come before the genuine one.
    ManyKeys(usize),
    /// A symmetric key (`kty` `oct`) with the genuine key's `kid` takes its place; its bytes are those of the public key.
    SymmetricKey,
}

/// The standing behaviour of a [`Simulator`](super::Simulator); see [`switch`](super::Simulator::switch).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Switches {
    /// Lifetime of access tokens. One hour.
    pub access_ttl: Duration,
    /// Whoever is asked for, this account answers. `None`: the one of `login_hint`, else the first account.
    pub account: Option<String>,
    /// Lifetime of authorization codes. One minute.
    pub code_ttl: Duration,
    /// Every authorization ends with this error instead of a code.
    pub deny: Option<String>,
    /// The `error_description` that goes with [`deny`](Self::deny).
    pub deny_description: Option<String>,
    /// Merged into both discovery documents: a value replaces or adds a field, `null` removes it. For a wrong issuer,
    /// endpoints on foreign origins, an unadvertised PKCE.
    pub discovery: Map<String, Value>,
    /// With [`Rotation::Static`], refresh replies repeat the refresh token. Off.
    pub echo_refresh_token: bool,
    /// Of the scopes asked for, only these are granted. `None`: all.
    pub granted_scopes: Option<Vec<String>>,
    /// How `id_token`s are wrong, if they are.
    pub id_token_flaw: Option<IdTokenFlaw>,
    /// Shows a consent page instead of granting at once. Off.
    pub interactive: bool,
    /// The `iss` parameter of the redirect.
    pub iss: IssParam,
    /// How the JWKS is odd, if it is.
    pub jwks_flaw: Option<JwksFlaw>,
    /// Authorization requests without an S256 challenge are refused. On.
    pub pkce_required: bool,
    /// A refresh ends the access tokens given before it. Off.
    pub refresh_ends_access: bool,
    /// Authorizations yield refresh tokens. On.
    pub refresh_tokens: bool,
    /// Lifetime of refresh tokens, sent as `refresh_token_expires_in`. `None`: endless, and not mentioned.
    pub refresh_ttl: Option<Duration>,
    /// What `/revoke` takes away.
    pub revocation: Revocation,
    /// What happens to refresh tokens. [`Rotation::Strict`].
    pub rotation: Rotation,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            access_ttl: Duration::from_secs(3600),
            account: None,
            code_ttl: Duration::from_secs(60),
            deny: None,
            deny_description: None,
            discovery: Map::new(),
            echo_refresh_token: false,
            granted_scopes: None,
            id_token_flaw: None,
            interactive: false,
            iss: IssParam::Genuine,
            jwks_flaw: None,
            pkce_required: true,
            refresh_ends_access: false,
            refresh_tokens: true,
            refresh_ttl: None,
            revocation: Revocation::Token,
            rotation: Rotation::Strict,
        }
    }
}
