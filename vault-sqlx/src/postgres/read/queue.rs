//! Who waits, and which connections are free.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::PgConnection;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, Sleep};
use vault_core::store::StoreError;

use super::{Answer, Id};

/// So many are asked for at once. Beyond it a statement gets longer, and hardly cheaper for each.
const BATCH: usize = 128;
/// How long nobody tries to open another connection after one was refused, while there are others.
const REST: Duration = Duration::from_secs(1);

/// A connection to one of the hosts.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) connection: PgConnection,
    pub(super) host: usize,
    /// Put off for each statement. A timer of its own for each would wake the runtime's other threads.
    pub(super) patience: Pin<Box<Sleep>>,
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

    pub(super) fn turn(&self, id: Id) -> Turn {
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
        state.waiting.push_back(Request { id, answer: sender });
        Turn::Later { answer, unopened }
    }

    /// Takes a connection back, or `None` in place of one that is no more, unless somebody waits.
    pub(super) fn give_back(&self, open: &mut Option<Open>) -> bool {
        let mut state = self.state();
        let nobody_waits = state.waiting.is_empty();
        if nobody_waits {
            state.put(open.take());
        }
        nobody_waits
    }

    /// Takes back one that could not be opened. Those who wait are left to who leads another one; if nobody does, they are
    /// returned.
    pub(super) fn refuse(&self) -> Batch {
        let mut state = self.state();
        state.refused_at = Some(Instant::now());
        state.put(None);
        if self.is_led(&state, 0) { Batch(Vec::new()) } else { Batch(state.waiting.drain(..).collect()) }
    }

    /// Takes back what the end of a runtime left. Those who wait are returned.
    pub(super) fn abandon(&self) -> Batch {
        let mut state = self.state();
        state.put(None);
        Batch(state.waiting.drain(..).collect())
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

    /// What they ask for, each once.
    pub(super) fn ids(&self) -> Vec<Id> {
        let mut ids: Vec<_> = self.0.iter().map(|request| request.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// What has no answer is not there.
    pub(super) fn answer(self, answers: &HashMap<Id, Answer>) {
        for Request { id, answer } in self.0 {
            // Its caller may be gone.
            let _ = answer.send(answers.get(&id).cloned().unwrap_or(Ok(None)));
        }
    }

    pub(super) fn fail(self, error: &StoreError) {
        for Request { answer, .. } in self.0 {
            let _ = answer.send(Err(error.clone()));
        }
    }
}
