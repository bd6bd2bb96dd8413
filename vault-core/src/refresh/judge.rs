//! What to do, given the record and the outcome: no I/O here, so that a model can run the same decisions.

use crate::error::ReauthReason;
use crate::id::Incarnation;
use crate::store::ConnectionStatus;

/// As much of a record as decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: u64,
    pub(crate) status: ConnectionStatus,
}

/// Step 4: whether there is still something to refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeforeSend {
    /// Somebody refreshed or reconnected meanwhile: answer with what is there.
    AlreadyMoved,
    Gone,
    Marked(ReauthReason),
    Send,
}

pub(crate) fn before_send(observed: (Incarnation, u64), current: Option<Position>) -> BeforeSend {
    match current {
        None => BeforeSend::Gone,
        Some(Position { status: ConnectionStatus::NeedsReauthorization(reason), .. }) => {
            BeforeSend::Marked(reason)
        }
        Some(Position { incarnation, generation, .. }) if (incarnation, generation) == observed => {
            BeforeSend::Send
        }
        Some(_) => BeforeSend::AlreadyMoved,
    }
}

/// Step 9: what to do with tokens that the provider issued for `spent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterSuccess {
    /// The connection they belong to is gone. They are never stored.
    Orphan,
    /// Newer tokens are stored.
    Superseded,
    Write,
}

pub(crate) fn after_success(spent: (Incarnation, u64), current: Option<Position>) -> AfterSuccess {
    match current {
        Some(at) if at.incarnation != spent.0 => AfterSuccess::Orphan,
        Some(at) if at.generation == spent.1 => AfterSuccess::Write,
        Some(_) => AfterSuccess::Superseded,
        None => AfterSuccess::Orphan,
    }
}

/// Step 10: whether a refusal of `spent` says anything about the connection as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterRefusal {
    Gone,
    Mark,
    /// The refused token is no longer the stored one: not ours to judge.
    Moved,
}

pub(crate) fn after_refusal(spent: (Incarnation, u64), current: Option<Position>) -> AfterRefusal {
    match current {
        None => AfterRefusal::Gone,
        Some(at) if (at.incarnation, at.generation) == spent => AfterRefusal::Mark,
        Some(_) => AfterRefusal::Moved,
    }
}
