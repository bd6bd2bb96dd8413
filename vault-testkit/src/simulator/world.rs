//! The provider itself: everything that requests read and change, behind one lock.

use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;
use http::header::ALLOW;
use vault_core::clock::{Clock, Timestamp};

use super::accounts::Account;
use super::authorize::Ticket;
use super::clients::Client;
use super::faults::Faults;
use super::gate::Barrier;
use super::id_token::Signer;
use super::incoming::Incoming;
use super::ledger::Ledger;
use super::log::{Endpoint, Log, Pkce};
use super::reply::Reply;
use super::switches::Switches;

/// When a held request stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the provider acts.
    Arrival,
    /// After that, before the reply.
    Answer,
}

pub(super) struct Hold {
    pub(super) endpoint: Endpoint,
    pub(super) stage: Stage,
    pub(super) barrier: Barrier,
}

pub(super) struct World {
    pub(super) issuer: String,
    pub(super) name: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) signer: Signer,
    pub(super) switches: Switches,
    pub(super) clients: Vec<Client>,
    pub(super) accounts: Vec<Account>,
    pub(super) ledger: Ledger,
    pub(super) tickets: HashMap<String, Ticket>,
    pub(super) faults: Faults,
    pub(super) holds: Vec<Hold>,
    pub(super) log: Log,
    /// Secrets that clients sent: verifiers, states, nonces.
    pub(super) received: Vec<String>,
}

/// What acting on a request is told beforehand, and what it finds out for the log.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Issue tokens of this account, whoever the request is about.
    pub(super) account: Option<String>,
    pub(super) pkce: Option<Pkce>,
}

impl World {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from(self.clock.now())
    }

    /// Does what the request asks.
    pub(super) fn act(&mut self, incoming: &Incoming, notes: &mut Notes) -> Reply {
        let post_only =
            matches!(incoming.endpoint, Endpoint::Introspect | Endpoint::Revoke | Endpoint::Token);
        if post_only && !incoming.is_post() {
            return Reply::empty(StatusCode::METHOD_NOT_ALLOWED).with(ALLOW, "POST");
        }
        match incoming.endpoint {
            Endpoint::Authorize => self.authorize(incoming),
            Endpoint::Calendar => self.calendar(incoming),
            Endpoint::Discovery => self.discovery(),
            Endpoint::Elsewhere => Reply::empty(StatusCode::NOT_FOUND),
            Endpoint::Introspect => self.introspect(incoming),
            Endpoint::Jwks => self.jwks(),
            Endpoint::Revoke => self.revoke(incoming),
            Endpoint::Token => self.token(incoming, notes),
            Endpoint::Userinfo => self.userinfo(incoming),
        }
    }

    /// Takes the oldest hold for that endpoint and stage.
    pub(super) fn take_hold(&mut self, endpoint: Endpoint, stage: Stage) -> Option<Barrier> {
        let index = self.holds.iter().position(|hold| hold.endpoint == endpoint && hold.stage == stage)?;
        Some(self.holds.remove(index).barrier)
    }
}
