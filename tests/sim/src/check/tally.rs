use std::collections::BTreeMap;

use vault_core::event::Event;

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

    pub(super) fn count(&mut self, history: &History, modes: &[Mode]) {
        for entry in history.entries() {
            let Some(conn) = entry.conn else { continue };
            let of_mode = self.modes.entry(modes[conn]).or_default();
            match &entry.what {
                What::HandedOut { .. } => of_mode.handed_out += 1,
                What::Sent { .. } => of_mode.sent += 1,
                What::Wrote { before, after, .. } => {
                    let same = before.filter(|before| before.incarnation == after.incarnation);
                    match same {
                        None => of_mode.connected += 1,
                        Some(before) => {
                            of_mode.refreshed += after.generation - before.generation.min(after.generation)
                        }
                    }
                }
                What::Leased { lapsed: true, .. } => self.reach("lease takeover"),
                What::Told(event) => self.reach(match event {
                    Event::AlternateTried { .. } => "alternate promotion",
                    Event::Healed { .. } => "heal",
                    Event::OrphanedTokens { .. } => "orphan",
                    Event::PersistPending { .. } => "persist pending",
                    Event::RefreshTakenOver { .. } => "takeover",
                    Event::SiblingKept { .. } => "sibling",
                    Event::SpillImported { .. } => "spill import",
                    _ => continue,
                }),
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
