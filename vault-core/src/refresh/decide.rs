//! What to do, given a record and an outcome: every decision of the refresh, and no I/O. `tests/model` runs these very
//! functions through all interleavings of several processes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::ReauthReason;
use crate::id::{AttemptId, Incarnation};
use crate::store::ConnectionStatus;

/// How many older refresh tokens are kept, because one of them may be the live one.
pub const MAX_ALTERNATES: usize = 3;

/// The write-ahead marker: a refresh token was sent, or may have been, and nobody has written how that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "of the model")]
pub struct Attempt {
    /// Which one.
    pub id: AttemptId,
    /// The lease it was made under.
    pub fence: u64,
    /// The generation whose refresh token it spends.
    pub generation: u64,
    /// By the store's clock.
    pub started_at: Timestamp,
    /// How many sends of this refresh token have an outcome that nobody wrote, this one included.
    pub sends: u32,
}

/// As much of a record as decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "of the model")]
pub struct Stored {
    /// Which successful connect.
    pub incarnation: Incarnation,
    /// Which token set.
    pub generation: u64,
    /// The generation that was spent for this one; `None` for what a connect brought.
    pub parent: Option<u64>,
    /// The lease under which the current refresh token was obtained.
    pub token_fence: u64,
    /// The attempt that brought it.
    pub obtained_by: Option<AttemptId>,
    /// The greatest fence that marked an attempt.
    pub max_fence: u64,
    /// Whether it works.
    pub status: ConnectionStatus,
    /// What may be under way.
    pub attempt: Option<Attempt>,
    /// How many other refresh tokens are kept.
    pub alternates: usize,
    /// How often another refresh token has taken the current one's place, in this generation.
    pub promotions: u32,
    /// Whether the current refresh token may have been dead when it was stored: see [`in_doubt`].
    pub doubt: bool,
}

/// What one send spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "of the model")]
pub struct Spent {
    /// Which successful connect.
    pub incarnation: Incarnation,
    /// Whose refresh token.
    pub generation: u64,
    /// The attempt that sent it.
    pub attempt: AttemptId,
    /// Its lease.
    pub fence: u64,
    /// Which of the generation's refresh tokens: how often another had taken the current one's place.
    pub promotions: u32,
}

/// Steps 4 and 5: whether there is still something to refresh, and whether it may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "every case is handled")]
pub enum BeforeSend {
    /// There is no such connection any more.
    Gone,
    /// Somebody refreshed or reconnected meanwhile: answer with what is there.
    Moved,
    /// Only the user can help.
    Marked(ReauthReason),
    /// Somebody sent this refresh token, and how that ended is unknown: until then it may still be on its way.
    Settle(Timestamp),
    /// Go on.
    Send,
}

/// Steps 4 and 5. `seen` is the incarnation and generation that the caller found wanting, `now` the store's clock.
#[must_use]
pub fn before_send(
    seen: (Incarnation, u64),
    stored: Option<&Stored>,
    settle: Duration,
    now: Timestamp,
) -> BeforeSend {
    let Some(stored) = stored else {
        return BeforeSend::Gone;
    };
    if let ConnectionStatus::NeedsReauthorization(reason) = stored.status {
        return BeforeSend::Marked(reason);
    }
    if (stored.incarnation, stored.generation) != seen {
        return BeforeSend::Moved;
    }
    match stored.attempt.map(|attempt| attempt.started_at.saturating_add(settle)) {
        Some(settled) if settled > now => BeforeSend::Settle(settled),
        _ => BeforeSend::Send,
    }
}

/// Step 6: the marker to write before sending. `None` when a later lease has marked one: ours was lost.
#[must_use]
pub fn mark(stored: &Stored, id: AttemptId, fence: u64, now: Timestamp) -> Option<Attempt> {
    let sends = stored.attempt.map_or(0, |attempt| attempt.sends) + 1;
    let attempt = Attempt { id, fence, generation: stored.generation, started_at: now, sends };
    (stored.max_fence <= fence).then_some(attempt)
}

/// Step 7, the send gate: whether a request that begins now ends while the lease is certainly ours, and before
/// anybody takes its marker for settled, which it may leave only until `marker_deadline` to be sure of. All by the
/// process's monotonic clock.
#[must_use]
pub fn may_send(
    now: Duration,
    request: Duration,
    lease_deadline: Duration,
    marker_deadline: Duration,
) -> bool {
    now < marker_deadline && now.saturating_add(request) < lease_deadline
}

