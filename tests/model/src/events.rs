//! What happens to processes: the network, time, users and faults.

use crate::Mode;
use crate::model::RefreshModel;
use crate::process::SENDS;
use crate::provider::Reply;
use crate::report::Note;
use crate::state::{At, Process, Record, Request, State};
use crate::time::{HTTP_TIMEOUT, LEASE, PROMPT, REQUEST_LIFETIME};
use crate::world::World;

/// How a request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arrival {
    Answered,
    /// The reply gets lost.
    Unheard,
    /// Turned away, nothing spent.
    Throttled,
}

impl World<'_> {
    /// A request reaches the provider.
    pub(crate) fn deliver(&mut self, n: usize, arrival: Arrival) {
        let request = self.state.requests.remove(n);
        let awaits =
            |process: &Process| matches!(process.at, At::Await(_)) && process.spent == Some(request.spent);
        let sender = self.state.processes.iter().position(awaits);
        if arrival == Arrival::Throttled {
            return sender.into_iter().for_each(|sender| self.go(sender, At::Unmark));
        }
        let reply = self.state.provider.refresh(self.model.mode, request.token);
        let heard = sender.filter(|_| arrival == Arrival::Answered);
        match reply {
            Reply::Issued(token) => match heard {
                Some(sender) => self.go(sender, At::Keep(token)),
                None => self.unheard(),
            },
            Reply::Refused | Reply::Reused => heard.into_iter().for_each(|sender| self.go(sender, At::Judge)),
        }
        if reply == Reply::Reused && !self.state.past.revoked && !self.state.past.reused {
            self.state.past.reused = true;
            self.note(match self.state.past {
                past if past.unheard => Note::ReusedAfterLoss,
                _ => Note::ReusedAfterLapse,
            });
        }
    }

    /// Whoever the provider has told does not know.
    pub(crate) fn unheard(&mut self) {
        self.state.past.unheard |= self.model.mode != Mode::Static;
    }

    /// A tick.
    pub(crate) fn tick(&mut self) {
        let settle = self.model.settle();
        let State { store, processes, requests, .. } = &mut self.state;
        let keeps = |process: &Process| {
            store.up && !process.paused && process.fence == store.lease.fence && store.lease.left > 0
        };
        let renewed = processes.iter().any(keeps);
        store.lease.left = if renewed { LEASE } else { store.lease.left.saturating_sub(1) };
        for process in processes.iter_mut().filter(|process| process.fence > 0) {
            let ours = process.fence == store.lease.fence && store.lease.left > 0;
            process.deadline = match (process.paused || !store.up, ours) {
                (true, _) => process.deadline.saturating_sub(1),
                (false, true) => LEASE,
                (false, false) => 0,
            };
        }
        if let Some(attempt) = store.record.as_mut().and_then(|record| record.attempt.as_mut()) {
            attempt.age = settle.min(attempt.age + 1);
        }
        requests.iter_mut().for_each(|request| request.age += 1);
        for process in processes {
            if process.at == At::Gate {
                process.marker_age = PROMPT.min(process.marker_age + 1);
            }
            if let At::Await(age) = process.at {
                process.at = match age + 1 {
                    age if age < HTTP_TIMEOUT => At::Await(age),
                    _ if process.sends < SENDS => At::Look,
                    _ => At::Release,
                };
            }
        }
        self.lapse();
    }

    /// A lease ended while its holder had spent the token, or was about to.
    fn lapse(&mut self) {
        let lease = self.state.store.lease;
        let committed =
            |at: At| matches!(at, At::Send | At::Await(_) | At::Keep(_) | At::Write(..) | At::Look);
        let lapsed = |process: &Process| {
            process.spent.is_some()
                && committed(process.at)
                && process.fence > 0
                && (lease.left == 0 || lease.fence != process.fence)
        };
        self.state.past.lapsed |= self.model.tells_lapses() && self.state.processes.iter().any(lapsed);
    }

    pub(crate) fn crash(&mut self, n: usize) {
        let process = &self.state.processes[n];
        let spilled = process.spill;
        if process.token().is_some_and(|token| spilled.is_none_or(|(_, kept)| kept != token)) {
            self.unheard();
        }
        // Until it is back, what it spilled is out of reach.
        self.state.past.lapsed |= spilled.is_some() && self.model.tells_lapses();
        self.state.processes[n] = Process { at: At::Down, spill: spilled, ..Process::IDLE };
    }

    /// A process starts, and brings in what was spilled.
    pub(crate) fn restart(&mut self, n: usize) {
        let process = self.process(n);
        process.at = At::Idle;
        if let Some((spent, token)) = process.spill {
            (process.spent, process.at) = (Some(spent), At::Keep(token));
        }
    }

    /// A process finds a refresh due.
    pub(crate) fn start(&mut self, n: usize) {
        let Some(record) = &self.state.store.record else { return };
        let goal = (record.incarnation, record.generation);
        let process = self.process(n);
        (process.goal, process.at) = (goal, At::Acquire);
    }

    pub(crate) fn disconnect(&mut self) {
        let store = &mut self.state.store;
        let Some(record) = store.record.take() else { return };
        (store.owed, store.disconnected) = (Some(record.incarnation), record.incarnation);
        // The fence would start again; that only the incarnation keeps old ones out is checked by `R4` as it is.
        store.lease.left = 0;
        self.state.processes.iter_mut().for_each(|process| process.fresh = false);
    }

    /// The owed revocation reaches the provider.
    pub(crate) fn pay(&mut self) {
        if let Some(grant) = self.state.store.owed.take() {
            self.state.provider.end_grant(grant);
        }
    }

    /// The user connects, whatever was there.
    pub(crate) fn connect(&mut self) {
        let State { store, provider, .. } = &mut self.state;
        store.connects += 1;
        store.record = Some(Record::connected(store.connects, provider.issue(store.connects, None)));
        self.state.past = crate::state::Past { violated: self.state.past.violated, ..Default::default() };
        self.state.processes.iter_mut().for_each(|process| process.fresh = false);
    }

    /// The user ends the grant at the provider.
    pub(crate) fn revoke(&mut self) {
        if let Some(record) = &self.state.store.record {
            self.state.provider.end_grant(record.incarnation);
            self.state.past.revoked = true;
        }
    }
}

impl RefreshModel {
    /// Whether a lapse under a live holder excuses anything: as the crate's documentation says.
    pub(crate) const fn tells_lapses(&self) -> bool {
        matches!(self.mode, Mode::Family)
    }

    /// Whether time may pass: nobody who runs has anything to do, and no request is too old to arrive.
    pub(crate) fn may_tick(&self, state: &State) -> bool {
        let old = |request: &Request| request.age + 1 >= REQUEST_LIFETIME;
        !state.requests.iter().any(old)
            && !state.processes.iter().any(|process| self.can_step(state, process))
    }
}
