//! Tasks that must end by themselves, and whose panics somebody hears of.

use std::any::{Any, type_name};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::event::{Event, Observer};

/// Everything that must finish once begun, whoever stops waiting for it.
#[derive(Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    observer: Arc<dyn Observer>,
}

/// What a panic was raised with. It may hold anything, secrets too.
pub(crate) type Panic = Box<dyn Any + Send>;

impl Tasks {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { tracker: TaskTracker::new(), observer }
    }

    /// Runs `work` in a task of its own, which is waited for at shutdown. A panic ends that task alone, and is reported.
    pub(crate) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let observer = Arc::clone(&self.observer);
        self.tracker
            .spawn(async move { caught(&*observer, work).await.unwrap_or_else(|panic| resume_unwind(panic)) })
    }

    /// Runs `work` here. A panic is reported and goes no further.
    pub(crate) async fn guard<F: Future>(&self, work: F) -> Result<F::Output, Panic> {
        caught(&*self.observer, work).await
    }

    pub(crate) fn close(&self) {
        self.tracker.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tracker.is_closed()
    }

    pub(crate) async fn wait(&self) {
        self.tracker.wait().await;
    }
}

async fn caught<F: Future>(observer: &dyn Observer, work: F) -> Result<F::Output, Panic> {
    let mut work = pin!(work);
    let ended = poll_fn(|context| {
        // A future that panicked is never polled again, and what it shares with others is behind locks that say so.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Err(panic).into(),
        }
    });
    let ended = ended.await;
    if ended.is_err() {
        let event = Event::TaskPanicked { task: type_name::<F>() };
        tracing::error!(task = type_name::<F>(), "a task of the vault panicked");
        // It may be the observer that panics.
        let _ = catch_unwind(AssertUnwindSafe(|| observer.event(&event)));
    }
    ended
}
