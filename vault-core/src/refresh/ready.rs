//! Steps 4 and 5: whether there is still something to refresh, and when it may be sent.

use std::sync::Arc;
use std::time::Duration;

use super::decide::{BeforeSend, before_send};
use super::driver::Driver;
use super::flight::Landing;
use super::import;
use super::lease::Held;
use super::read::{lives_beyond, needs_reauthorization, not_connected};
use super::state::At;
use crate::clock::Timestamp;
use crate::connection::DEFAULT_AUDIENCE;
use crate::connector::Registered;
use crate::error::{Error, ErrorKind, ReauthReason};
use crate::event::Event;
use crate::store::{ConnectionRecord, ConnectionStatus};

impl Driver {
    /// Steps 4 and 5: the record from the primary, once nothing that was sent before can still be on its way. `found` is
    /// what came with the lease.
    pub(super) async fn ready(
        &self,
        lease: &Held<'_>,
        mut found: Option<ConnectionRecord>,
    ) -> Result<Result<(At, Option<Arc<Registered>>), Landing>, Error> {
        let (mut registered, mut taken_over) = (None, false);
        loop {
            let at = match found.take() {
                Some(record) => Some(At::new(self.core.open_record(&self.goal.key, record).await?)?),
                None => self.load().await?,
            };
            let stored = at.as_ref().map(At::view);
            let mut settle = Duration::ZERO;
            if let Some(attempt) = stored.and_then(|stored| stored.attempt) {
                if attempt.fence != lease.fence && !taken_over {
                    taken_over = true;
                    self.core.report(&Event::RefreshTakenOver { key: self.goal.key.clone() });
                    // What it got may lie there; at some providers the spent token must not go out again.
                    import::import_of(&self.core, &self.goal.key).await;
                    continue;
                }
                let fetched = self.registered().await?;
                settle = self.settle(&fetched);
                registered = Some(fetched);
            }
            match (before_send(self.seen(at.as_ref()), stored.as_ref(), settle, lease.now()), at) {
                (BeforeSend::Settle(until), Some(at)) => {
                    let asked = at.state.not_before.is_some_and(|told| told > until);
                    if asked && let Some(landing) = self.too_soon(&at) {
                        return Ok(Err(landing));
                    }
                    self.delay();
                    self.wait(until, lease.now(), settle).await?;
                }
                (BeforeSend::Send, Some(at)) => return Ok(Ok((at, registered))),
                (verdict, at) => {
                    let landing = self.answer(verdict, at);
                    return Ok(Err(landing.unwrap_or_else(|| Err(not_connected(&self.goal.key)))));
                }
            }
        }
    }

    /// Waits for an outcome that may still come, at most `settle`. Nothing is lost when it ends early: the marker stays.
    pub(super) async fn wait(&self, until: Timestamp, now: Timestamp, settle: Duration) -> Result<(), Error> {
        self.pause(until.saturating_since(now).min(settle).max(Duration::from_millis(1))).await
    }

    /// A wait that ends when the vault shuts down.
    pub(super) async fn pause(&self, span: Duration) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.core.clock.sleep(span) => Ok(()),
            () = self.core.closing.cancelled() => {
                Err(Error::new(ErrorKind::ShuttingDown, "the vault is shutting down"))
            }
        }
    }

    /// The answer that the record itself gives, if it does.
    pub(super) fn answer(&self, verdict: BeforeSend, at: Option<At>) -> Option<Landing> {
        match verdict {
            BeforeSend::Send | BeforeSend::Settle(_) => None,
            BeforeSend::Gone => Some(Err(not_connected(&self.goal.key))),
            BeforeSend::Marked(reason) => Some(Err(needs_reauthorization(&self.goal.key, reason))),
            BeforeSend::Moved => Some(self.what_is_there(at)),
        }
    }

    pub(super) fn what_is_there(&self, at: Option<At>) -> Landing {
        let Some(at) = at else {
            return Err(not_connected(&self.goal.key));
        };
        match at.loaded.record.status {
            ConnectionStatus::NeedsReauthorization(reason) => {
                Err(needs_reauthorization(&self.goal.key, reason))
            }
            ConnectionStatus::Active => at.landing(),
        }
    }

    /// Refreshed a moment ago, or told by the provider to wait.
    pub(super) fn too_soon(&self, at: &At) -> Option<Landing> {
        let now = self.core.now();
        let told = at.state.not_before;
        let access = at.tokens().access(&self.goal.audience);
        // What a connect brought may be refreshed at once.
        let young = access.filter(|_| at.state.parent.is_some()).map(|access| access.refresh_after);
        let until = told.max(young).filter(|until| *until > now)?;
        let asked = told.is_some_and(|told| told > now);
        if !asked && self.goal.rejected.is_none() && lives_beyond(at.tokens(), &self.goal.audience, now) {
            return Some(at.landing());
        }
        let why = if asked { "the provider asked to wait" } else { "it was refreshed a moment ago" };
        let error = Error::new(ErrorKind::ProviderUnavailable, format!("{}: {why}", self.goal.key));
        Some(Err(error.with_retry_after(Some(until.saturating_since(now)))))
    }

    pub(super) async fn without_refresh_token(&self, at: At) -> Result<Landing, Error> {
        if self.goal.rejected.is_none() && lives_beyond(at.tokens(), &self.goal.audience, self.core.now()) {
            return Ok(at.landing());
        }
        if self.goal.audience != DEFAULT_AUDIENCE {
            return Ok(Err(needs_reauthorization(&self.goal.key, ReauthReason::NoRefreshToken)));
        }
        match self.mark_lost(at, ReauthReason::NoRefreshToken).await? {
            Some(landing) => Ok(landing),
            None => Ok(self.what_is_there(self.load().await?)),
        }
    }
}
