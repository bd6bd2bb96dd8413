use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vault_core::ErrorKind;
use vault_core::event::Event;
use vault_core::id::Incarnation;

use super::Verdict;
use super::facts::Facts;
use crate::history::{Entry, History, Pid, Standing, What};
use crate::provider::{Mode, Tag};

/// The vault's own limits, by default.
const HTTP_TIMEOUT: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_secs(30);
/// What slow stores may add to it in the storm.
const SLOW: Duration = Duration::from_secs(400);

/// All rules but the one about lost tokens.
pub(super) fn check(history: &History, facts: &Facts, modes: &[Mode], verdict: &mut Verdict) {
    let mut state = State::default();
    for (index, entry) in history.entries().iter().enumerate() {
        state.sends(history, facts, modes, index, entry, verdict);
        state.writes(index, entry, verdict);
        state.answers(history, facts, index, entry, verdict);
        at_rest(index, entry, verdict);
    }
    for (conn, index) in state.owed.values() {
        verdict.violation("L3", Some(*conn), *index, "the revocation never reached the provider");
    }
    for (op, index) in &facts.asked {
        if !state.answered.contains(op) {
            let conn = history.entries()[*index].conn;
            verdict.violation("L4", conn, *index, format!("request {op} was never answered"));
        }
    }
}

#[derive(Default)]
struct State {
    /// The lease that each connection has: whose, and until when.
    leases: BTreeMap<usize, (Pid, Duration)>,
    under_way: BTreeMap<u64, (Pid, Tag)>,
    retired: BTreeMap<(usize, Incarnation), usize>,
    /// Since when no read may bring tokens of that grant.
    out_of_reach: BTreeMap<usize, usize>,
    pending: BTreeSet<(Pid, usize, u64)>,
    stored: BTreeSet<Tag>,
    /// Grants whose revocation is owed, of which connection, and since when.
    owed: BTreeMap<usize, (usize, usize)>,
    answered: BTreeSet<u64>,
}

impl State {
    fn sends(
        &mut self,
        history: &History,
        facts: &Facts,
        modes: &[Mode],
        index: usize,
        entry: &Entry,
        verdict: &mut Verdict,
    ) {
        let (Some(pid), conn) = (entry.pid, entry.conn) else { return };
        match (&entry.what, conn) {
            (What::Leased { until, .. } | What::Renewed { until, .. }, Some(conn)) => {
                self.leases.insert(conn, (pid, *until));
            }
            // A lease that went with its connection was not lost: what it spends now is nobody's any more.
            (What::Released { .. }, Some(conn)) => {
                self.leases.remove(&conn);
            }
            (What::Answered { call, .. } | What::Dropped { call }, _) => {
                self.under_way.remove(call);
            }
            (What::Killed, _) => self.under_way.retain(|_, (sender, _)| *sender != pid),
            (What::Sent { call, spent }, Some(conn)) => {
                let mut wrong = |why: &str| verdict.violation("R1", Some(conn), index, why);
                // Two flights of one process, one of which slept through its lease, are as two processes.
                let twice = self.under_way.values().any(|(sender, tag)| (*sender, *tag) == (pid, *spent));
                if twice && !facts.was_frozen(pid, entry.at.saturating_sub(WAIT * 10), entry.at) {
                    wrong("the same process sends the same token twice at once");
                }
                self.under_way.insert(*call, (pid, *spent));
                let Some(leased) = facts.leased_before(pid, conn, index) else {
                    return wrong("a process sends that never had the lease");
                };
                let since = history.entries()[leased].at;
                if facts.was_frozen(pid, since, entry.at) {
                    return;
                }
                match self.leases.get(&conn) {
                    Some((holder, until)) if *holder == pid && *until > entry.at => {
                        if *until < entry.at + HTTP_TIMEOUT {
                            wrong("the lease may end before the request does");
                        }
                    }
                    _ => wrong("a process sends that has lost the lease"),
                }
                if modes[conn] != Mode::Static && is_stale(facts, *spent, leased) {
                    wrong("a token is sent whose successor was stored before the lease was taken");
                }
            }
            _ => {}
        }
    }

    fn writes(&mut self, index: usize, entry: &Entry, verdict: &mut Verdict) {
        let Some(conn) = entry.conn else { return };
        match &entry.what {
            What::Wrote { before, after, .. } => {
                let mut wrong = |rule, why: &str| verdict.violation(rule, Some(conn), index, why);
                match before {
                    Some(before) if before.incarnation != after.incarnation => {
                        self.retire(conn, index, before)
                    }
                    Some(before) if after.generation < before.generation => {
                        wrong("R2", "the generation falls");
                    }
                    _ => {}
                }
                if self.retired.contains_key(&(conn, after.incarnation)) {
                    wrong("R4", "an incarnation is written that is gone");
                }
                if after.tag.conn != conn {
                    wrong("R6", "somebody else's token is stored");
                }
                self.stored.insert(after.tag);
            }
            What::Deleted { before, owed } => {
                self.retire(conn, index, before);
                if *owed {
                    self.owed.insert(before.tag.grant, (conn, index));
                }
            }
            What::Revoked { grant, .. } => {
                self.owed.remove(grant);
            }
            What::Told(Event::RevocationAbandoned { .. }) => self.owed.retain(|_, (of, _)| *of != conn),
            _ => {}
        }
    }

