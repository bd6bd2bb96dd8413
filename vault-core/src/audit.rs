//! A trail that must not be missing an entry: the host's sink, awaited before an operation answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::event::Event;

/// Keeps a record of what happened, durably.
///
/// It is given the events that change what a user has granted: [`Event::Connected`], [`Event::Disconnected`],
/// [`Event::Refreshed`], [`Event::NeedsReauthorization`], [`Event::Erased`] and [`Event::MassRevoked`], the last as one entry for all that it disconnected. The [`Observer`](crate::event::Observer) sees them too, and all others.
///
/// # Contract
/// When `record` returns `Ok`, the entry is kept. One event may come more than once, if an operation is tried again.
///
/// # Cancel safety
/// A call that takes too long is dropped; the entry may be kept or not.
#[async_trait]
pub trait AuditSink: fmt::Debug + Send + Sync + 'static {
    /// Keeps an entry for `event`.
    async fn record(&self, event: &Event) -> Result<(), AuditError>;
}

/// An entry was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuditError(String);

impl AuditError {
    /// Says why, in one line without secrets.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// What an operation does when its entry was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditPolicy {
    /// It answers all the same, and the alarm is raised: an error in the log, and [`Event::AuditFailed`].
    Continue,
    /// It answers [`ErrorKind::AuditUnavailable`]. What it stored stays stored: a connection that was made is made, one
    /// that is gone is gone. The alarm is raised as well.
    FailClosed,
}

#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pub(crate) sink: Arc<dyn AuditSink>,
    pub(crate) policy: AuditPolicy,
}

impl Core {
    /// Tells the observer, and waits until the audit trail has it.
    ///
    /// # Errors
    /// [`ErrorKind::AuditUnavailable`] when it has not and the policy is to fail closed. Nothing is undone.
    pub(crate) async fn audit(&self, event: Event) -> Result<(), Error> {
        self.report(&event);
        let Some(Audit { sink, policy }) = &self.audit else { return Ok(()) };
        let (sink, recorded) = (Arc::clone(sink), event.clone());
        // A task of its own: a sink that blocks its thread, or panics, does so there.
        let mut entry = tokio::spawn(async move { sink.record(&recorded).await });
        let failure = tokio::select! {
            biased;
            done = &mut entry => match done {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => AuditError::new("the audit sink panicked"),
            },
            () = self.clock.sleep(self.settings.audit_timeout) => {
                entry.abort();
                AuditError::new("the audit sink did not answer in time")
            }
        };
        tracing::error!(error = %failure, "an audit entry was not kept");
        self.report(&Event::AuditFailed { event: Box::new(event) });
        match policy {
            AuditPolicy::Continue => Ok(()),
            AuditPolicy::FailClosed => {
                let message = "done, but the audit trail has no entry of it";
                Err(Error::new(ErrorKind::AuditUnavailable, message).with_source(failure))
            }
        }
    }
}

pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);
