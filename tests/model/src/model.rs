//! The model as stateright sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stateright::{Model, Property};
use vault_core::store::ConnectionStatus;

use crate::events::Arrival;
use crate::faults::{Action, Faults};
use crate::provider::{Mode, Provider};
use crate::report::{NOTES, Note};
use crate::rule::Rule;
use crate::rules::Rules;
use crate::state::{At, Lease, Past, Process, Record, State, Store};
use crate::world::World;

/// A few processes that refresh one connection at one provider.
#[derive(Debug, Clone)]
pub struct RefreshModel {
    /// What the provider does with spent tokens.
    pub mode: Mode,
    /// How many processes there are.
    pub processes: usize,
    /// How often the connection falls due.
    pub generations: u8,
    /// What may go wrong.
    pub faults: Faults,
    /// How processes decide.
    pub rules: Rules,
    /// How often each thing happened, over all transitions.
    pub(crate) seen: Arc<[AtomicU64; NOTES]>,
}

impl RefreshModel {
    /// With production's rules.
    #[must_use]
    pub fn new(mode: Mode, processes: usize, generations: u8, faults: Faults) -> Self {
        let seen = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { mode, processes, generations, faults, rules: Rules::PRODUCTION, seen }
    }

    pub(crate) fn count(&self, note: Note) -> u64 {
        self.seen[note as usize].load(Ordering::Relaxed)
    }

    /// Does it, and answers with what happened.
    pub(crate) fn apply(&self, state: &mut State, action: Action) -> u32 {
        let mut world = World { model: self, state: std::mem::replace(state, self.nothing()), notes: 0 };
        match action {
            Action::Start(n) => world.start(n),
            Action::Step(n) => world.step(n, true),
            Action::StepUnheard(n) => world.step(n, false),
            Action::Deliver(n) => world.deliver(n, Arrival::Answered),
            Action::LoseReply(n) => world.deliver(n, Arrival::Unheard),
            Action::Throttle(n) => world.deliver(n, Arrival::Throttled),
            Action::Crash(n) => world.crash(n),
            Action::Restart(n) => world.restart(n),
            Action::Pause(n) => {
                let process = world.process(n);
                (process.paused, process.late) = (true, process.at == At::Send);
            }
            Action::Resume(n) => world.process(n).paused = false,
            Action::StoreDown => world.state.store.up = false,
            Action::StoreUp => world.state.store.up = true,
            Action::LoseRequest(n) | Action::Forget(n) => drop(world.state.requests.remove(n)),
            Action::Tick | Action::Delay => world.tick(),
            Action::EndLeeway => world.state.provider.end_leeway(),
            Action::Pay => world.pay(),
            Action::Revoke => world.revoke(),
            Action::Disconnect => world.disconnect(),
            Action::Reconnect => world.connect(),
        }
        if let Some(left) = world.state.faults.of(action) {
            *left -= 1;
            world.state.faults.total -= 1;
            world.state.faults.exhaust();
        }
        *state = world.state;
        world.notes
    }

    fn nothing(&self) -> State {
        State {
            store: Store {
                up: true,
                record: None,
                lease: Lease { fence: 0, left: 0 },
                connects: 0,
                disconnected: 0,
                owed: None,
            },
            provider: Provider { tokens: Vec::new() },
            processes: Vec::new(),
            requests: Vec::new(),
            faults: if self.faults.total == 0 { Faults::NONE } else { self.faults },
            past: Past::default(),
        }
    }