/// Step 9: what to do with tokens that the provider issued for what was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "every case is handled")]
pub enum AfterSuccess {
    /// The connection they belong to is gone. They are never stored.
    Orphan,
    /// They are stored already: an earlier try to write them succeeded after all.
    Applied,
    /// The spent token is still the stored one: write the next generation.
    Next,
    /// Others were issued for the same token, under an earlier lease or refused since: ours become current, theirs an
    /// alternate, in the same generation, so that what comes of theirs still counts.
    Replace,
    /// Others were issued for the same token, under a later lease: ours become an alternate.
    Alternate,
    /// Newer tokens are stored.
    Discard,
}

/// Step 9, the lineage rule: new tokens count if the refresh token that was spent for them is the stored one, or
/// brought the stored one. The fence only breaks ties.
#[must_use]
pub fn after_success(spent: &Spent, stored: Option<&Stored>) -> AfterSuccess {
    let Some(stored) = stored.filter(|stored| stored.incarnation == spent.incarnation) else {
        return AfterSuccess::Orphan;
    };
    if stored.obtained_by == Some(spent.attempt) {
        AfterSuccess::Applied
    } else if stored.generation == spent.generation {
        AfterSuccess::Next
    } else if stored.parent != Some(spent.generation) {
        AfterSuccess::Discard
    } else if stored.token_fence < spent.fence || stored.status != ConnectionStatus::Active {
        AfterSuccess::Replace
    } else {
        AfterSuccess::Alternate
    }
}

/// Step 9: whether a next generation may be dead although it was issued: the token before it was sent more than once, so
/// that tokens of the other send, if they got lost, may have taken its place at the provider. Until it has brought a
/// generation of its own.
#[must_use]
pub fn in_doubt(spent: &Spent, stored: &Stored) -> bool {
    stored.attempt.is_some_and(|attempt| attempt.id != spent.attempt || attempt.sends > 1)
}

/// Step 10: what a refusal of what was spent says about the connection as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "every case is handled")]
pub enum AfterRefusal {
    /// There is no such connection any more.
    Gone,
    /// The refused token is no longer the stored one: not ours to judge.
    Moved,
    /// Somebody else has sent it too, and may bring new tokens until then.
    Wait(Timestamp),
    /// Another refresh token may be the live one.
    Promote,
    /// The grant is lost to us.
    Mark(ReauthReason),
}

/// Step 10. `refused` is what the provider's refusal means by itself; `stored` was read after it, from the primary.
#[must_use]
pub fn after_refusal(
    spent: &Spent,
    stored: Option<&Stored>,
    refused: ReauthReason,
    settle: Duration,
    now: Timestamp,
) -> AfterRefusal {
    let Some(stored) = stored else {
        return AfterRefusal::Gone;
    };
    let current = (stored.incarnation, stored.generation, stored.promotions);
    if current != (spent.incarnation, spent.generation, spent.promotions) {
        return AfterRefusal::Moved;
    }
    let theirs = stored.attempt.filter(|attempt| attempt.id != spent.attempt);
    if let Some(settled) = theirs.map(|attempt| attempt.started_at.saturating_add(settle))
        && settled > now
    {
        return AfterRefusal::Wait(settled);
    }
    if stored.alternates > 0 {
        return AfterRefusal::Promote;
    }
    let unknown = match (stored.attempt, theirs) {
        (Some(ours), None) => ours.sends.saturating_sub(1),
        (Some(_), Some(theirs)) => theirs.sends,
        (None, _) => 0,
    };
    AfterRefusal::Mark(if unknown > 0 || stored.promotions > 0 || stored.doubt {
        ReauthReason::LostRotation
    } else {
        refused
    })
}

/// Step 11: what remains of the marker when a send is known not to have spent the token: what stood there before it.
#[must_use]
pub fn unmark(stored: &Stored, spent: &Spent, before: Option<Attempt>) -> Option<Attempt> {
    match stored.attempt {
        Some(attempt) if attempt.id == spent.attempt => before,
        other => other,
    }
}
