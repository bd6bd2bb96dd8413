//! The authorization endpoint.

use http::StatusCode;
use url::Url;

use super::incoming::{ACCOUNT_HEADER, DENY_HEADER, Incoming, scopes};
use super::ledger::{CodeBinding, Draft, TokenKind};
use super::page;
use super::random;
use super::reply::Reply;
use super::switches::IssParam;
use super::world::World;

/// An authorization request that was found good, and waits for the user.
#[derive(Clone)]
pub(super) struct Ticket {
    pub(super) client: String,
    redirect_uri: Url,
    state: Option<String>,
    pub(super) scopes: Vec<String>,
    resources: Vec<String>,
    login_hint: Option<String>,
    /// As sent: comparing a parsed URL would forgive differences.
    binding: CodeBinding,
}

/// What the user says.
enum Consent {
    Allow { account: String },
    Deny,
}

impl World {
    pub(super) fn authorize(&mut self, incoming: &Incoming) -> Reply {
        if incoming.is_post() {
            return self.decide(incoming);
        }
        let secrets = ["state", "nonce"].into_iter().filter_map(|name| incoming.param(name));
        self.received.extend(secrets.map(str::to_owned));
        let ticket = match self.ticket(incoming) {
            Ok(ticket) => ticket,
            Err(refusal) => return *refusal,
        };
        let driven = incoming.header(&ACCOUNT_HEADER).map(str::to_owned);
        let denied = incoming.headers.contains_key(&DENY_HEADER);
        if self.switches.interactive && driven.is_none() && !denied {
            let id = random::text();
            let suggested = self.whoever(None, &ticket);
            let page = page::consent(self, &id, &ticket, &suggested);
            self.tickets.insert(id, ticket);
            return Reply::html(StatusCode::OK, page);
        }
        let consent = if denied {
            Consent::Deny
        } else {
            let account = self.whoever(driven, &ticket);
            Consent::Allow { account }
        };
        self.conclude(&ticket, consent)
    }

    /// The consent page, sent back.
    fn decide(&mut self, incoming: &Incoming) -> Reply {
        let ticket = incoming.param("ticket").and_then(|id| self.tickets.remove(id));
        let Some(ticket) = ticket else {
            let page = page::refusal("This request was answered already, or never made.");
            return Reply::html(StatusCode::BAD_REQUEST, page);
        };
        let consent = if incoming.param("decision") == Some("allow") {
            let chosen = incoming.param("account").map(str::to_owned);
            let account = self.whoever(chosen, &ticket);
            Consent::Allow { account }
        } else {
            Consent::Deny
        };
        self.conclude(&ticket, consent)
    }

    fn whoever(&mut self, chosen: Option<String>, ticket: &Ticket) -> String {
        let hint = chosen
            .or_else(|| self.switches.account.clone())
            .or_else(|| ticket.login_hint.clone())
            .or_else(|| self.accounts.first().map(|account| account.id.clone()))
            .unwrap_or_else(|| "ada".to_owned());
        self.account_for(&hint)
    }

    /// Checks the request. Until client and redirect URI are known to be good, nothing is sent there.
    fn ticket(&self, incoming: &Incoming) -> Result<Ticket, Box<Reply>> {
        let stop = |why: &str| Box::new(Reply::html(StatusCode::BAD_REQUEST, page::refusal(why)));
        let client = incoming.param("client_id").unwrap_or_default();
        if !self.clients.iter().any(|known| known.id == client) {
            return Err(stop("No app with this client_id is registered here."));
        }
        let sent_uri = incoming.param("redirect_uri").unwrap_or_default();
        let redirect_uri = Url::parse(sent_uri)
            .ok()
            .filter(|uri| uri.fragment().is_none())
            .ok_or_else(|| stop("The redirect_uri is missing, relative, or has a fragment."))?;
        let ticket = Ticket {
            client: client.to_owned(),
            redirect_uri,
            state: incoming.param("state").map(str::to_owned),
            scopes: scopes(incoming.param("scope")),
            resources: incoming.params_named("resource").map(str::to_owned).collect(),
            login_hint: incoming.param("login_hint").map(str::to_owned),
            binding: CodeBinding {
                redirect_uri: sent_uri.to_owned(),
                challenge: incoming.param("code_challenge").map(str::to_owned),
                nonce: incoming.param("nonce").map(str::to_owned),
            },
        };
        match self.objection(incoming, &ticket) {
            Some((error, description)) => Err(Box::new(self.turn_back(&ticket, error, Some(description)))),
            None => Ok(ticket),
        }
    }

    fn objection(&self, incoming: &Incoming, ticket: &Ticket) -> Option<(&'static str, &'static str)> {
        if incoming.doubled().is_some() {
            return Some(("invalid_request", "a parameter is there twice"));
        }
        if incoming.param("response_type") != Some("code") {
            return Some(("unsupported_response_type", "only the code flow is served"));
        }
        let s256 = incoming.param("code_challenge_method") == Some("S256");
        match &ticket.binding.challenge {
            Some(_) if !s256 => Some(("invalid_request", "code_challenge_method has to be S256")),
            None if self.switches.pkce_required => Some(("invalid_request", "code_challenge is required")),
            _ => None,
        }
    }

    fn conclude(&mut self, ticket: &Ticket, consent: Consent) -> Reply {
        if let Some(error) = self.switches.deny.clone() {
            let description = self.switches.deny_description.clone();
            return self.turn_back(ticket, &error, description.as_deref());
        }
        match consent {
            Consent::Allow { account } => {
                let code = self.issue_code(ticket, &account);
                self.send_back(ticket, &[("code", &code)])
            }
            Consent::Deny => self.turn_back(ticket, "access_denied", Some("the user said no")),
        }
    }

    fn issue_code(&mut self, ticket: &Ticket, account: &str) -> String {
        let mut granted = ticket.scopes.clone();
        if let Some(only) = &self.switches.granted_scopes {
            granted.retain(|scope| only.contains(scope));
        }
        let authorization = self.ledger.authorize(&ticket.client, account, granted.clone());
        let code = self.ledger.issue(Draft {
            kind: TokenKind::Code,
            authorization,
            generation: 0,
            scopes: granted,
            resources: ticket.resources.clone(),
            expires_at: Some(self.now().saturating_add(self.switches.code_ttl)),
        });
        self.ledger.bind(&code, ticket.binding.clone());
        code
    }

    fn turn_back(&self, ticket: &Ticket, error: &str, description: Option<&str>) -> Reply {
        let mut answer = vec![("error", error)];
        answer.extend(description.map(|text| ("error_description", text)));
        self.send_back(ticket, &answer)
    }

    fn send_back(&self, ticket: &Ticket, answer: &[(&str, &str)]) -> Reply {
        let mut uri = ticket.redirect_uri.clone();
        let mut query = uri.query_pairs_mut();
        query.extend_pairs(answer);
        if let Some(state) = &ticket.state {
            query.append_pair("state", state);
        }
        match &self.switches.iss {
            IssParam::Genuine => {
                query.append_pair("iss", &self.issuer);
            }
            IssParam::Omitted => {}
            IssParam::Other(other) => {
                query.append_pair("iss", other);
            }
        }
        drop(query);
        Reply::redirect(uri.as_str())
    }
}
