//! A process, step by step: the driver of `vault-core/src/refresh`, with the decisions of [`Rules`](crate::Rules).

use vault_core::ReauthReason;
use vault_core::decide::{AfterRefusal, AfterSuccess, BeforeSend, MAX_ALTERNATES};
use vault_core::store::ConnectionStatus;

use crate::Mode;
use crate::model::RefreshModel;
use crate::provider::Token;
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
        let waits =
            |settle| matches!(self.before_send(state, process, settle), BeforeSend::Send | BeforeSend::Settle(_));
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

    fn judge(&self, state: &State, process: &Process) -> AfterRefusal {
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
        let spent =
            Spent {
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
            let (unmark, before) = (self.model.rules.unmark, self.state.processes[n].before.map(Attempt::marker));
            self.write(n, spent.incarnation, |record| {
                record.attempt = unmark(&record.stored(), &spent.decided(), before).map(Attempt::of);
            });
        }
        self.go(n, At::Release);
    }

    fn send(&mut self, n: usize) {
        let Process { spent: Some(spent), marked: Some(token), late, fence, .. } = self.state.processes[n] else {
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
        self.state.requests.push(Request { spent, token, age: 0, late });
        let process = self.process(n);
        (process.sends, process.late, process.marked) = (process.sends + 1, false, None);
        process.at = At::Await(0);
    }

    fn keep(&mut self, n: usize, token: Token) {
        if !self.state.store.up {
            return self.spill(n, token);
        }
        let Some(spent) = self.state.processes[n].spent else { return };
        let stored = self.state.store.record.as_ref().map(Record::stored);
        self.read(n);
        let at = match (self.model.rules.after_success)(&spent.decided(), stored.as_ref()) {
            decision @ (AfterSuccess::Next | AfterSuccess::Replace | AfterSuccess::Alternate) => {
                At::Write(token, decision)
            }
            AfterSuccess::Applied => At::Release,
            AfterSuccess::Discard => {
                self.note(Note::Discarded);
                At::Release
            }
            AfterSuccess::Orphan => {
                self.note(Note::Orphan);
                At::Release
            }
        };
        self.go(n, at);
        if at == At::Release {
            self.dropped(n, &spent, token);
        }
    }

    /// Tokens that are not written must not have been the last that work.
    fn dropped(&mut self, n: usize, spent: &Spent, token: Token) {
        let Some(record) = self.state.store.record.as_ref() else { return };
        if record.incarnation != spent.incarnation || !self.state.provider.is_live(token) {
            return;
        }
        let held = self.state.processes.iter().enumerate().filter(|(other, _)| *other != n);
        let held = held.filter_map(|(_, process)| process.token());
        let mut known = record.tokens().chain(held);
        let lost = !known.any(|token| self.state.provider.is_live(token));
        drop(known);
        if lost {
            self.violate(Rule::R5);
        }
    }

    /// `PersistPending` is reported, then the callers have the tokens.
    fn spill(&mut self, n: usize, token: Token) {
        let process = self.process(n);
        process.spill = process.spent.map(|spent| (spent, token));
        process.at = At::Keep(token);
        self.hand_out(n, token);
    }

    fn write_tokens(&mut self, n: usize, token: Token, decision: AfterSuccess, acked: bool) {
        if !self.state.store.up {
            return self.spill(n, token);
        }
        let Some(spent) = self.state.processes[n].spent else { return };
        let healed = self.state.store.record.as_ref().is_some_and(|record| !record.is_active());
        let written = self.write(n, spent.incarnation, |record| record.take(&spent, token, decision));
        if written {
            self.note_written(n, decision, healed);
        }
        if written && acked {
            self.hand_out(n, token);
            self.go(n, At::Release);
        } else {
            self.go(n, At::Keep(token));
        }
    }

    fn note_written(&mut self, n: usize, decision: AfterSuccess, healed: bool) {
        if healed {
            self.note(Note::Heal);
        }
        if decision != AfterSuccess::Next {
            self.note(Note::Sibling);
        }
        if self.state.processes[n].fence == 0 {
            self.note(Note::Import);
        }
    }

    /// Callers get these tokens.
    fn hand_out(&mut self, n: usize, token: Token) {
        let stored = self.state.store.record.iter().flat_map(Record::tokens).any(|stored| stored == token);
        let spilled = self.state.processes[n].spill.is_some_and(|(_, spilled)| spilled == token);
        if !stored && !spilled {
            self.violate(Rule::R7);
        }
        let issued_to = self.state.provider.of(token).grant;
        if self.state.processes[n].spent.is_some_and(|spent| spent.incarnation != issued_to) {
            self.violate(Rule::R6);
        }
    }

    fn judge(&mut self, n: usize) {
        let verdict = self.model.judge(&self.state, &self.state.processes[n]);
        self.read(n);
        self.go(n, match verdict {
            AfterRefusal::Wait(_) => At::Judge,
            AfterRefusal::Promote => At::Promote,
            AfterRefusal::Mark(reason) => At::GiveUp(reason),
            AfterRefusal::Gone | AfterRefusal::Moved => At::Release,
        });
    }

    fn promote(&mut self, n: usize, acked: bool) {
        let incarnation = self.state.processes[n].goal.0;
        let written = self.write(n, incarnation, |record| {
            record.current = record.alternates.pop().unwrap_or(record.current);
            record.attempt = None;
            record.promotions += 1;
        });
        if written {
            self.note(Note::Promotion);
        }
        self.go(n, match (written, acked) {
            (true, true) => At::Look,
            (true, false) => At::Release,
            (false, _) => At::Judge,
        });
    }

    fn give_up(&mut self, n: usize, reason: ReauthReason, acked: bool) {
        let incarnation = self.state.processes[n].goal.0;
        let written = self.write(n, incarnation, |record| {
            record.status = ConnectionStatus::NeedsReauthorization(reason);
        });
        self.go(n, if written || !acked { At::Release } else { At::Judge });
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

impl Record {
    /// Step 9.
    fn take(&mut self, spent: &Spent, token: Token, decision: AfterSuccess) {
        let theirs = self.current;
        self.status = ConnectionStatus::Active;
        if decision == AfterSuccess::Alternate {
            return self.keep_alternate(token);
        }
        self.current = token;
        if decision == AfterSuccess::Replace {
            self.keep_alternate(theirs);
        } else {
            self.parent = Some(spent.generation);
            self.alternates.clear();
        }
        self.generation += 1;
        self.token_fence = spent.fence;
        self.max_fence = self.max_fence.max(spent.fence);
        self.obtained_by = Some(spent.attempt);
        self.attempt = None;
        self.promotions = 0;
    }

    fn keep_alternate(&mut self, token: Token) {
        if self.tokens().any(|known| known == token) {
            return;
        }
        if self.alternates.len() == MAX_ALTERNATES {
            self.alternates.remove(0);
        }
        self.alternates.push(token);
    }
}
