//! Whose turn it is to read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::wire::Failure;

/// So many reads go together, at most: their replies have to be in memory at once.
const BATCH: usize = 32;

pub(super) type Answer = Result<Value, Failure>;

/// A number of lanes, and who waits for one.
pub(super) struct Queue {
    lanes: usize,
    state: Mutex<State>,
}

struct State {
    /// Those that nobody has. The last is taken first, so that few are used where few are needed.
    free: Vec<usize>,
    waiting: VecDeque<Request>,
}

struct Request {
    key: String,
    answer: oneshot::Sender<Answer>,
    /// Where its caller waits.
    runtime: Handle,
}

/// What a caller does.
pub(super) enum Turn {
    /// It has this lane, and asks for its key itself.
    Now(usize, String),
    /// Who has one will ask for it.
    Later(oneshot::Receiver<Answer>),
}

impl Queue {
    pub(super) fn new(lanes: usize) -> Self {
        let state = State { free: (0..lanes).rev().collect(), waiting: VecDeque::new() };
        Self { lanes, state: Mutex::new(state) }
    }

    /// For a caller on `runtime`.
    pub(super) fn turn(&self, key: String, runtime: Handle) -> Turn {
        let mut state = self.state();
        if let Some(lane) = state.free.pop() {
            return Turn::Now(lane, key);
        }
        let (sender, answer) = oneshot::channel();
        state.waiting.push_back(Request { key, answer: sender, runtime });
        Turn::Later(answer)
    }

    /// Takes a lane back.
    ///
    /// # Errors
    /// Where somebody waits, if somebody does: then it is not taken.
    pub(super) fn give_back(&self, lane: usize) -> Result<(), Handle> {
        let mut state = self.state();
        while state.waiting.pop_front_if(|request| request.answer.is_closed()).is_some() {}
        match state.waiting.front() {
            Some(request) => Err(request.runtime.clone()),
            None => {
                state.free.push(lane);
                Ok(())
            }
        }
    }

    /// Takes back what the end of a runtime left. Those who wait are left to who has another lane; if nobody has, they
    /// learn that they wait in vain.
    pub(super) fn abandon(&self, lane: usize) {
        let mut state = self.state();
        state.free.push(lane);
        if state.free.len() == self.lanes {
            state.waiting.clear();
        }
    }

    /// Those who waited longest and still do, at most [`BATCH`].
    pub(super) fn batch(&self) -> (Vec<String>, Vec<oneshot::Sender<Answer>>) {
        let mut state = self.state();
        let most = state.waiting.len().min(BATCH);
        let waiting = state.waiting.drain(..most).filter(|request| !request.answer.is_closed());
        waiting.map(|request| (request.key, request.answer)).unzip()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done with it leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
