use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Fault, History, Pid, What};
use crate::provider::Tag;

/// What became of one request to a provider.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) pid: Option<Pid>,
    pub(super) sent: Option<usize>,
    pub(super) spent: Option<Tag>,
    pub(super) issued: Option<(usize, Tag)>,
    pub(super) answered: Option<(usize, Option<Fault>)>,
    pub(super) dropped: bool,
    pub(super) garbled: bool,
}

/// Look-ups over a history, by index of its entries.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) requests: BTreeMap<u64, Request>,
    /// When each reply was stored first.
    pub(super) stored: BTreeMap<Tag, usize>,
    pub(super) killed: BTreeMap<Pid, usize>,
    /// From, until, and whether the monotonic clock stood still.
    pub(super) pauses: BTreeMap<Pid, Vec<(Duration, Duration, bool)>>,
    /// Every grant of a lease.
    pub(super) leased: BTreeMap<(Pid, usize), Vec<usize>>,
    pub(super) asked: BTreeMap<u64, usize>,
    /// Whose tokens each process put aside, and when.
    pub(super) spilled: Vec<(Pid, usize, usize)>,
    pub(super) calm: usize,
}

impl Facts {
    pub(super) fn gather(history: &History) -> Self {
        let mut facts = Self { calm: usize::MAX, ..Self::default() };
        for (index, entry) in history.entries().iter().enumerate() {
            match (&entry.what, entry.pid) {
                (What::Sent { call, spent }, pid) => {
                    let request = facts.requests.entry(*call).or_default();
                    (request.pid, request.sent, request.spent) = (pid, Some(index), Some(*spent));
                }
                (What::Issued { call, issued, .. }, _) => {
                    facts.requests.entry(*call).or_default().issued = Some((index, *issued));
                }
                (What::Answered { call, fault }, _) => {
                    if let Some(request) = facts.requests.get_mut(call) {
                        request.answered = Some((index, *fault));
                    }
                }
                (What::Dropped { call }, _) => {
                    if let Some(request) = facts.requests.get_mut(call) {
                        request.dropped = true;
                    }
                }
                (What::Garbled { call }, _) => {
                    if let Some(request) = facts.requests.get_mut(call) {
                        request.garbled = true;
                    }
                }
                (What::Wrote { after, .. }, _) => {
                    facts.stored.entry(after.tag).or_insert(index);
                }
                (What::Killed, Some(pid)) => {
                    facts.killed.insert(pid, index);
                }
                (What::Paused { frozen, span }, Some(pid)) => {
                    let pause = (entry.at, entry.at + *span, *frozen);
                    facts.pauses.entry(pid).or_default().push(pause);
                }
                (What::Leased { .. }, Some(pid)) => {
                    if let Some(conn) = entry.conn {
                        facts.leased.entry((pid, conn)).or_default().push(index);
                    }
                }
                (What::Asked { op, .. }, _) => {
                    facts.asked.insert(*op, index);
                }
                (What::Spilled, Some(pid)) => {
                    facts.spilled.extend(entry.conn.map(|conn| (pid, conn, index)));
                }
                (What::Calm, _) => facts.calm = index,
                _ => {}
            }
        }
        facts
    }

    /// The latest grant of the lease of `conn` to `pid` before `index`.
    pub(super) fn leased_before(&self, pid: Pid, conn: usize, index: usize) -> Option<usize> {
        self.leased.get(&(pid, conn))?.iter().copied().rfind(|leased| *leased < index)
    }

    pub(super) fn was_frozen(&self, pid: Pid, from: Duration, until: Duration) -> bool {
        let pauses = self.pauses.get(&pid).map_or(&[][..], Vec::as_slice);
        pauses.iter().any(|(start, end, frozen)| *frozen && *start <= until && *end >= from)
    }

    /// How long `pid` stood still between the two.
    pub(super) fn paused(&self, pid: Pid, from: Duration, until: Duration) -> Duration {
        let pauses = self.pauses.get(&pid).map_or(&[][..], Vec::as_slice);
        pauses.iter().map(|(start, end, _)| (*end).min(until).saturating_sub((*start).max(from))).sum()
    }
}
