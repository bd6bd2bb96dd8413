use std::sync::Arc;

use tokio::sync::watch;
use vault_core::event::{Event, Observer};

use crate::Canary;

/// Keeps every event, and has the canary look at it.
#[derive(Debug, Clone)]
pub struct Events {
    pub(super) seen: Arc<watch::Sender<Vec<Event>>>,
    canary: Canary,
}

impl Events {
    /// None yet.
    #[must_use]
    pub fn new(canary: &Canary) -> Self {
        Self { seen: Arc::default(), canary: canary.clone() }
    }

    /// The events so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Event> {
        self.seen.borrow().clone()
    }

    /// Waits until they are such.
    pub async fn until(&self, such: impl Fn(&[Event]) -> bool + Send + Sync) {
        let mut seen = self.seen.subscribe();
        let _ = seen.wait_for(|events| such(events)).await.expect("the observer lives on");
    }
}

impl Observer for Events {
    fn event(&self, event: &Event) {
        self.canary.shown(event);
        self.seen.send_modify(|seen| seen.push(event.clone()));
    }
}
