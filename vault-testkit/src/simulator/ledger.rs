//! Who was granted what: authorizations, the tokens that came out of them, and which of these are still good.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use vault_core::clock::Timestamp;

use super::random;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenKind {
    /// An access token.
    Access,
    /// An authorization code.
    Code,
    /// A refresh token.
    Refresh,
}

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenState {
    /// Ended by revocation, by reuse of a relative, or by a newer sibling. It never works again.
    Dead,
    /// Never spent. An expired token keeps this state; [`TokenInfo::expires_at`] tells.
    Live,
    /// Used once, and single-use. Some rotation modes still accept it for a while.
    Spent,
}

/// What the provider knows of a token, which does not include the token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    /// What it is.
    pub kind: TokenKind,
    /// Whose it is: the `sub` of the account.
    pub account: String,
    /// The client that it was issued to.
    pub client: String,
    /// The authorization that it came out of. Two consents of one account to one client are two authorizations.
    pub authorization: usize,
    /// 0 for the tokens of the code exchange, one more with every refresh. Siblings have the same.
    pub generation: u32,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// The `resource` parameters (RFC 8707) of the request that it answered.
    pub resources: Vec<String>,
    /// When it ends, on the simulator's clock.
    pub expires_at: Option<Timestamp>,
    /// How it stands.
    pub state: TokenState,
}

/// What an authorization code is bound to.
#[derive(Clone)]
pub(super) struct CodeBinding {
    pub(super) redirect_uri: String,
    pub(super) challenge: Option<String>,
    pub(super) nonce: Option<String>,
}

pub(super) struct Token {
    pub(super) info: TokenInfo,
    pub(super) spent_at: Timestamp,
    /// The reply that its spending got.
    pub(super) reply: Option<Map<String, Value>>,
    /// Refresh tokens that were issued for it.
    pub(super) children: Vec<String>,
    pub(super) binding: Option<CodeBinding>,
}

/// What a token is to carry.
pub(super) struct Draft {
    pub(super) kind: TokenKind,
    pub(super) authorization: usize,
    pub(super) generation: u32,
    pub(super) scopes: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) expires_at: Option<Timestamp>,
}

pub(super) struct Authorization {
    pub(super) account: String,
    pub(super) client: String,
    pub(super) scopes: Vec<String>,
    pub(super) refreshes: u32,
    tokens: Vec<String>,
}

#[derive(Default)]
pub(super) struct Ledger {
    authorizations: Vec<Authorization>,
    tokens: HashMap<String, Token>,
    issued: Vec<String>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

impl Ledger {
    pub(super) fn authorize(&mut self, client: &str, account: &str, scopes: Vec<String>) -> usize {
        self.authorizations.push(Authorization {
            account: account.to_owned(),
            client: client.to_owned(),
            scopes,
            refreshes: 0,
            tokens: Vec::new(),
        });
        self.authorizations.len() - 1
    }

    pub(super) fn authorization(&mut self, index: usize) -> &mut Authorization {
        &mut self.authorizations[index]
    }

    pub(super) fn authorizations(&self) -> &[Authorization] {
        &self.authorizations
    }

    pub(super) fn issue(&mut self, draft: Draft) -> String {
        let prefix = match draft.kind {
            TokenKind::Access => "simat_",
            TokenKind::Code => "simco_",
            TokenKind::Refresh => "simrt_",
        };
        let token = format!("{prefix}{}", random::text());
        let authorization = &mut self.authorizations[draft.authorization];
        authorization.tokens.push(token.clone());
        let info = TokenInfo {
            kind: draft.kind,
            account: authorization.account.clone(),
            client: authorization.client.clone(),
            authorization: draft.authorization,
            generation: draft.generation,
            scopes: draft.scopes,
            resources: draft.resources,
            expires_at: draft.expires_at,
            state: TokenState::Live,
        };
        self.record(&token);
        self.tokens.insert(
            token.clone(),
            Token {
                info,
                spent_at: Timestamp::from_millis(0),
                reply: None,
                children: Vec::new(),
                binding: None,
            },
        );
        token
    }

    pub(super) fn bind(&mut self, code: &str, binding: CodeBinding) {
        if let Some(token) = self.tokens.get_mut(code) {
            token.binding = Some(binding);
        }
    }

    /// Notes a secret that left the house without being a token of this ledger.
    pub(super) fn record(&mut self, secret: &str) {
        self.issued.push(secret.to_owned());
    }

    pub(super) fn issued(&self) -> &[String] {
        &self.issued
    }

    pub(super) fn get(&self, token: &str) -> Option<&Token> {
        self.tokens.get(token)
    }

    pub(super) fn get_mut(&mut self, token: &str) -> Option<&mut Token> {
        self.tokens.get_mut(token)
    }

    pub(super) fn describe(&self, token: &str) -> Option<TokenInfo> {
        self.tokens.get(token).map(|token| token.info.clone())
    }

    /// The token, if it is of that kind, live and not expired.
    pub(super) fn live(&self, token: &str, kind: TokenKind, now: Timestamp) -> Option<&TokenInfo> {
        let info = &self.tokens.get(token)?.info;
        (info.kind == kind && info.state == TokenState::Live && !info.is_expired(now)).then_some(info)
    }

    pub(super) fn spend(&mut self, token: &str, now: Timestamp) {
        if let Some(token) = self.tokens.get_mut(token) {
            token.info.state = TokenState::Spent;
            token.spent_at = now;
        }
    }

    pub(super) fn kill(&mut self, token: &str) {
        if let Some(token) = self.tokens.get_mut(token) {
            token.info.state = TokenState::Dead;
        }
    }

    /// Ends everything that came out of one authorization.
    pub(super) fn kill_authorization(&mut self, index: usize) {
        self.kill_tokens(index, |_| true);
    }

    pub(super) fn kill_access(&mut self, index: usize) {
        self.kill_tokens(index, |kind| kind == TokenKind::Access);
    }

    fn kill_tokens(&mut self, index: usize, condemned: impl Fn(TokenKind) -> bool) {
        for token in &self.authorizations[index].tokens {
            if let Some(token) = self.tokens.get_mut(token)
                && condemned(token.info.kind)
            {
                token.info.state = TokenState::Dead;
            }
        }
    }

    /// Ends every authorization of the account, or of that client and the account.
    pub(super) fn kill_grant(&mut self, client: Option<&str>, account: &str) {
        for index in 0..self.authorizations.len() {
            let authorization = &self.authorizations[index];
            if authorization.account == account && client.is_none_or(|client| authorization.client == client)
            {
                self.kill_authorization(index);
            }
        }
    }

    /// Every token of the account, oldest first.
    pub(super) fn of_account(&self, account: &str) -> Vec<TokenInfo> {
        self.authorizations
            .iter()
            .filter(|authorization| authorization.account == account)
            .flat_map(|authorization| &authorization.tokens)
            .filter_map(|token| self.describe(token))
            .collect()
    }
}

impl TokenInfo {
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}

impl Token {
    /// Whether it was spent at most `secs` ago.
    pub(super) fn spent_within(&self, secs: u64, now: Timestamp) -> bool {
        now.saturating_since(self.spent_at) <= Duration::from_secs(secs)
    }
}
