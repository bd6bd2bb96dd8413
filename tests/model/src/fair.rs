//! Liveness. `eventually` properties of stateright overlook cycles and joins, so the model does not use them. Instead,
//! from every state that the search finds, it runs one fair schedule without further faults: who was stopped goes on,
//! who crashed starts again, the store comes up, requests arrive, processes take turns, and time passes when all wait.
//! That must come to rest, with nothing due, in few ticks. The states of rest themselves are the search's own.

use std::cell::RefCell;

use crate::faults::Action;
use crate::model::RefreshModel;
use crate::rule::Rule;
use crate::state::{At, State};
use crate::time::{LEASE, SETTLE};

/// Steps of a fair schedule until something is wrong.
const STEPS: usize = 400;
/// A lease to lapse, then for each send that is left a settle wait, a request and a reply; twice for two generations.
const TICKS: usize = 12 * (SETTLE as usize + LEASE as usize);

thread_local! {
    /// What the last state's schedule violates: each property asks for the same.
    static LAST: RefCell<Option<(State, u16)>> = const { RefCell::new(None) };
}

impl RefreshModel {
    pub(crate) fn unfair(&self, state: &State, rule: Rule) -> bool {
        LAST.with_borrow_mut(|last| {
            let violated = match last {
                Some((known, violated)) if known == state => *violated,
                _ => {
                    let violated = self.run_fairly(state.clone());
                    *last = Some((state.clone(), violated));
                    violated
                }
            };
            violated & rule.bit() != 0
        })
    }

    fn run_fairly(&self, mut state: State) -> u16 {
        let mut ticks = 0;
        for turn in 0..STEPS {
            match self.fair_action(&state, turn) {
                Some(Action::Tick) if state.is_at_rest() && state.store.lease.left == 0 => break,
                Some(action) => {
                    ticks += usize::from(action == Action::Tick);
                    self.apply(&mut state, action);
                }
                None => break,
            }
        }
        let mut violated = 0;
        for (rule, held) in [
            (Rule::L1, state.is_at_rest() && !self.is_due(&state)),
            (Rule::L2, state.store.lease.left == 0),
            (Rule::L3, state.store.owed.is_none()),
            (Rule::L4, ticks <= TICKS),
        ] {
            violated |= if held { 0 } else { rule.bit() };
        }
        violated
    }

    fn fair_action(&self, state: &State, turn: usize) -> Option<Action> {
        let processes = &state.processes;
        if let Some(paused) = processes.iter().position(|process| process.paused) {
            return Some(Action::Resume(paused));
        }
        if !state.store.up {
            return Some(Action::StoreUp);
        }
        if let Some(down) = processes.iter().position(|process| !process.is_up()) {
            return Some(Action::Restart(down));
        }
        let mut turns = (0..processes.len()).map(|n| (n + turn) % processes.len());
        if let Some(next) = turns.clone().find(|n| self.can_step(state, &processes[*n])) {
            return Some(Action::Step(next));
        }
        if !state.requests.is_empty() {
            return Some(Action::Deliver(0));
        }
        if state.store.owed.is_some() {
            return Some(Action::Pay);
        }
        let idle = turns.find(|n| processes[*n].at == At::Idle);
        idle.filter(|_| self.is_due(state)).map(Action::Start).or(Some(Action::Tick))
    }
}
