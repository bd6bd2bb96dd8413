//! From a token set to a [`TokenReply`].

use std::collections::BTreeMap;

use oauth2::TokenResponse as _;
use oauth2::basic::BasicTokenResponse;
use serde_json::Value;

use super::classify::malformed;
use super::types::{Failure, ReplyBody, TokenReply};
use super::{expiry, json, reply};
use crate::clock::Timestamp;
use crate::provider::spec::{AbsentRefresh, Phase, RefreshCredential, Spec};
use crate::secret::SecretString;

/// Where a token reply comes from: what is needed to read it whole.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) spec: &'a Spec,
    pub(super) phase: Phase,
    pub(super) now: Timestamp,
}

impl Context<'_> {
    /// `token` is what the `oauth2` crate read in `set`, which is part of `body`.
    pub(super) fn token_reply(
        self,
        token: &BasicTokenResponse,
        set: &Value,
        body: &Value,
    ) -> Result<TokenReply, Failure> {
        let response = &self.spec.response;
        let expires = &response.expires;
        let refresh_token = token.refresh_token().map(|token| SecretString::new(token.secret()));
        if refresh_token.is_none() && self.wants_refresh_token() {
            return Err(malformed("refresh_token"));
        }
        let earliest = expires.earliest_refresh.as_ref();
        let mut reply = TokenReply {
            access_token: SecretString::new(token.access_token().secret()),
            refresh_token,
            expires_at: expiry::expires_at(&expires.access, set, self.now),
            refresh_expires_at: expiry::expires_at(&expires.refresh, set, self.now),
            earliest_refresh_at: earliest.and_then(|spec| expiry::expires_at(spec, set, self.now)),
            scopes: scopes(token),
            id_token: reply::token("id_token", set, &response.fields.id_token)?.map(SecretString::new),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            body: ReplyBody(body.clone()),
        };
        self.capture(&mut reply)?;
        Ok(reply)
    }

    fn wants_refresh_token(self) -> bool {
        let policy = &self.spec.refresh_policy;
        self.phase == Phase::Refresh
            && policy.credential == RefreshCredential::RefreshToken
            && policy.absent_in_reply == AbsentRefresh::Error
    }

    /// Takes the fields that the provider file names, from the whole reply. Refresh replies may leave them out.
    fn capture(self, reply: &mut TokenReply) -> Result<(), Failure> {
        for (pointer, capture) in &self.spec.response.capture {
            let found = json::at(&reply.body.0, pointer).and_then(json::text);
            match found.filter(|text| !text.is_empty()) {
                None if capture.required && self.phase == Phase::Exchange => {
                    return Err(malformed(&capture.field));
                }
                Some(text) if capture.secret => {
                    reply.secrets.insert(capture.field.clone(), SecretString::new(text));
                }
                Some(text) if capture.persist => {
                    reply.config.insert(capture.field.clone(), text);
                }
                None | Some(_) => {}
            }
        }
        Ok(())
    }
}

fn scopes(token: &BasicTokenResponse) -> Option<Vec<String>> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in token.scopes()? {
        if !scopes.contains(scope) {
            scopes.push(scope.to_string());
        }
    }
    Some(scopes)
}
