//! The provider: which refresh tokens work, and what a spent one gives.

use std::fmt;

/// An index into [`Provider::tokens`].
pub(crate) type Token = u8;

/// What a provider does with a refresh token that was spent before: `refresh_policy.reuse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the six of the protocol")]
pub enum Mode {
    /// It was not spent: refresh tokens do not rotate.
    Static,
    /// Refuses it.
    Strict,
    /// Refuses it, and ends the grant.
    Family,
    /// Within the leeway issues another token, and both work; later refuses it.
    LeewaySiblings,
    /// Within the leeway issues another token, and the one before stops working; once that was used, refuses.
    LeewayLatest,
    /// Within the leeway repeats its reply; later refuses.
    Idempotent,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Static,
        Self::Strict,
        Self::Family,
        Self::LeewaySiblings,
        Self::LeewayLatest,
        Self::Idempotent,
    ];

    pub(crate) const fn has_leeway(self) -> bool {
        matches!(self, Self::LeewaySiblings | Self::LeewayLatest | Self::Idempotent)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Static => "static",
            Self::Strict => "strict",
            Self::Family => "family",
            Self::LeewaySiblings => "leeway-siblings",
            Self::LeewayLatest => "leeway-latest",
            Self::Idempotent => "idempotent",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Live,
    /// Used, and within the leeway.
    Spent,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Issued {
    /// The incarnation that it was issued to.
    pub(crate) grant: u8,
    /// What was spent for it, while that matters.
    pub(crate) parent: Option<Token>,
    pub(crate) life: Life,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Provider {
    pub(crate) tokens: Vec<Issued>,
}

/// A reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Issued(Token),
    Refused,
    /// Refused, and the grant is over.
    Reused,
}

impl Provider {
    pub(crate) fn is_live(&self, token: Token) -> bool {
        self.of(token).life == Life::Live
    }

    pub(crate) fn of(&self, token: Token) -> Issued {
        self.tokens[usize::from(token)]
    }

    pub(crate) fn issue(&mut self, grant: u8, parent: Option<Token>) -> Token {
        self.tokens.push(Issued { grant, parent, life: Life::Live });
        u8::try_from(self.tokens.len() - 1).unwrap_or(u8::MAX)
    }

    pub(crate) fn end_grant(&mut self, grant: u8) {
        for token in self.tokens.iter_mut().filter(|token| token.grant == grant) {
            token.life = Life::Dead;
        }
    }

    pub(crate) fn end_leeway(&mut self) {
        for token in self.tokens.iter_mut().filter(|token| token.life == Life::Spent) {
            token.life = Life::Dead;
        }
    }

    /// A refresh request arrives.
    pub(crate) fn refresh(&mut self, mode: Mode, token: Token) -> Reply {
        let Issued { grant, parent, life } = self.of(token);
        match (mode, life) {
            (Mode::Static, Life::Live) => Reply::Issued(token),
            (_, Life::Live) => {
                self.spend(mode, token);
                if let Some(parent) = parent.filter(|_| mode == Mode::LeewayLatest) {
                    self.tokens[usize::from(parent)].life = Life::Dead;
                }
                Reply::Issued(self.issue(grant, Some(token)))
            }
            (Mode::LeewaySiblings, Life::Spent) => Reply::Issued(self.issue(grant, Some(token))),
            (Mode::LeewayLatest, Life::Spent) => {
                for other in self.tokens.iter_mut().filter(|other| other.parent == Some(token)) {
                    other.life = Life::Dead;
                }
                Reply::Issued(self.issue(grant, Some(token)))
            }
            (Mode::Idempotent, Life::Spent) => match self.child(token) {
                Some(child) => Reply::Issued(child),
                None => Reply::Refused,
            },
            (Mode::Family, _) => {
                self.end_grant(grant);
                Reply::Reused
            }
            _ => Reply::Refused,
        }
    }

    fn spend(&mut self, mode: Mode, token: Token) {
        self.tokens[usize::from(token)].life = if mode.has_leeway() { Life::Spent } else { Life::Dead };
    }

    fn child(&self, token: Token) -> Option<Token> {
        let at = self.tokens.iter().position(|other| other.parent == Some(token))?;
        u8::try_from(at).ok()
    }
}
