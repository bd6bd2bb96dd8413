//! The revocation and introspection endpoints.

use http::StatusCode;
use serde_json::json;

use super::clients::authenticate;
use super::incoming::Incoming;
use super::ledger::TokenKind;
use super::reply::Reply;
use super::switches::Revocation;
use super::world::World;

impl World {
    /// RFC 7009.
    pub(super) fn revoke(&mut self, incoming: &Incoming) -> Reply {
        if self.switches.revocation == Revocation::Absent {
            return Reply::empty(StatusCode::NOT_FOUND);
        }
        let client = match authenticate(incoming, &self.clients) {
            Ok(client) => client.id.clone(),
            Err(refusal) => return *refusal,
        };
        let Some(token) = incoming.param("token") else {
            return Reply::refusal(StatusCode::BAD_REQUEST, "invalid_request", "token is missing");
        };
        // A token that is unknown, or another client's, is no error: there is nothing left to revoke.
        let info = self.ledger.describe(token).filter(|info| info.client == client);
        if let Some(info) = info {
            match (self.switches.revocation, info.kind) {
                (Revocation::Grant, _) => self.ledger.kill_grant(Some(&client), &info.account),
                (_, TokenKind::Access) => self.ledger.kill(token),
                _ => self.ledger.kill_authorization(info.authorization),
            }
        }
        Reply::empty(StatusCode::OK)
    }

    /// RFC 7662.
    pub(super) fn introspect(&mut self, incoming: &Incoming) -> Reply {
        let client = match authenticate(incoming, &self.clients) {
            Ok(client) => client.id.clone(),
            Err(refusal) => return *refusal,
        };
        let token = incoming.param("token").unwrap_or_default();
        let info = self.ledger.describe(token).filter(|info| info.client == client);
        let Some(info) = info.filter(|_| self.accepts(token)) else {
            return Reply::json(StatusCode::OK, &json!({ "active": false }));
        };
        let mut body = json!({
            "active": true,
            "client_id": info.client,
            "iss": self.issuer,
            "scope": info.scopes.join(" "),
            "sub": info.account,
        });
        if let Some(end) = info.expires_at {
            body["exp"] = json!(end.as_millis() / 1000);
        }
        if !info.resources.is_empty() {
            body["aud"] = json!(info.resources);
        }
        Reply::json(StatusCode::OK, &body)
    }

    /// Whether the token would be accepted if it were presented now.
    pub(super) fn accepts(&self, token: &str) -> bool {
        let now = self.now();
        let Some(known) = self.ledger.get(token) else {
            return false;
        };
        match known.info.kind {
            TokenKind::Refresh => self.ledger.verdict(known, self.switches.rotation, now).is_acceptance(),
            kind => self.ledger.live(token, kind, now).is_some(),
        }
    }
}
