//! What a presented refresh token gets, in each [`Rotation`].

use vault_core::clock::Timestamp;

use super::ledger::{Ledger, Token, TokenState};
use super::switches::Rotation;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// New access token, same refresh token.
    Keep,
    /// The reply that it got the first time.
    Repeat,
    /// A new refresh token; the presented one is spent.
    Rotate,
    /// A new refresh token for one that was spent already.
    Sibling {
        /// The siblings that it has die.
        alone: bool,
    },
    /// `invalid_grant`.
    Refuse,
    /// `invalid_grant`, and the whole family dies.
    Kill,
}

impl Ledger {
    /// What `token` would get if it were presented now. Changes nothing.
    pub(super) fn verdict(&self, token: &Token, rotation: Rotation, now: Timestamp) -> Verdict {
        if token.info.is_expired(now) {
            return Verdict::Refuse;
        }
        match token.info.state {
            TokenState::Dead => Verdict::Refuse,
            TokenState::Live if rotation == Rotation::Static => Verdict::Keep,
            TokenState::Live => Verdict::Rotate,
            TokenState::Spent => self.verdict_on_reuse(token, rotation, now),
        }
    }

    fn verdict_on_reuse(&self, token: &Token, rotation: Rotation, now: Timestamp) -> Verdict {
        match rotation {
            Rotation::Static | Rotation::Strict => Verdict::Refuse,
            Rotation::Family => Verdict::Kill,
            Rotation::Idempotent { secs } if token.spent_within(secs, now) => Verdict::Repeat,
            Rotation::LeewaySiblings { secs } if token.spent_within(secs, now) => {
                Verdict::Sibling { alone: false }
            }
            Rotation::LeewayLatest { secs } if token.spent_within(secs, now) && !self.outlived(token) => {
                Verdict::Sibling { alone: true }
            }
            Rotation::Idempotent { .. } | Rotation::LeewaySiblings { .. } | Rotation::LeewayLatest { .. } => {
                Verdict::Refuse
            }
        }
    }

    /// Whether a token that replaced this one has itself been spent.
    fn outlived(&self, token: &Token) -> bool {
        token
            .children
            .iter()
            .filter_map(|child| self.get(child))
            .any(|child| child.info.state == TokenState::Spent)
    }
}

impl Verdict {
    pub(super) fn is_acceptance(self) -> bool {
        !matches!(self, Self::Refuse | Self::Kill)
    }
}
