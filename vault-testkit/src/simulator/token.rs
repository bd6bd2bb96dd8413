//! The token endpoint.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::clients::authenticate;
use super::incoming::{Incoming, scopes};
use super::ledger::{CodeBinding, Draft, TokenInfo, TokenKind, TokenState};
use super::log::Pkce;
use super::reply::Reply;
use super::rotation::Verdict;
use super::world::{Notes, World};

type Refused = Box<Reply>;
type Granted = Map<String, Value>;

fn refused(error: &str, description: &str) -> Refused {
    Box::new(Reply::refusal(StatusCode::BAD_REQUEST, error, description))
}

/// A set of tokens to be issued.
struct Order {
    authorization: usize,
    generation: u32,
    scopes: Vec<String>,
    /// Of the access token.
    resources: Vec<String>,
    /// Of the authorization, which the refresh token keeps whatever an access token was asked for (RFC 8707 section 2.2).
    authorized: Vec<String>,
    nonce: Option<String>,
    /// Of the refresh token that this answers.
    refresh: Option<Vec<String>>,
}

impl World {
    pub(super) fn token(&mut self, incoming: &Incoming, notes: &mut Notes) -> Reply {
        self.grant(incoming, notes)
            .map_or_else(|refusal| *refusal, |fields| Reply::json(StatusCode::OK, &Value::Object(fields)))
    }

    fn grant(&mut self, incoming: &Incoming, notes: &mut Notes) -> Result<Granted, Refused> {
        self.received.extend(incoming.param("code_verifier").map(str::to_owned));
        if incoming.doubled().is_some() {
            return Err(refused("invalid_request", "a parameter is there twice"));
        }
        let client = authenticate(incoming, &self.clients)?.id.clone();
        match incoming.param("grant_type") {
            Some("authorization_code") => self.exchange(incoming, &client, notes),
            Some("refresh_token") => self.refresh(incoming, &client, notes),
            Some(_) => Err(refused("unsupported_grant_type", "only code exchange and refresh are served")),
            None => Err(refused("invalid_request", "grant_type is missing")),
        }
    }

    fn exchange(&mut self, incoming: &Incoming, client: &str, notes: &mut Notes) -> Result<Granted, Refused> {
        let code = incoming.param("code").ok_or_else(|| refused("invalid_request", "code is missing"))?;
        let now = self.now();
        let token = self.ledger.get(code).filter(|token| token.info.client == client);
        let (info, binding) = token
            .and_then(|token| Some((token.info.clone(), token.binding.clone()?)))
            .ok_or_else(|| refused("invalid_grant", "no such code"))?;
        if info.state != TokenState::Live {
            // RFC 6749 section 4.1.2: somebody has a copy of it.
            self.ledger.kill_authorization(info.authorization);
            return Err(refused("invalid_grant", "the code was used before"));
        }
        if info.is_expired(now) {
            return Err(refused("invalid_grant", "the code has expired"));
        }
        self.ledger.spend(code, now);
        if incoming.param("redirect_uri") != Some(binding.redirect_uri.as_str()) {
            return Err(refused("invalid_grant", "the redirect_uri is not the one that was authorized"));
        }
        let pkce = check_pkce(&binding, incoming.param("code_verifier"));
        notes.pkce = Some(pkce);
        if !matches!(pkce, Pkce::Matched | Pkce::Unused) {
            return Err(refused("invalid_grant", "the code_verifier does not fit"));
        }
        let authorization = self.redirected(info.authorization, notes);
        let wants_refresh = self.switches.refresh_tokens;
        Ok(self
            .issue(&Order {
                authorization,
                generation: 0,
                refresh: wants_refresh.then(|| info.scopes.clone()),
                scopes: info.scopes,
                resources: audience(incoming, info.resources.clone()),
                authorized: info.resources,
                nonce: binding.nonce,
            })
            .0)
    }

    fn refresh(&mut self, incoming: &Incoming, client: &str, notes: &Notes) -> Result<Granted, Refused> {
        let spent = incoming
            .param("refresh_token")
            .ok_or_else(|| refused("invalid_request", "refresh_token is missing"))?;
        let now = self.now();
        let token = self
            .ledger
            .get(spent)
            .filter(|token| token.info.kind == TokenKind::Refresh && token.info.client == client)
            .ok_or_else(|| refused("invalid_grant", "no such refresh token"))?;
        let info = token.info.clone();
        let verdict = self.ledger.verdict(token, self.switches.rotation, now);
        if verdict == Verdict::Repeat
            && let Some(reply) = token.reply.clone()
        {
            return Ok(reply);
        }
        let wanted = incoming.param("scope").map(|list| scopes(Some(list)));
        if wanted.iter().flatten().any(|scope| !info.scopes.contains(scope)) {
            return Err(refused("invalid_scope", "more than was granted"));
        }
        self.prepare(spent, &info, verdict)?;
        let authorization = self.redirected(info.authorization, notes);
        Ok(self.rotate(
            spent,
            &info,
            verdict,
            Order {
                authorization,
                generation: info.generation + 1,
                refresh: (verdict != Verdict::Keep).then(|| info.scopes.clone()),
                scopes: wanted.unwrap_or_else(|| info.scopes.clone()),
                resources: audience(incoming, info.resources.clone()),
                authorized: info.resources.clone(),
                nonce: None,
            },
        ))
    }

