use std::collections::BTreeMap;

use vault_core::store::ConnectionStatus;

use super::facts::Facts;
use crate::history::{History, What};
use crate::provider::Mode;

/// What happened at the providers of one mode.
#[derive(Debug, Default, Clone)]
#[non_exhaustive]
pub struct PerMode {
    /// Refresh requests that left a process.
    pub sent: u64,
    /// Generations stored.
    pub refreshed: u64,
    /// Tokens handed out.
    pub handed_out: u64,
    /// Connections made.
    pub connected: u64,
    /// Grants that ended marked, by why that could not be avoided.
    pub lost: BTreeMap<&'static str, u64>,
}

/// What happened how often.
#[derive(Debug, Default, Clone)]
#[non_exhaustive]
pub struct Tally {
    /// By mode.
    pub modes: BTreeMap<Mode, PerMode>,
    /// What the run must have reached to be worth anything.
    pub reached: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn reach(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    pub(super) fn lose(&mut self, mode: Mode, why: &'static str) {
        *self.modes.entry(mode).or_default().lost.entry(why).or_default() += 1;
    }

    pub(super) fn count(&mut self, history: &History, facts: &Facts, modes: &[Mode]) {
        let mut standing = BTreeMap::new();
        for entry in history.entries() {
            let Some(conn) = entry.conn else { continue };
            let of_mode = self.modes.entry(modes[conn]).or_default();
            match &entry.what {
                What::HandedOut { .. } => of_mode.handed_out += 1,
                What::Sent { call, spent } => {
                    of_mode.sent += 1;
                    let issued = facts.requests.get(call).is_some_and(|request| request.issued.is_some());
                    let stored = standing.get(&conn).is_some_and(|at: &crate::history::Standing| {
                        at.tag.grant == spent.grant && at.tag.refresh != spent.refresh
                    });
                    if stored && issued {
                        self.reach("alternate promotion");
                    }
                }
                What::Wrote { before, after, changed, .. } => {
                    standing.insert(conn, *after);
                    let same = before.filter(|before| before.incarnation == after.incarnation);
                    match same {
                        None => of_mode.connected += 1,
                        Some(before) if before.generation < after.generation => of_mode.refreshed += 1,
                        Some(before) => {
                            let active = ConnectionStatus::Active;
                            if *changed && before.status == active && after.status == active {
                                self.reach("sibling");
                            }
                        }
                    }
                }
                What::Leased { lapsed: true, .. } => self.reach("takeover"),
                _ => {}
            }
        }
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (mode, theirs) in &other.modes {
            let ours = self.modes.entry(*mode).or_default();
            ours.sent += theirs.sent;
            ours.refreshed += theirs.refreshed;
            ours.handed_out += theirs.handed_out;
            ours.connected += theirs.connected;
            for (why, count) in &theirs.lost {
                *ours.lost.entry(why).or_default() += count;
            }
        }
        for (what, count) in &other.reached {
            *self.reached.entry(what).or_default() += count;
        }
    }
}
