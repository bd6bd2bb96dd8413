//! A state on its way to the next one, and what is common to all steps.

use vault_core::clock::Timestamp;
use vault_core::decide::BeforeSend;

use crate::model::RefreshModel;
use crate::provider::Token;
use crate::report::Note;
use crate::rule::Rule;
use crate::state::{At, Process, Record, State, incarnation};
use crate::time::{NOW, SETTLE, span};

#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) model: &'a RefreshModel,
    pub(crate) state: State,
    /// What happened in this step, as bits of [`Note`].
    pub(crate) notes: u32,
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

impl World<'_> {
    pub(crate) fn note(&mut self, note: Note) {
        self.notes |= 1 << note as u32;
    }

    pub(crate) fn violate(&mut self, rule: Rule) {
        self.state.past.violated |= rule.bit();
    }

    pub(crate) fn process(&mut self, n: usize) -> &mut Process {
        &mut self.state.processes[n]
    }

    pub(crate) fn go(&mut self, n: usize, at: At) {
        self.state.processes[n].at = at;
    }

    /// Reads the record, as the process's next conditional write assumes it.
    pub(crate) fn read(&mut self, n: usize) {
        self.state.processes[n].fresh = true;
    }

    /// A conditional write by process `n`, on behalf of that incarnation. Whether it was written.
    pub(crate) fn write(&mut self, n: usize, incarnation: u8, change: impl FnOnce(&mut Record)) -> bool {
        let Some(record) = self.state.store.record.as_mut().filter(|_| self.state.processes[n].fresh) else {
            return false;
        };
        let before = record.clone();
        change(record);
        let after = record.clone();
        self.state.processes.iter_mut().for_each(|process| process.fresh = false);
        self.process(n).fresh = true;
        if before.incarnation != incarnation || self.grant_of(after.current) != after.incarnation {
            self.violate(Rule::R4);
        }
        if after.generation < before.generation {
            self.violate(Rule::R2);
        }
        let live = |token: &Token| self.state.provider.is_live(*token);
        let dropped = before.tokens().filter(live).any(|token| after.tokens().all(|kept| kept != token));
        if dropped && !live(&after.current) {
            self.violate(Rule::R3);
        }
        true
    }

    fn grant_of(&self, token: Token) -> u8 {
        self.state.provider.of(token).grant
    }
}

impl RefreshModel {
    pub(crate) fn settle(&self) -> u8 {
        if self.mode == crate::Mode::Static { 0 } else { SETTLE }
    }

    pub(crate) fn before_send(&self, state: &State, process: &Process, settle: u8) -> BeforeSend {
        let (wanted, generation) = process.goal;
        let stored = state.store.record.as_ref().map(Record::stored);
        let seen = (incarnation(wanted), generation.into());
        (self.rules.before_send)(seen, stored.as_ref(), span(settle), now())
    }

    /// Whether a refresh is due, as far as the model goes.
    pub(crate) fn is_due(&self, state: &State) -> bool {
        let due = |record: &Record| record.is_active() && record.generation <= self.generations;
        state.store.record.as_ref().is_some_and(due)
    }
}