    /// What the verdict ends.
    fn prepare(&mut self, spent: &str, info: &TokenInfo, verdict: Verdict) -> Result<(), Refused> {
        match verdict {
            Verdict::Keep => {}
            Verdict::Rotate => {
                let now = self.now();
                self.ledger.spend(spent, now);
            }
            Verdict::Sibling { alone } => {
                let siblings = self.ledger.get(spent).map(|token| token.children.clone());
                for sibling in siblings.into_iter().flatten().filter(|_| alone) {
                    self.ledger.kill(&sibling);
                }
            }
            Verdict::Kill => {
                self.ledger.kill_authorization(info.authorization);
                return Err(refused("invalid_grant", "the refresh token was used before; its family ends"));
            }
            Verdict::Refuse | Verdict::Repeat => {
                return Err(refused("invalid_grant", "the refresh token is spent, expired or revoked"));
            }
        }
        if self.switches.refresh_ends_access {
            self.ledger.kill_access(info.authorization);
        }
        Ok(())
    }

    fn rotate(&mut self, spent: &str, info: &TokenInfo, verdict: Verdict, mut order: Order) -> Granted {
        let authorization = self.ledger.authorization(info.authorization);
        authorization.refreshes += 1;
        if verdict == Verdict::Keep {
            order.generation = authorization.refreshes;
        }
        let (mut reply, child) = self.issue(&order);
        if verdict == Verdict::Keep && self.switches.echo_refresh_token {
            reply.insert("refresh_token".into(), spent.into());
        }
        if let Some(token) = self.ledger.get_mut(spent) {
            token.children.extend(child);
            token.reply = Some(reply.clone());
        }
        reply
    }

    /// The authorization to answer from: another account's, where a fault wants that.
    fn redirected(&mut self, authorization: usize, notes: &Notes) -> usize {
        let Some(account) = &notes.account else {
            return authorization;
        };
        let account = self.account_for(account);
        let genuine = self.ledger.authorization(authorization);
        let (client, scopes) = (genuine.client.clone(), genuine.scopes.clone());
        self.ledger.authorize(&client, &account, scopes)
    }

    /// The reply, and the refresh token in it.
    fn issue(&mut self, order: &Order) -> (Granted, Option<String>) {
        let now = self.now();
        let ttl = self.switches.access_ttl;
        let mut reply = Map::new();
        let draft = |kind, scopes: &[String], resources: &[String], expires_at| Draft {
            kind,
            authorization: order.authorization,
            generation: order.generation,
            scopes: scopes.to_vec(),
            resources: resources.to_vec(),
            expires_at,
        };
        let access = draft(TokenKind::Access, &order.scopes, &order.resources, Some(now.saturating_add(ttl)));
        reply.insert("access_token".into(), self.ledger.issue(access).into());
        reply.insert("token_type".into(), "Bearer".into());
        reply.insert("expires_in".into(), ttl.as_secs().into());
        reply.insert("scope".into(), order.scopes.join(" ").into());
        let refresh = order.refresh.as_ref().map(|scopes| {
            let ends = self.switches.refresh_ttl.map(|ttl| now.saturating_add(ttl));
            self.ledger.issue(draft(TokenKind::Refresh, scopes, &order.authorized, ends))
        });
        if let Some(token) = &refresh {
            reply.insert("refresh_token".into(), token.clone().into());
            if let Some(ttl) = self.switches.refresh_ttl {
                reply.insert("refresh_token_expires_in".into(), json!(ttl.as_secs()));
            }
        }
        if order.scopes.iter().any(|scope| scope == "openid") {
            let id_token = self.id_token(order.authorization, order.nonce.as_deref());
            self.ledger.record(&id_token);
            reply.insert("id_token".into(), id_token.into());
        }
        (reply, refresh)
    }
}

/// The resources asked for now, else those of the authorization.
fn audience(incoming: &Incoming, before: Vec<String>) -> Vec<String> {
    let now: Vec<String> = incoming.params_named("resource").map(str::to_owned).collect();
    if now.is_empty() { before } else { now }
}

/// RFC 7636 section 4.6.
fn check_pkce(binding: &CodeBinding, verifier: Option<&str>) -> Pkce {
    match (&binding.challenge, verifier) {
        (None, _) => Pkce::Unused,
        (Some(_), None) => Pkce::Missing,
        (Some(challenge), Some(verifier)) if *challenge == challenge_of(verifier) => Pkce::Matched,
        (Some(_), Some(_)) => Pkce::Mismatched,
    }
}

/// The S256 challenge of a verifier.
pub(super) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}
