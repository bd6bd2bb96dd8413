//! Stops a request until the test lets it go on.

use tokio::sync::watch;

/// Where a request waits; see [`hold_next`](super::Simulator::hold_next). Dropping it lets the request go on.
#[derive(Debug)]
#[must_use = "dropping the gate opens it"]
pub struct Gate {
    arrived: watch::Receiver<bool>,
    open: watch::Sender<bool>,
}

/// The request's side of a [`Gate`].
pub(super) struct Barrier {
    arrived: watch::Sender<bool>,
    open: watch::Receiver<bool>,
}

pub(super) fn gate() -> (Gate, Barrier) {
    let (arrived, sees_arrival) = watch::channel(false);
    let (open, sees_opening) = watch::channel(false);
    let gate = Gate { arrived: sees_arrival, open };
    let barrier = Barrier { arrived, open: sees_opening };
    (gate, barrier)
}

impl Gate {
    /// Waits until a request stands at the gate. Never ends if none comes, or if the plan was cleared. Cancel safe.
    pub async fn arrived(&self) {
        let mut arrived = self.arrived.clone();
        if arrived.wait_for(|arrived| *arrived).await.is_err() {
            std::future::pending().await
        }
    }

    /// Lets the request go on.
    pub fn release(self) {
        self.open.send_replace(true);
    }
}

impl Barrier {
    pub(super) async fn pass(mut self) {
        self.arrived.send_replace(true);
        // An error says that the gate was dropped, which opens it too.
        let _ = self.open.wait_for(|open| *open).await;
    }
}
