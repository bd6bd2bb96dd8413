//! Who waits, and which connections are free.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::PgConnection;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, Sleep, sleep};
use vault_core::store::{Bytes, StoreError};

use super::{Answer, Id};

/// So many are asked for at once, at most: it bounds the length of a statement and of its answer.
const BATCH: usize = 128;
/// How long nobody tries to open another connection after one was refused, while there are others.
const REST: Duration = Duration::from_secs(1);

/// A connection to one of the hosts.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) connection: PgConnection,
    pub(super) host: usize,
    opened_at: Instant,
    used_at: Instant,
    /// Put off for each statement, which need not register a timer of its own.
    patience: Pin<Box<Sleep>>,
    /// Where the timer runs.
    runtime: runtime::Id,
}

impl Open {
    pub(super) fn new(connection: PgConnection, host: usize) -> Self {
        let (now, runtime) = (Instant::now(), Handle::current().id());
        let patience = Box::pin(sleep(Duration::ZERO));
        Self { connection, host, opened_at: now, used_at: now, patience, runtime }
    }

    /// The connection, and a timer that ends after `time`.
    pub(super) fn used(&mut self, time: Duration) -> (&mut PgConnection, Pin<&mut Sleep>) {
        self.used_at = Instant::now();
        let runtime = Handle::current().id();
        match self.used_at.checked_add(time) {
            Some(end) if runtime == self.runtime => self.patience.as_mut().reset(end),
            // The runtime it was made in may not run now, or be gone. And `sleep` knows what to do with a time without end.
            _ => self.patience.set(sleep(time)),
        }
        self.runtime = runtime;
        (&mut self.connection, self.patience.as_mut())
    }

    /// Whether a pool of these options would not use it any more.
    pub(super) fn is_old(&self, options: &PgPoolOptions) -> bool {
        let now = Instant::now();
        let is_past = |since, limit: Option<Duration>| limit.is_some_and(|limit| now - since > limit);
        is_past(self.opened_at, options.get_max_lifetime())
            || is_past(self.used_at, options.get_idle_timeout())
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    connections: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Those that nobody leads; `None` is yet to be opened. The open ones are last.
    free: Vec<Option<Open>>,
    /// Empty while an open one is free.
    waiting: VecDeque<Request>,
    refused_at: Option<Instant>,
}

#[derive(Debug)]
struct Request {
    id: Id,
    answer: oneshot::Sender<Answer>,
    /// Where its caller waits.
    runtime: Handle,
}

/// What a caller does.
pub(super) enum Turn {
    /// It leads this connection.
    Now(Open),
    /// It waits for an answer. If `unopened`, it has to have a task lead a connection that is yet to be opened.
    Later { answer: oneshot::Receiver<Answer>, unopened: bool },
}

impl Queue {
    pub(super) fn new(connections: usize) -> Self {
        let free = (0..connections).map(|_| None).collect();
        let state = Mutex::new(State { free, waiting: VecDeque::new(), refused_at: None });
        Self { connections, state }
    }

    /// For a caller on `runtime`.
    pub(super) fn turn(&self, id: Id, runtime: &Handle) -> Turn {
        let mut state = self.state();
        let unopened = match state.free.pop() {
            Some(Some(open)) => return Turn::Now(open),
            Some(None)
                if state.refused_at.is_some_and(|at| at.elapsed() < REST) && self.is_led(&state, 1) =>
            {
                state.free.push(None);
                false
            }
            taken => taken.is_some(),
        };
        let (sender, answer) = oneshot::channel();
        state.waiting.push_back(Request { id, answer: sender, runtime: runtime.clone() });
        Turn::Later { answer, unopened }
    }

    /// Takes a connection back, or `None` in place of one that is no more.
    ///
    /// # Errors
    /// Where somebody waits, if somebody does: then it is not taken.
    pub(super) fn give_back(&self, open: &mut Option<Open>) -> Result<(), Handle> {
        let mut state = self.state();
        if let Some(runtime) = state.runtime_of_waiting() {
            return Err(runtime);
        }
        state.put(open.take());
        Ok(())
    }

    /// Where somebody waits, if somebody does.
    pub(super) fn runtime_of_waiting(&self) -> Option<Handle> {
        self.state().runtime_of_waiting()
    }

    /// Takes back one that could not be opened. Those who wait are left to who leads another one; if nobody does, they are
    /// returned.
    pub(super) fn refuse(&self) -> Batch {
        let mut state = self.state();
        state.refused_at = Some(Instant::now());
        self.put_none(&mut state)
    }

    /// Takes back what the end of a runtime left, as [`refuse`](Self::refuse) does.
    pub(super) fn abandon(&self) -> Batch {
        self.put_none(&mut self.state())
    }

    fn put_none(&self, state: &mut State) -> Batch {
        state.put(None);
        if self.is_led(state, 0) { Batch(Vec::new()) } else { Batch(state.waiting.drain(..).collect()) }
    }

    /// Those who waited longest and still do, at most [`BATCH`].
    pub(super) fn batch(&self) -> Batch {
        let mut state = self.state();
        let most = state.waiting.len().min(BATCH);
        Batch(state.waiting.drain(..most).filter(|request| !request.answer.is_closed()).collect())
    }

    /// Takes the open ones away, and says whether nobody leads any.
    pub(super) fn clear(&self) -> (Vec<Open>, bool) {
        let mut state = self.state();
        let open = state.free.iter_mut().filter_map(Option::take).collect();
        (open, !self.is_led(&state, 0))
    }

    /// Whether somebody leads one, beside `mine`.
    fn is_led(&self, state: &State, mine: usize) -> bool {
        state.free.len() + mine < self.connections
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done with it leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets those who wait no more.
    fn runtime_of_waiting(&mut self) -> Option<Handle> {
        while self.waiting.pop_front_if(|request| request.answer.is_closed()).is_some() {}
        self.waiting.front().map(|request| request.runtime.clone())
    }

    fn put(&mut self, open: Option<Open>) {
        let place = if open.is_some() { self.free.len() } else { 0 };
        self.free.insert(place, open);
    }
}

/// Requests that are answered together.
#[derive(Debug)]
pub(super) struct Batch(Vec<Request>);

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_of_one(&self) -> bool {
        self.0.len() == 1
    }

    /// What they ask for, each once.
    pub(super) fn ids(&self) -> Vec<Id> {
        let mut ids: Vec<_> = self.0.iter().map(|request| request.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// What has no answer is not there.
    pub(super) fn answer(self, found: &HashMap<Id, Result<Bytes, StoreError>>) {
        for Request { id, answer, .. } in self.0 {
            // Its caller may be gone.
            let _ = answer.send(found.get(&id).cloned().transpose());
        }
    }

    pub(super) fn fail(self, error: &StoreError) {
        for Request { answer, .. } in self.0 {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_left_to_whoever_still_leads() {
        let (queue, runtime) = (Queue::new(2), Handle::current());
        let turns = [1, 2].map(|n| queue.turn([n; 32], &runtime));
        assert!(turns.iter().all(|turn| matches!(turn, Turn::Later { unopened: true, .. })));
        assert!(queue.abandon().is_empty());
        assert_eq!(queue.abandon().ids(), [[1; 32], [2; 32]]);
    }
}
