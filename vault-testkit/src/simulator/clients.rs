//! The apps that are registered at the provider, and how they prove who they are.

use std::fmt;

use http::StatusCode;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};

use super::incoming::{Incoming, form_decoded};
use super::log::AuthMethod;
use super::reply::Reply;

/// How a client has to authenticate at the token, revocation and introspection endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientAuth {
    /// Basic or post, as the client likes.
    Any,
    /// HTTP Basic with id and secret form-encoded first (RFC 6749 section 2.3.1).
    Basic,
    /// HTTP Basic with id and secret as they are: wrong, and common.
    BasicRaw,
    /// Not at all: a public client.
    None,
    /// `client_id` and `client_secret` in the body.
    Post,
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) auth: ClientAuth,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl Client {
    fn accepts(&self, method: AuthMethod) -> bool {
        match self.auth {
            ClientAuth::Any => matches!(method, AuthMethod::Basic | AuthMethod::Post),
            ClientAuth::Basic | ClientAuth::BasicRaw => method == AuthMethod::Basic,
            ClientAuth::None => method == AuthMethod::None,
            ClientAuth::Post => method == AuthMethod::Post,
        }
    }
}

/// What a request says about its client, true or not.
pub(super) struct Claim {
    pub(super) id: Option<String>,
    secret: Option<String>,
    pub(super) method: AuthMethod,
}

impl Claim {
    pub(super) fn read(incoming: &Incoming, clients: &[Client]) -> Self {
        let posted_id = incoming.param("client_id").map(str::to_owned);
        let posted_secret = incoming.param("client_secret").map(str::to_owned);
        let Some((user, password)) = incoming.basic() else {
            let method = match &posted_secret {
                Some(_) => AuthMethod::Post,
                None => AuthMethod::None,
            };
            return Self { id: posted_id, secret: posted_secret, method };
        };
        let raw = clients.iter().any(|client| client.auth == ClientAuth::BasicRaw && client.id == user);
        let (id, secret) =
            if raw { (user, password) } else { (form_decoded(&user), form_decoded(&password)) };
        let method = match posted_secret {
            Some(_) => AuthMethod::Both,
            None => AuthMethod::Basic,
        };
        Self { id: Some(id), secret: Some(secret), method }
    }
}

/// The client that sent the request, or why it is turned away.
pub(super) fn authenticate<'a>(incoming: &Incoming, clients: &'a [Client]) -> Result<&'a Client, Box<Reply>> {
    let claim = Claim::read(incoming, clients);
    if claim.method == AuthMethod::Both {
        return Err(Box::new(Reply::refusal(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "authenticate one way, not two",
        )));
    }
    let known = clients.iter().find(|client| Some(&client.id) == claim.id.as_ref());
    let genuine = known.filter(|client| {
        let secret_fits = client.auth == ClientAuth::None || claim.secret.as_ref() == Some(&client.secret);
        client.accepts(claim.method) && secret_fits
    });
    genuine.ok_or_else(|| {
        let refusal =
            Reply::refusal(StatusCode::UNAUTHORIZED, "invalid_client", "client authentication failed");
        Box::new(if incoming.headers.contains_key(AUTHORIZATION) {
            refusal.with(WWW_AUTHENTICATE, "Basic realm=\"simulator\"")
        } else {
            refusal
        })
    })
}
