//! Steps 10 and 11: there are no new tokens. What that says about the grant, if anything.

use zeroize::Zeroize as _;

use super::breaker::Outcome;
use super::decide::{AfterRefusal, Attempt, Spent, after_refusal, unmark};
use super::driver::{Driver, Step};
use super::flight::Landing;
use super::lease::Held;
use super::read::{needs_reauthorization, not_connected};
use super::schedule;
use super::state::{At, LastFailure, State};
use crate::clock::Timestamp;
use crate::connection::{DEFAULT_AUDIENCE, set_status};
use crate::connector::Registered;
use crate::core::Core;
use crate::error::{Error, ErrorKind, ReauthReason};
use crate::event::Event;
use crate::oauth::{Failure, FailureClass};
use crate::store::{Condition, ConnectionRecord, ConnectionStatus, Put, Version};

/// Failures in a row after which nothing is urgent any more.
const URGENT: u32 = 10;
/// Conflicting writes while judging a refusal.
const TRIES: usize = 8;

/// A send that brought no tokens.
pub(super) struct Sent {
    /// The record as marked for it.
    pub(super) at: At,
    pub(super) spent: Spent,
    pub(super) before: Before,
    /// Whether there is another send left when the outcome of this one stays unknown.
    pub(super) may_resend: bool,
}

/// What stood in the record before a send was marked there.
#[derive(Clone, Copy)]
pub(super) struct Before {
    pub(super) attempt: Option<Attempt>,
    due_at: Option<Timestamp>,
}

impl Before {
    pub(super) fn of(at: &At) -> Self {
        Self { attempt: at.view().attempt, due_at: at.loaded.record.due_at }
    }

    /// Nothing was spent.
    fn restore(self, at: &mut At, spent: &Spent) {
        at.state.attempt = unmark(&at.view(), spent, self.attempt);
        at.loaded.record.due_at = self.due_at;
    }
}

impl Driver {
    pub(super) async fn failed(
        &self,
        lease: &Held<'_>,
        registered: &Registered,
        sent: Sent,
        failure: Failure,
    ) -> Result<Step, Error> {
        let Sent { mut at, spent, before, may_resend } = sent;
        let settle = self.settle(registered);
        // Of one audience it is refused, which says nothing against the client or the grant.
        let of_audience =
            matches!(failure.class, FailureClass::ClientMisconfigured | FailureClass::InteractionRequired);
        if of_audience && self.goal.audience != DEFAULT_AUDIENCE {
            self.take_back(at, &spent, before).await;
            return Ok(Step::Done(Err(failure.error)));
        }
        self.heard(
            registered,
            match failure.class {
                FailureClass::InvalidGrant | FailureClass::InteractionRequired => Outcome::Healthy,
                FailureClass::ClientMisconfigured => Outcome::Misconfigured,
                FailureClass::Throttled(asked) => Outcome::Throttled(asked),
                FailureClass::NotSent | FailureClass::Indeterminate => Outcome::Unavailable,
            },
        );
        match failure.class {
            FailureClass::InvalidGrant => {
                self.refused(lease, &spent, ReauthReason::GrantRevoked, registered).await
            }
            FailureClass::InteractionRequired => {
                self.refused(lease, &spent, ReauthReason::InteractionRequired, registered).await
            }
            FailureClass::NotSent | FailureClass::Throttled(_) | FailureClass::ClientMisconfigured => {
                before.restore(&mut at, &spent);
                self.note(&mut at, registered, &failure).await;
                // Nothing was spent: where another process has given the client a new secret, that one is tried.
                if may_resend
                    && failure.class == FailureClass::ClientMisconfigured
                    && let Ok(Some(_)) = self.core.changed_since(registered).await
                {
                    return Ok(Step::Resend);
                }
                Ok(Step::Done(Err(failure.error)))
            }
            FailureClass::Indeterminate => {
                let asked = failure.error.retry_after().unwrap_or_default();
                if may_resend && settle.max(asked).is_zero() {
                    return Ok(Step::Resend);
                }
                self.note(&mut at, registered, &failure).await;
                let wait = Some(settle.max(asked)).filter(|wait| !wait.is_zero());
                let error = failure.error.with_retry_after(wait);
                // Who is asked to stay away for longer does not wait here for it.
                if !may_resend || asked > settle {
                    return Ok(Step::Done(Err(error)));
                }
                // Nobody is kept waiting for it.
                self.report_failure(&error);
                self.publish(Err(error));
                Ok(Step::Resend)
            }
        }
    }

    /// Step 10: a refusal counts only if the refused token is still the stored one, and there is no other to try.
    async fn refused(
        &self,
        lease: &Held<'_>,
        spent: &Spent,
        refused: ReauthReason,
        registered: &Registered,
    ) -> Result<Step, Error> {
        let settle = self.settle(registered);
        for _ in 0..TRIES {
            let at = self.load().await?;
            let stored = at.as_ref().map(At::view);
            match (after_refusal(spent, stored.as_ref(), refused, settle, lease.now()), at) {
                (AfterRefusal::Wait(until), _) => self.wait(until, lease.now(), settle).await?,
                (AfterRefusal::Promote, Some(at)) => {
                    if self.promote(at).await? {
                        return Ok(Step::Resend);
                    }
                }
                (AfterRefusal::Mark(reason), Some(at)) => {
                    if let Some(landing) = self.mark_lost(at, reason).await? {
                        return Ok(Step::Done(landing));
                    }
                }
                (AfterRefusal::Moved, at) => return Ok(Step::Done(self.what_is_there(at))),
                _ => return Ok(Step::Done(Err(not_connected(&self.goal.key)))),
            }
        }
        Err(Error::new(ErrorKind::Contended, format!("{} kept changing", self.goal.key)))
    }