    fn may_happen(&self, state: &State, action: Action) -> bool {
        let State { store, processes, requests, provider, .. } = state;
        let process = |n: usize| &processes[n];
        let writes = |n: usize| {
            matches!(process(n).at, At::Mark | At::Write(..) | At::Promote | At::GiveUp(_))
                && process(n).fresh
        };
        let runs = |n: usize| !matches!(process(n).at, At::Idle | At::Down);
        let heard = |n: usize| {
            let awaits = |process: &Process| {
                matches!(process.at, At::Await(_)) && process.spent == Some(requests[n].spent)
            };
            processes.iter().any(awaits)
        };
        let fault = { state.faults }.of(action).is_none_or(|left| *left > 0);
        fault
            && match action {
                Action::Start(n) => process(n).at == At::Idle && store.up && self.is_due(state),
                Action::Step(n) => self.can_step(state, process(n)),
                Action::StepUnheard(n) => writes(n) && self.can_step(state, process(n)) && store.up,
                Action::Deliver(_) => true,
                Action::LoseReply(n) | Action::Throttle(n) => heard(n),
                Action::Crash(n) => runs(n) || process(n).spill.is_some() && process(n).is_up(),
                Action::Restart(n) => !process(n).is_up(),
                Action::Pause(n) => runs(n) && process(n).at != At::Acquire && !process(n).paused,
                Action::Resume(n) => process(n).paused,
                Action::StoreDown => store.up && state.held().next().is_some(),
                Action::StoreUp => !store.up,
                Action::LoseRequest(n) => heard(n),
                // That is its sender's fault.
                Action::Forget(n) => !heard(n),
                Action::Tick => self.may_tick(state) && !(0..requests.len()).any(heard),
                Action::Delay => self.may_tick(state) && (0..requests.len()).any(heard),
                Action::EndLeeway => {
                    provider.tokens.iter().any(|token| token.life == crate::provider::Life::Spent)
                }
                Action::Pay => store.owed.is_some(),
                Action::Revoke => store.record.is_some() && !state.past.revoked,
                Action::Disconnect => store.up && store.record.is_some(),
                Action::Reconnect => store.up,
            }
    }
}

impl Record {
    /// What a connect stores.
    pub(crate) const fn connected(incarnation: u8, token: crate::provider::Token) -> Self {
        Self {
            incarnation,
            generation: 1,
            parent: None,
            token_fence: 0,
            obtained_by: None,
            max_fence: 0,
            status: ConnectionStatus::Active,
            attempt: None,
            current: token,
            alternates: Vec::new(),
            promotions: 0,
            doubt: false,
        }
    }
}

impl Model for RefreshModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = self.nothing();
        state.processes = vec![Process::IDLE; self.processes];
        let mut world = World { model: self, state, notes: 0 };
        world.connect();
        vec![world.state.canonical()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What follows a violation is of no interest.
        if state.past.violated != 0 {
            return;
        }
        let of_processes = [
            Action::Start,
            Action::Step,
            Action::StepUnheard,
            Action::Crash,
            Action::Restart,
            Action::Pause,
            Action::Resume,
        ];
        let of_requests =
            [Action::Deliver, Action::LoseReply, Action::LoseRequest, Action::Forget, Action::Throttle];
        let of_all = [
            Action::StoreDown,
            Action::StoreUp,
            Action::Tick,
            Action::Delay,
            Action::EndLeeway,
            Action::Pay,
            Action::Revoke,
            Action::Disconnect,
            Action::Reconnect,
        ];
        let processes = (0..state.processes.len()).flat_map(|n| of_processes.map(|action| action(n)));
        let requests = (0..state.requests.len()).flat_map(|n| of_requests.map(|action| action(n)));
        let all = processes.chain(requests).chain(of_all);
        actions.extend(all.filter(|action| self.may_happen(state, *action)));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let notes = self.apply(&mut state, action);
        let state = state.canonical();
        if state == *last {
            return None;
        }
        for (_, seen) in self.seen.iter().enumerate().filter(|(n, _)| notes & (1 << n) != 0) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($rule:ident)*) => {
                vec![$(Property::always(Rule::$rule.name(), |model, state| {
                    Rule::$rule.holds(model, state)
                })),*]
            };
        }
        always!(R1 R2 R3 R4 R5 R6 R7 R9 L1 L2 L3 L4 Lost Kept)
    }
}
