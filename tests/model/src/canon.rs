//! One form for states that differ only in names: processes are alike, fences and attempts matter by their order, and
//! nobody remembers tokens that can no longer matter.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::provider::{Issued, Life, Token};
use crate::state::{At, Process, Record, Spent, State};

impl State {
    pub(crate) fn canonical(mut self) -> Self {
        self.forget_tokens();
        let fences = ranks(self.fences());
        let attempts = ranks(self.attempts());
        self.rename(|fence| fences[usize::from(fence)], |attempt| attempts[usize::from(attempt)]);
        for process in &mut self.processes {
            let writes = matches!(
                process.at,
                At::Mark
                    | At::Gate
                    | At::Send
                    | At::Await(_)
                    | At::Unmark
                    | At::Write(..)
                    | At::Promote
                    | At::GiveUp(_)
            );
            process.fresh &= writes;
            let sending = matches!(process.at, At::Gate | At::Unmark | At::Send | At::Await(_));
            process.before = process.before.filter(|_| sending);
            if matches!(process.at, At::Keep(_) | At::Write(..) | At::Judge | At::Unmark | At::Release) {
                process.sends = if process.at == At::Judge { process.sends } else { 0 };
                process.goal.1 = if process.at == At::Judge { process.goal.1 } else { 0 };
            }
        }
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        self.processes.sort_by_cached_key(|process| hasher.hash_one(process));
        self.requests.sort_unstable();
        self
    }

    fn spent(&self) -> impl Iterator<Item = Spent> + '_ {
        let by_processes = self.processes.iter().flat_map(|process| {
            process.spent.into_iter().chain(process.spill.map(|(spent, _)| spent))
        });
        by_processes.chain(self.requests.iter().map(|request| request.spent))
    }

    fn records(&self) -> impl Iterator<Item = &Record> + '_ {
        self.store.record.iter().chain(self.processes.iter().filter_map(|process| process.sent.as_deref()))
    }

    fn fences(&self) -> impl Iterator<Item = u8> + '_ {
        let of_record = |record: &Record| {
            [record.token_fence, record.max_fence, record.attempt.map_or(0, |attempt| attempt.fence)]
        };
        [self.store.lease.fence]
            .into_iter()
            .chain(self.records().flat_map(of_record))
            .chain(self.processes.iter().map(|process| process.fence))
            .chain(self.processes.iter().filter_map(|process| Some(process.before?.fence)))
            .chain(self.spent().map(|spent| spent.fence))
    }

    pub(crate) fn attempts(&self) -> impl Iterator<Item = u8> + '_ {
        let of_record = |record: &Record| {
            record.obtained_by.into_iter().chain(record.attempt.map(|attempt| attempt.id)).collect::<Vec<_>>()
        };
        let before = self.processes.iter().filter_map(|process| Some(process.before?.id));
        self.records().flat_map(of_record).chain(self.spent().map(|spent| spent.attempt)).chain(before)
    }

    fn rename(&mut self, fence: impl Fn(u8) -> u8, attempt: impl Fn(u8) -> u8) {
        let spent = |spent: &mut Spent| {
            spent.fence = fence(spent.fence);
            spent.attempt = attempt(spent.attempt);
        };
        self.store.lease.fence = fence(self.store.lease.fence);
        let sent = self.processes.iter_mut().filter_map(|process| process.sent.as_deref_mut());
        for record in self.store.record.iter_mut().chain(sent) {
            record.token_fence = fence(record.token_fence);
            record.max_fence = fence(record.max_fence);
            record.obtained_by = record.obtained_by.map(&attempt);
            if let Some(marker) = &mut record.attempt {
                (marker.id, marker.fence) = (attempt(marker.id), fence(marker.fence));
            }
        }
        for process in &mut self.processes {
            process.fence = fence(process.fence);
            if let Some(marker) = &mut process.before {
                (marker.id, marker.fence) = (attempt(marker.id), fence(marker.fence));
            }
            process.spent.iter_mut().for_each(spent);
            process.spill.iter_mut().for_each(|(spilled, _)| spent(spilled));
        }
        self.requests.iter_mut().for_each(|request| spent(&mut request.spent));
    }

    fn forget_tokens(&mut self) {
        let mut matters = vec![false; self.provider.tokens.len()];
        self.each_token(|token| matters[usize::from(*token)] = true);
        let connects = self.store.connects;
        for (n, token) in self.provider.tokens.iter().enumerate() {
            let parent = token.parent.filter(|parent| matters[usize::from(*parent)]);
            matters[n] |= token.life == Life::Live && token.grant == connects;
            matters[n] |= parent.is_some_and(|parent| self.provider.of(parent).life == Life::Spent);
        }
        let mut names = vec![0; matters.len()];
        let mut kept = Vec::with_capacity(matters.len());
        for (n, token) in self.provider.tokens.iter().enumerate().filter(|(n, _)| matters[*n]) {
            names[n] = u8::try_from(kept.len()).unwrap_or(u8::MAX);
            let lives_on = |parent: &Token| {
                matters[usize::from(*parent)] && self.provider.of(*parent).life == Life::Spent
            };
            let parent = token.parent.filter(lives_on).map(|parent| names[usize::from(parent)]);
            kept.push(Issued { parent, ..*token });
        }
        self.provider.tokens = kept;
        self.each_token(|token| *token = names[usize::from(*token)]);
    }

    fn each_token(&mut self, mut visit: impl FnMut(&mut Token)) {
        let sent = self.processes.iter_mut().filter_map(|process| process.sent.as_deref_mut());
        for record in self.store.record.iter_mut().chain(sent) {
            visit(&mut record.current);
            record.alternates.iter_mut().for_each(&mut visit);
        }
        for Process { at, marked, spill, .. } in &mut self.processes {
            if let At::Keep(token) | At::Write(token, _) = at {
                visit(token);
            }
            marked.iter_mut().for_each(&mut visit);
            spill.iter_mut().for_each(|(_, token)| visit(token));
        }
        self.requests.iter_mut().for_each(|request| visit(&mut request.token));
    }
}

/// For each name its rank; zero stays zero.
fn ranks(names: impl Iterator<Item = u8>) -> [u8; 64] {
    let present = names.fold(0u64, |present, name| present | 1 << name) & !1;
    std::array::from_fn(|name| {
        let below = present & ((1 << name) | ((1 << name) - 1));
        u8::try_from(below.count_ones()).unwrap_or(u8::MAX)
    })
}
