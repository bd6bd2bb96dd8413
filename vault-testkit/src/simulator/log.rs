//! What was asked of the provider.

use std::collections::HashMap;

use super::incoming::Incoming;
use super::ledger::TokenInfo;

/// An endpoint of the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `/authorize`
    Authorize,
    /// `/calendar`, the demo API.
    Calendar,
    /// `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`
    Discovery,
    /// Any other path: answered with 404. A redirect into the void shows up here.
    Elsewhere,
    /// `/introspect`
    Introspect,
    /// `/jwks`
    Jwks,
    /// `/revoke`
    Revoke,
    /// `/token`
    Token,
    /// `/userinfo`
    Userinfo,
}

/// How a request authenticated its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthMethod {
    /// HTTP Basic.
    Basic,
    /// Both ways at once, which RFC 6749 forbids.
    Both,
    /// Not at all.
    None,
    /// Secret in the body.
    Post,
}

/// How the `code_verifier` of a code exchange stood up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pkce {
    /// It belongs to the challenge.
    Matched,
    /// It does not.
    Mismatched,
    /// There was a challenge, and no verifier came.
    Missing,
    /// There was no challenge.
    Unused,
}

/// One request, as the provider saw it. Holds no secret: see [`param`](Self::param).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// Where it went.
    pub endpoint: Endpoint,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// How the client authenticated.
    pub auth: AuthMethod,
    /// The client that it claims to come from.
    pub client: Option<String>,
    /// `grant_type` of a token request.
    pub grant_type: Option<String>,
    /// The token or code that it brought, as it stood on arrival. `None` also for one that the provider never issued.
    pub presented: Option<TokenInfo>,
    /// Of a code exchange that came as far as this check.
    pub pkce: Option<Pkce>,
    /// Requests to this endpoint that were being answered when it arrived, itself included.
    pub in_flight: usize,
    /// Token requests with the same code or refresh token that were being answered when it arrived, itself included.
    pub rivals: usize,
    /// Whether the provider did what was asked, even if a fault then hid it. `false` while it is held before that.
    pub acted: bool,
    /// The status of the reply. `None` while there is none, and for ever if the connection was dropped.
    pub status: Option<u16>,
    params: Vec<(String, String)>,
    query_names: Vec<String>,
    headers: Vec<(String, String)>,
}

impl Call {
    /// The first parameter of that name, from query or body. Values that are or may be secret are shown as a digest:
    /// equal digests, equal values.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        first(&self.params, name)
    }

    /// The names of all parameters, in the order sent, doubles included.
    #[must_use]
    pub fn param_names(&self) -> Vec<&str> {
        self.params.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The names of the parameters that came in the URL.
    #[must_use]
    pub fn query_names(&self) -> Vec<&str> {
        self.query_names.iter().map(String::as_str).collect()
    }

    /// The first header of that name, given in lower case; a digest where it may be secret.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// Whether a cookie came along.
    #[must_use]
    pub fn has_cookie(&self) -> bool {
        self.header("cookie").is_some()
    }
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

const PLAIN_PARAMS: [&str; 16] = [
    "access_type",
    "audience",
    "client_id",
    "code_challenge_method",
    "decision",
    "grant_type",
    "include_granted_scopes",
    "login_hint",
    "prompt",
    "redirect_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "token_type_hint",
    "user_scope",
];
const PLAIN_HEADERS: [&str; 7] =
    ["accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"];
/// What may carry a token that this provider issued.
const TOKEN_PARAMS: [&str; 3] = ["refresh_token", "code", "token"];

fn shown(name: &str, value: &str, plain: &[&str]) -> (String, String) {
    let value = if plain.contains(&name) {
        value.to_owned()
    } else {
        format!("#{}", &blake3::hash(value.as_bytes()).to_hex()[..16])
    };
    (name.to_owned(), value)
}

/// The token or code that a request brings.
pub(super) fn presented(incoming: &Incoming) -> Option<&str> {
    TOKEN_PARAMS.iter().find_map(|name| incoming.param(name)).or_else(|| incoming.bearer())
}

/// Which of the calls, for [`Log::change`].
pub(super) type CallId = usize;

#[derive(Debug, Default)]
pub(super) struct Log {
    calls: Vec<Call>,
    in_flight: HashMap<Endpoint, usize>,
    most_in_flight: HashMap<Endpoint, usize>,
    contested: HashMap<String, usize>,
}

impl Log {
    pub(super) fn arrive(
        &mut self,
        incoming: &Incoming,
        auth: AuthMethod,
        client: Option<String>,
        token: Option<TokenInfo>,
    ) -> CallId {
        let endpoint = incoming.endpoint;
        let in_flight = bump(&mut self.in_flight, endpoint);
        let most = self.most_in_flight.entry(endpoint).or_default();
        *most = in_flight.max(*most);
        let rivals = contest(incoming).map_or(1, |key| bump(&mut self.contested, key));
        self.calls.push(Call {
            endpoint,
            method: incoming.method.to_string(),
            path: incoming.path.clone(),
            auth,
            client,
            grant_type: incoming.param("grant_type").map(str::to_owned),
            presented: token,
            pkce: None,
            in_flight,
            rivals,
            acted: false,
            status: None,
            params: incoming.params.iter().map(|(name, value)| shown(name, value, &PLAIN_PARAMS)).collect(),
            query_names: incoming.query_names.clone(),
            headers: incoming
                .headers
                .iter()
                .map(|(name, value)| {
                    shown(name.as_str(), &String::from_utf8_lossy(value.as_bytes()), &PLAIN_HEADERS)
                })
                .collect(),
        });
        self.calls.len() - 1
    }

    pub(super) fn change(&mut self, id: CallId) -> &mut Call {
        &mut self.calls[id]
    }

    pub(super) fn leave(&mut self, incoming: &Incoming) {
        drop_one(&mut self.in_flight, &incoming.endpoint);
        if let Some(key) = contest(incoming) {
            drop_one(&mut self.contested, &key);
        }
    }

    pub(super) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(super) fn most_in_flight(&self, endpoint: Endpoint) -> usize {
        self.most_in_flight.get(&endpoint).copied().unwrap_or(0)
    }
}

fn contest(incoming: &Incoming) -> Option<String> {
    (incoming.endpoint == Endpoint::Token).then(|| presented(incoming).map(str::to_owned)).flatten()
}

fn bump<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) -> usize {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count
}

fn drop_one<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
