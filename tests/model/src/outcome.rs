//! Steps 9 and 10: a process has its answer.

use vault_core::ReauthReason;
use vault_core::decide::{AfterRefusal, AfterSuccess};
use vault_core::store::ConnectionStatus;

use crate::provider::Token;
use crate::report::Note;
use crate::rule::Rule;
use crate::state::{At, Record, Spent};
use crate::world::World;

impl World<'_> {
    pub(crate) fn keep(&mut self, n: usize, token: Token) {
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

    pub(crate) fn write_tokens(&mut self, n: usize, token: Token, decision: AfterSuccess, acked: bool) {
        if !self.state.store.up {
            return self.spill(n, token);
        }
        let Some(spent) = self.state.processes[n].spent else { return };
        let healed = self.state.store.record.as_ref().is_some_and(|record| !record.is_active());
        let rules = &self.model.rules;
        let written = self.write(n, spent.incarnation, |record| record.take(rules, &spent, token, decision));
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

    pub(crate) fn judge(&mut self, n: usize) {
        let verdict = self.model.judge(&self.state, &self.state.processes[n]);
        self.read(n);
        self.go(
            n,
            match verdict {
                AfterRefusal::Wait(_) => At::Judge,
                AfterRefusal::Promote => At::Promote,
                AfterRefusal::Mark(reason) => At::GiveUp(reason),
                AfterRefusal::Gone | AfterRefusal::Moved => At::Release,
            },
        );
    }

    pub(crate) fn promote(&mut self, n: usize, acked: bool) {
        let incarnation = self.state.processes[n].goal.0;
        let written = self.write(n, incarnation, |record| {
            record.current = record.alternates.pop().unwrap_or(record.current);
            record.attempt = None;
            record.promotions += 1;
        });
        if written {
            self.note(Note::Promotion);
        }
        self.go(
            n,
            match (written, acked) {
                (true, true) => At::Look,
                (true, false) => At::Release,
                (false, _) => At::Judge,
            },
        );
    }

    pub(crate) fn give_up(&mut self, n: usize, reason: ReauthReason, acked: bool) {
        let incarnation = self.state.processes[n].goal.0;
        let written = self.write(n, incarnation, |record| {
            record.status = ConnectionStatus::NeedsReauthorization(reason);
        });
        self.go(n, if written || !acked { At::Release } else { At::Judge });
    }
}
