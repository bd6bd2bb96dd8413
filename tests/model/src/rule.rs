//! The properties, by the names that `REFRESH.md` gives them.

use crate::model::RefreshModel;
use crate::provider::{Life, Mode};
use crate::state::State;
use vault_core::ReauthReason;
use vault_core::store::ConnectionStatus;

/// A property. `Lost` and `Kept` say what `R5` and the page's "unavoidably lost" mean together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "the table shows all of them")]
pub enum Rule {
    /// At most one request is under way for one incarnation and generation, and it left under a live lease.
    R1,
    /// Generations never fall inside an incarnation.
    R2,
    /// A live refresh token is never replaced by a dead one, unless kept as an alternate.
    R3,
    /// Nothing of one incarnation is written once another exists, or after the disconnect.
    R4,
    /// `NeedsReauthorization` at rest: no stored refresh token works; and none that worked was thrown away.
    R5,
    /// Tokens are handed out as what they were issued to.
    R6,
    /// Nobody gets tokens that are neither stored nor spilled.
    R7,
    /// What was disconnected is not there to be read.
    R9,
    /// A due refresh leads to a new generation, or to `NeedsReauthorization`.
    L1,
    /// Leases become free.
    L2,
    /// Owed revocations reach the provider.
    L3,
    /// No run goes on for ever, so that no waiter gets no answer.
    L4,
    /// A grant that lives on at the provider and nowhere else is marked `LostRotation`.
    Lost,
    /// A grant ends by the user, or after tokens were lost on their way: never by us alone.
    Kept,
}

impl Rule {
    /// In the table's order.
    pub const ALL: [Self; 14] = [
        Self::R1,
        Self::R2,
        Self::R3,
        Self::R4,
        Self::R5,
        Self::R6,
        Self::R7,
        Self::R9,
        Self::L1,
        Self::L2,
        Self::L3,
        Self::L4,
        Self::Lost,
        Self::Kept,
    ];

    /// As the table names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::R1 => "R1",
            Self::R2 => "R2",
            Self::R3 => "R3",
            Self::R4 => "R4",
            Self::R5 => "R5",
            Self::R6 => "R6",
            Self::R7 => "R7",
            Self::R9 => "R9",
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::L4 => "L4",
            Self::Lost => "lost",
            Self::Kept => "kept",
        }
    }

    pub(crate) const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// Whether it holds in this state: by what led here, and by what is here.
    pub(crate) fn holds(self, model: &RefreshModel, state: &State) -> bool {
        state.past.violated & self.bit() == 0
            && match self {
                Self::R5 => !state.is_marked_at_rest() || !state.has_live_token_stored(),
                Self::R6 => state.is_handed_out_as_issued(),
                Self::R9 => state.is_disconnected_gone(),
                Self::L1 | Self::L2 | Self::L3 | Self::L4 => !model.unfair(state, self),
                Self::Lost => !state.is_marked_at_rest() || state.tells_a_loss(),
                Self::Kept => !state.is_marked_at_rest() || state.may_be_lost(model),
                Self::R1 | Self::R2 | Self::R3 | Self::R4 | Self::R7 => true,
            }
    }
}

impl State {
    fn is_marked_at_rest(&self) -> bool {
        self.is_at_rest() && self.store.record.as_ref().is_some_and(|record| !record.is_active())
    }

    fn has_live_token_stored(&self) -> bool {
        let mut tokens = self.store.record.iter().flat_map(|record| record.tokens());
        tokens.any(|token| self.provider.is_live(token))
    }

    /// Readers get the stored tokens at any time.
    fn is_handed_out_as_issued(&self) -> bool {
        let record = self.store.record.as_ref();
        record.is_none_or(|record| self.provider.of(record.current).grant == record.incarnation)
    }

    fn is_disconnected_gone(&self) -> bool {
        let record = self.store.record.as_ref();
        record.is_none_or(|record| record.incarnation > self.store.disconnected)
    }

    fn tells_a_loss(&self) -> bool {
        let Some(record) = &self.store.record else { return true };
        let mut tokens = self.provider.tokens.iter();
        let lost = tokens.any(|token| token.grant == record.incarnation && token.life == Life::Live);
        !lost || record.status == ConnectionStatus::NeedsReauthorization(ReauthReason::LostRotation)
    }

    fn may_be_lost(&self, model: &RefreshModel) -> bool {
        let fatal = self.past.lapsed && model.mode == Mode::Family;
        self.past.revoked || self.past.unheard || fatal
    }
}