    /// Puts the newest alternate in the refused token's place. Whether it was written.
    async fn promote(&self, mut at: At) -> Result<bool, Error> {
        at.loaded.tokens.refresh_token.zeroize();
        at.loaded.tokens.refresh_token = at.loaded.tokens.alternates.pop();
        at.state.attempt = None;
        at.state.promotions += 1;
        let At { loaded, .. } = &mut at;
        self.core.reseal_tokens(&mut loaded.record, &loaded.tokens).await?;
        let written = self.write(&mut at).await?;
        if written {
            self.core.report(&Event::AlternateTried { key: self.goal.key.clone() });
        }
        Ok(written)
    }

    /// Marks the connection; `None` when somebody else wrote first.
    pub(super) async fn mark_lost(&self, mut at: At, reason: ReauthReason) -> Result<Option<Landing>, Error> {
        let lost = at.state.attempt.filter(|_| reason == ReauthReason::LostRotation);
        set_status(&mut at.loaded.record, ConnectionStatus::NeedsReauthorization(reason))?;
        at.loaded.record.due_at = None;
        at.loaded.record.updated_at = self.core.now();
        if !self.write(&mut at).await? {
            return Ok(None);
        }
        let key = &self.goal.key;
        if let Some(attempt) = lost {
            self.core.report(&Event::RotationLost { key: key.clone(), sends: attempt.sends });
        }
        self.core.audit(Event::NeedsReauthorization { key: key.clone(), reason }).await?;
        Ok(Some(Err(needs_reauthorization(key, reason))))
    }

    /// Keeps what went wrong, and maintenance from asking again at once. Nothing depends on this write.
    async fn note(&self, at: &mut At, registered: &Registered, failure: &Failure) {
        let settle = self.settle(registered);
        let (now, asked) = (self.core.now(), failure.error.retry_after());
        at.state.failures = at.state.failures.saturating_add(1);
        at.state.last_failure = Some(LastFailure { at: now, message: failure.error.to_string() });
        at.state.not_before = asked.map(|after| now.saturating_add(after));
        let within_leeway = at.retry_within_leeway(&registered.provider.spec().refresh_policy, settle);
        if let Some(again) = within_leeway.map(|again| again.max(at.state.not_before.unwrap_or(again))) {
            at.loaded.record.due_at = Some(again);
        } else if let Some(due_at) = at.loaded.record.due_at
            && let Ok(retry_at) = schedule::retry_at(&self.core, at.state.failures, asked, now)
        {
            at.loaded.record.due_at = Some(due_at.max(retry_at));
        }
        if let Err(error) = self.write(at).await {
            tracing::debug!(%error, "how a refresh failed is not stored");
        }
    }

    /// Step 7's gate is shut: nothing was sent. A marker that stays by a fault only costs the next one a wait.
    pub(super) async fn take_back(&self, mut at: At, spent: &Spent, before: Before) {
        before.restore(&mut at, spent);
        if let Err(error) = self.write(&mut at).await {
            tracing::debug!(%error, "a marker was not taken back");
        }
    }

    /// Writes the record with its state, if nobody else has written it since it was read. Whether it was written.
    pub(super) async fn write(&self, at: &mut At) -> Result<bool, Error> {
        let before = at.loaded.record.version;
        at.loaded.record.version = Version::random(&*self.core.entropy)?;
        at.state.store_in(&mut at.loaded.record)?;
        let put = self.core.put(&at.loaded.record, Condition::Version(before), None).await?;
        Ok(put == Put::Written)
    }
}

/// Puts a connection off that cannot even be sent: each time for longer, or for as long as the error says. Where a send of
/// unknown outcome stands, its grant may be saved by asking again: then it stays due as it was, the first few times.
pub(super) async fn put_off(core: &Core, mut record: ConnectionRecord, error: &Error) {
    let before = record.version;
    // A state that is not ours stays as it is.
    let (failures, urgent) =
        State::parse(&record.key, &record.refresh).ok().map_or((1, false), |mut state| {
            state.failures = state.failures.saturating_add(1);
            let urgent = state.attempt.is_some() && state.failures <= URGENT;
            state.store_in(&mut record).map_or((1, false), |()| (state.failures, urgent))
        });
    let retry_at = schedule::retry_at(core, failures, error.retry_after(), core.now());
    let (Ok(retry_at), Ok(version)) = (retry_at, Version::random(&*core.entropy)) else { return };
    if !urgent {
        record.due_at = record.due_at.map(|due_at| due_at.max(retry_at));
    }
    record.version = version;
    if let Err(error) = core.stores.connections.put(&record, Condition::Version(before), None, None).await {
        tracing::debug!(%error, "back-off not stored");
    }
}
