//! Whose turn it is to read.

use std::collections::VecDeque;
use std::iter::once;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::wire::Failure;

/// So many reads go together, at most: their replies have to be in memory at once.
const BATCH: usize = 32;

pub(super) type Answer = Result<Value, Failure>;

/// A number of lanes, and who waits for one.
pub(super) struct Queue(Mutex<State>);

struct State {
    /// Lanes that nobody has. The last is taken first, so that few are used where few are needed.
    free: Vec<usize>,
    /// In the order of their numbers.
    waiting: VecDeque<Request>,
    number: u64,
    /// Somebody waited too long, and since then no lane has come back.
    is_stuck: bool,
}

pub(super) struct Request {
    pub(super) key: String,
    pub(super) answer: oneshot::Sender<Answer>,
    /// Where its caller waits.
    pub(super) runtime: Handle,
    number: u64,
}

/// What a caller does.
pub(super) enum Turn {
    /// It has this lane, and asks for its key.
    Now(usize, String),
    /// It asks for its key without a lane.
    Alone(String),
    /// It waits, under this number. Who has a lane will ask.
    Later(u64, oneshot::Receiver<Answer>),
}

impl Queue {
    pub(super) fn new(lanes: usize) -> Self {
        let (free, waiting) = ((0..lanes).rev().collect(), VecDeque::new());
        Self(Mutex::new(State { free, waiting, number: 0, is_stuck: lanes == 0 }))
    }

    /// For a caller on `runtime`.
    pub(super) fn turn(&self, key: String, runtime: Handle) -> Turn {
        let mut state = self.state();
        if let Some(lane) = state.free.pop() {
            return Turn::Now(lane, key);
        }
        if state.is_stuck {
            return Turn::Alone(key);
        }
        let (sender, answer) = oneshot::channel();
        let number = state.number;
        state.number += 1;
        state.waiting.push_back(Request { key, answer: sender, runtime, number });
        Turn::Later(number, answer)
    }

    /// Its key for who will not wait any longer; `None` when somebody asks for it already, or has.
    pub(super) fn withdraw(&self, number: u64) -> Option<String> {
        let mut state = self.state();
        let place = state.waiting.binary_search_by_key(&number, |request| request.number).ok()?;
        state.is_stuck = true;
        state.waiting.remove(place).map(|request| request.key)
    }

    /// Takes a lane back.
    ///
    /// # Errors
    /// Who has waited longest, if somebody waits: then it is not taken.
    pub(super) fn give_back(&self, lane: usize) -> Result<(), Request> {
        let mut state = self.state();
        state.is_stuck = false;
        while let Some(request) = state.waiting.pop_front() {
            if !request.answer.is_closed() {
                return Err(request);
            }
        }
        state.free.push(lane);
        Ok(())
    }

    /// Takes a lane back that nobody uses any more, whoever waits.
    pub(super) fn abandon(&self, lane: usize) {
        self.state().free.push(lane);
    }

    /// Those who are asked for together with `first`: who waited longest and still do, at most [`BATCH`] with it.
    pub(super) fn batch(&self, first: Request) -> (Vec<String>, Vec<oneshot::Sender<Answer>>) {
        let mut state = self.state();
        let most = state.waiting.len().min(BATCH - 1);
        let others = state.waiting.drain(..most).filter(|request| !request.answer.is_closed());
        once(first).chain(others).map(|request| (request.key, request.answer)).unzip()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done with it leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
