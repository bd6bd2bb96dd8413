//! A process, step by step: the driver of `vault-core/src/refresh`, with the decisions of [`Rules`](crate::Rules).

use vault_core::ReauthReason;
use vault_core::decide::{AfterRefusal, BeforeSend};

use crate::Mode;
use crate::model::RefreshModel;
use crate::report::Note;
use crate::rule::Rule;
use crate::state::{At, Attempt, Process, Record, Request, Spent, State, attempt_id};
use crate::time::{HTTP_TIMEOUT, LEASE, PROMPT, span};
use crate::world::{World, now};

/// Sends in one run while the outcome stays unknown.
pub(crate) const SENDS: u8 = 2;

impl RefreshModel {
    /// Whether a process that is not paused can do its next step.
    pub(crate) fn can_step(&self, state: &State, process: &Process) -> bool {
        let store = &state.store;
        let waits = |settle| {
            matches!(self.before_send(state, process, settle), BeforeSend::Send | BeforeSend::Settle(_))
        };
        match process.at {
            _ if process.paused => false,
            At::Down | At::Idle | At::Await(_) => false,
            At::Acquire => store.up && (store.record.is_none() || store.lease.left == 0 || !waits(0)),
            At::Look => {
                let settles = self.before_send(state, process, self.settle());
                store.up && !matches!(settles, BeforeSend::Settle(_))
            }
            At::Judge => store.up && !matches!(self.judge(state, process), AfterRefusal::Wait(_)),
            At::Keep(_) | At::Write(..) => store.up || process.spill.is_none(),
            At::Gate | At::Send => true,
            At::Mark | At::Unmark | At::Promote | At::GiveUp(_) | At::Release => store.up,
        }
    }

    pub(crate) fn judge(&self, state: &State, process: &Process) -> AfterRefusal {
        let Some(spent) = process.spent else { return AfterRefusal::Gone };
        let sent = process.sent.as_deref().filter(|_| !self.rules.reads_again);
        let stored = sent.or(state.store.record.as_ref()).map(Record::stored);
        let (refused, settle) = (ReauthReason::GrantRevoked, span(self.settle()));
        (self.rules.after_refusal)(&spent.decided(), stored.as_ref(), refused, settle, now())
    }
}

impl World<'_> {
    /// The next step of process `n`. `acked`: whether it hears that what it writes was written.
    pub(crate) fn step(&mut self, n: usize, acked: bool) {
        match self.state.processes[n].at {
            At::Down | At::Idle | At::Await(_) => {}
            At::Acquire => self.acquire(n),
            At::Look => self.look(n),
            At::Mark => self.mark(n, acked),
            At::Gate => self.gate(n),
            At::Unmark => self.unmark(n),
            At::Send => self.send(n),
            At::Keep(token) => self.keep(n, token),
            At::Write(token, decision) => self.write_tokens(n, token, decision, acked),
            At::Judge => self.judge(n),
            At::Promote => self.promote(n, acked),
            At::GiveUp(reason) => self.give_up(n, reason, acked),
            At::Release => self.release(n),
        }
    }

    fn acquire(&mut self, n: usize) {
        let store = &mut self.state.store;
        if store.record.is_none() || store.lease.left > 0 {
            self.state.processes[n] = Process::IDLE;
            return;
        }
        store.lease.fence += 1;
        store.lease.left = LEASE;
        let fence = store.lease.fence;
        let process = self.process(n);
        (process.fence, process.deadline, process.at) = (fence, LEASE, At::Look);
    }

    fn look(&mut self, n: usize) {
        let model = self.model;
        let at = match model.before_send(&self.state, &self.state.processes[n], model.settle()) {
            BeforeSend::Send => At::Mark,
            BeforeSend::Settle(_) => At::Look,
            BeforeSend::Gone | BeforeSend::Moved | BeforeSend::Marked(_) => At::Release,
        };
        self.read(n);
        self.go(n, at);
    }

    fn mark(&mut self, n: usize, acked: bool) {
        let fence = self.state.processes[n].fence;
        let id = self.state.fresh_attempt();
        let marker = self.state.store.record.as_ref().and_then(|record| {
            (self.model.rules.mark)(&record.stored(), attempt_id(id), fence.into(), now())
        });
        let before = self.state.store.record.clone();
        let goal = self.state.processes[n].goal.0;
        let written = marker.is_some_and(|marker| {
            self.write(n, goal, |record| {
                record.attempt = Some(Attempt::of(marker));
                record.max_fence = fence;
            })
        });
        let Some(before) = before.filter(|_| written && acked) else {
            return self.go(n, At::Release);
        };
        if before.attempt.is_some_and(|attempt| attempt.fence != fence) {
            self.note(Note::Takeover);
        }
        let spent = Spent {
            incarnation: before.incarnation,
            generation: before.generation,
            attempt: id,
            fence,
            promotions: before.promotions,
        };
        let sent = self.state.store.record.clone().filter(|_| !self.model.rules.reads_again).map(Box::new);
        let process = self.process(n);
        process.before = before.attempt;
        (process.spent, process.marked, process.sent) = (Some(spent), Some(before.current), sent);
        (process.marker_age, process.at) = (0, At::Gate);
    }

    fn gate(&mut self, n: usize) {
        let Process { deadline, marker_age, .. } = self.state.processes[n];
        let left = PROMPT.saturating_sub(marker_age);
        let open = (self.model.rules.may_send)(span(0), span(HTTP_TIMEOUT), span(deadline), span(left));
        if !open {
            self.note(Note::GateShut);
        }
        self.process(n).marker_age = 0;
        self.go(n, if open { At::Send } else { At::Unmark });
    }

    /// Nothing depends on this write.
    fn unmark(&mut self, n: usize) {
        if let Some(spent) = self.state.processes[n].spent {
            let before = self.state.processes[n].before.map(Attempt::marker);
            let unmark = self.model.rules.unmark;
            self.write(n, spent.incarnation, |record| {
                record.attempt = unmark(&record.stored(), &spent.decided(), before).map(Attempt::of);
            });
        }
        self.go(n, At::Release);
    }

    fn send(&mut self, n: usize) {
        let Process { spent: Some(spent), marked: Some(token), late, fence, .. } = self.state.processes[n]
        else {
            return;
        };
        let lease = self.state.store.lease;
        let connected = self.state.store.record.as_ref().map(|record| record.incarnation);
        // A disconnect takes the lease along; what is sent then harms nobody.
        let leased = lease.left > 0 && lease.fence == fence || connected != Some(spent.incarnation);
        let same = |request: &Request| {
            (request.spent.incarnation, request.spent.generation) == (spent.incarnation, spent.generation)
        };
        let raced = self.state.requests.iter().any(|other| same(other) && !other.late)
            && self.model.mode != Mode::Static;
        if !late && (raced || !leased) {
            self.violate(Rule::R1);
        }
        // Two sends, whatever a client does, if its stop was long.
        self.state.past.lapsed |= late && self.model.tells_lapses();
        self.state.requests.push(Request { spent, token, age: 0, late });
        let process = self.process(n);
        (process.sends, process.late, process.marked) = (process.sends + 1, false, None);
        process.at = At::Await(0);
    }

    fn release(&mut self, n: usize) {
        let (fence, lease) = (self.state.processes[n].fence, &mut self.state.store.lease);
        if lease.fence == fence {
            lease.left = 0;
        }
        self.state.processes[n] = Process::IDLE;
    }
}

impl State {
    fn fresh_attempt(&self) -> u8 {
        self.attempts().max().unwrap_or(0) + 1
    }
}