    fn retire(&mut self, conn: usize, index: usize, gone: &Standing) {
        self.retired.insert((conn, gone.incarnation), index);
        self.out_of_reach.entry(gone.tag.grant).or_insert(index);
    }

    fn answers(
        &mut self,
        history: &History,
        facts: &Facts,
        index: usize,
        entry: &Entry,
        verdict: &mut Verdict,
    ) {
        let conn = entry.conn;
        match &entry.what {
            What::Leaked { place } => verdict.violation("R8", conn, index, format!("a secret in {place}")),
            What::Told(Event::PersistPending { generation, .. }) => {
                if let (Some(pid), Some(conn)) = (entry.pid, conn) {
                    self.pending.insert((pid, conn, *generation));
                }
            }
            What::HandedOut { op, tag, generation, scopes, asked_write, grant_writes } => {
                let mut wrong = |rule, why: &str| verdict.violation(rule, conn, index, why);
                if Some(tag.conn) != conn {
                    wrong("R6", "a token of somebody else is handed out");
                }
                if (*asked_write || *scopes) && !grant_writes {
                    wrong("R6", "a token is handed out that lacks scopes");
                }
                let told = entry
                    .pid
                    .zip(conn)
                    .is_some_and(|(pid, conn)| self.pending.contains(&(pid, conn, *generation)));
                if !self.stored.contains(tag) && !told {
                    wrong("R7", "a token is handed out that is neither stored nor reported as pending");
                }
                let gone = self.out_of_reach.get(&tag.grant);
                if gone.zip(facts.asked.get(op)).is_some_and(|(gone, asked)| gone < asked) {
                    wrong("R9", "a token is handed out whose grant was disconnected before");
                }
                self.settled(history, facts, *op, index, entry, verdict);
            }
            What::Done { op, .. } | What::Failed { op, .. } => {
                self.settled(history, facts, *op, index, entry, verdict);
            }
            What::Gone { op } => {
                self.answered.insert(*op);
            }
            _ => {}
        }
    }

    /// An answer came: in time, and in calm weather a sensible one.
    fn settled(
        &mut self,
        history: &History,
        facts: &Facts,
        op: u64,
        index: usize,
        entry: &Entry,
        verdict: &mut Verdict,
    ) {
        self.answered.insert(op);
        let Some(asked) = facts.asked.get(&op) else { return };
        let (since, calm) = (&history.entries()[*asked], *asked > facts.calm);
        let What::Asked { what: "token" | "fresh" | "reject", .. } = since.what else { return };
        let slow = if calm { Duration::from_secs(2) } else { SLOW };
        let paused = entry.pid.map_or(Duration::ZERO, |pid| facts.paused(pid, since.at, entry.at));
        if entry.at - since.at > WAIT + slow + paused {
            verdict.violation("L4", entry.conn, index, format!("request {op} was answered too late"));
        }
        if let (true, What::Failed { kind, .. }) = (calm, &entry.what)
            && !matches!(
                kind,
                ErrorKind::NeedsReauthorization { .. }
                    | ErrorKind::NotConnected
                    | ErrorKind::MissingScopes { .. }
            )
        {
            verdict.violation("L1", entry.conn, index, format!("a read in calm weather fails: {kind:?}"));
        }
    }
}

/// Whether a reply for `spent` was stored before `leased`.
fn is_stale(facts: &Facts, spent: Tag, leased: usize) -> bool {
    facts.requests.values().any(|request| {
        let same =
            request.spent.is_some_and(|other| (other.grant, other.refresh) == (spent.grant, spent.refresh));
        let stored = request.issued.and_then(|(_, tag)| facts.stored.get(&tag));
        same && stored.is_some_and(|stored| *stored < leased)
    })
}

fn at_rest(index: usize, entry: &Entry, verdict: &mut Verdict) {
    if let What::AtRest { leased, overdue, owed, spilled, .. } = entry.what {
        let mut wrong = |rule, why: &str| verdict.violation(rule, entry.conn, index, why);
        if overdue {
            wrong("L1", "a connection is overdue");
        }
        if spilled > 0 {
            wrong("L1", "tokens that were put aside are still there");
        }
        if leased {
            wrong("L2", "a lease is held at rest");
        }
        if owed > 0 {
            wrong("L3", "a revocation is still owed");
        }
    }
}
