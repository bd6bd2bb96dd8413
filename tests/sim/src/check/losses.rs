//! Every connection that came to rest marked must have lost its grant for a reason that no client can avoid.

use std::collections::BTreeMap;

use vault_core::ReauthReason;
use vault_core::store::ConnectionStatus;

use super::Verdict;
use super::facts::{Facts, Request};
use crate::history::{History, Pid, Standing, Truth, What};
use crate::provider::{Ended, LEEWAY, Mode, Refusal};

/// A connection that was marked, and how things stood then.
struct Mark<'a> {
    index: usize,
    reason: ReauthReason,
    standing: Standing,
    truth: &'a Truth,
}

pub(super) fn check(history: &History, facts: &Facts, modes: &[Mode], verdict: &mut Verdict) {
    let mut marks: BTreeMap<usize, Mark<'_>> = BTreeMap::new();
    for (index, entry) in history.entries().iter().enumerate() {
        let Some(conn) = entry.conn else { continue };
        let mut ended = None;
        match &entry.what {
            What::Wrote { before, after, truth, .. } => {
                let same = before.is_some_and(|before| before.incarnation == after.incarnation);
                match after.status {
                    ConnectionStatus::NeedsReauthorization(reason) => {
                        let mark = Mark { index, reason, standing: *after, truth };
                        marks.entry(conn).or_insert(mark);
                    }
                    _ if same => drop(marks.remove(&conn)),
                    _ => ended = marks.remove(&conn),
                }
            }
            What::Deleted { .. } | What::AtRest { .. } => ended = marks.remove(&conn),
            _ => {}
        }
        if let Some(mark) = ended {
            let at_end = matches!(entry.what, What::AtRest { .. });
            let judge = Judge { history, facts, mode: modes[conn], until: index, at_end };
            match judge.excuse(&mark) {
                Ok(excuse) => verdict.tally.lose(modes[conn], excuse),
                Err((rule, why)) => verdict.violation(rule, Some(conn), mark.index, why),
            }
        }
    }
}

type Unexcused = (&'static str, String);

struct Judge<'a> {
    history: &'a History,
    facts: &'a Facts,
    mode: Mode,
    /// When the connection ended, was connected anew, or the run ended.
    until: usize,
    at_end: bool,
}

impl Judge<'_> {
    /// Why nothing else could have been done; an error if it could.
    fn excuse(&self, mark: &Mark<'_>) -> Result<&'static str, Unexcused> {
        if mark.truth.alive {
            return Err(("R5", format!("marked {:?}, and the stored token works", mark.reason)));
        }
        let mut excuse = None;
        for serial in &mark.truth.unspent {
            for request in self.replies(mark.standing.tag.grant, *serial) {
                if self.is_surpassed(request, mark.index) {
                    continue;
                }
                let why = self.lost(request).ok_or_else(|| {
                    ("R5", format!("marked {:?}, and token r{serial} was received and works", mark.reason))
                })?;
                let late = self.mode.has_leeway() && !self.was_asked_again(request);
                excuse.get_or_insert(if late { "nobody asked again in time" } else { why });
            }
        }
        match (mark.truth.ended, mark.reason) {
            (Some(Ended::User | Ended::App), ReauthReason::GrantRevoked | ReauthReason::LostRotation) => {
                Ok("the grant was revoked")
            }
            (Some(Ended::Reuse), reason) => self.reuse(mark, reason),
            (None, ReauthReason::LostRotation) => {
                excuse.ok_or_else(|| ("R5", "marked lost, and no token of the grant is missing".to_owned()))
            }
            (ended, reason) => Err(("R5", format!("marked {reason:?}, and in truth {ended:?}, {excuse:?}"))),
        }
    }

    fn replies(&self, grant: usize, serial: usize) -> impl Iterator<Item = &Request> {
        self.facts.requests.values().filter(move |request| {
            request.issued.is_some_and(|(_, tag)| (tag.grant, tag.refresh) == (grant, serial))
        })
    }

    /// Whether the grant brought tokens for another refresh token after this one was received: then that one was known
    /// to live, and this one, its sibling, was given up.
    fn is_surpassed(&self, reply: &Request, before: usize) -> bool {
        let (Some((_, tag)), Some((received, _))) = (reply.issued, reply.answered) else { return false };
        self.facts.requests.values().any(|other| {
            let spent =
                other.spent.is_some_and(|spent| spent.grant == tag.grant && spent.refresh != tag.refresh);
            let stored = other.issued.and_then(|(issued, new)| Some((issued, *self.facts.stored.get(&new)?)));
            spent && stored.is_some_and(|(issued, stored)| received < issued && stored < before)
        })
    }

    /// Whether what was spent for it was sent once more while the provider would still have answered.
    fn was_asked_again(&self, request: &Request) -> bool {
        let at = |index: usize| self.history.entries()[index].at;
        let Some(first) = request.issued.map(|(index, _)| at(index)) else { return false };
        self.facts.requests.values().any(|other| {
            let again = other.sent.map(at).is_some_and(|sent| sent > first && sent < first + LEEWAY);
            again && other.spent == request.spent
        })
    }

    /// How a reply went missing, if it did.
    fn lost(&self, request: &Request) -> Option<&'static str> {
        let (_, tag) = request.issued?;
        if self.facts.stored.get(&tag).is_some_and(|stored| *stored < self.until) {
            return None;
        }
        let Some((answered, fault)) = request.answered else {
            // Dropped: by the vault's deadline, or with its process.
            return Some(if self.killed(request.pid).is_some() {
                "died with the process"
            } else {
                "reply too late"
            });
        };
        if fault.is_some() || request.garbled {
            return Some("reply lost");
        }
        let spilled = self.facts.spilled.iter().any(|(pid, conn, index)| {
            Some(*pid) == request.pid && *conn == tag.conn && *index > answered && *index < self.until
        });
        let killed = self.killed(request.pid).is_some_and(|killed| answered < killed && killed < self.until);
        if killed && !spilled {
            return Some("died with the process");
        }
        // Somebody still has it, and will write it: but not after hours of calm.
        (!self.at_end).then_some("still held when the user came back")
    }

    fn killed(&self, pid: Option<Pid>) -> Option<usize> {
        self.facts.killed.get(&pid?).copied()
    }

    /// A spent token came back, which ended the family.
    fn reuse(&self, mark: &Mark<'_>, reason: ReauthReason) -> Result<&'static str, Unexcused> {
        let wrong = |why: &str| Err(("R1", format!("{:?}: {why}", self.mode)));
        let grant = mark.standing.tag.grant;
        let fatal = self.history.entries()[..=mark.index].iter().find_map(|entry| match entry.what {
            What::Refused { call, spent, why: Refusal::FamilyKilled } if spent.grant == grant => {
                Some((call, spent))
            }
            _ => None,
        });
        let Some((second, spent)) = fatal else { return wrong("nothing ended the family") };
        // A late reply may have been stored after another process's send had ended the family. To its holder this looks
        // as if the provider had ended the grant, which it has.
        if reason != ReauthReason::LostRotation
            && (reason != ReauthReason::GrantRevoked || spent.refresh == mark.standing.tag.refresh)
        {
            return wrong("the reason is not the true one");
        }
        let Some(second) = self.facts.requests.get(&second) else { return wrong("nobody sent it") };
        let first = self.facts.requests.values().find(|request| {
            let same = request.spent.is_some_and(|tag| (tag.grant, tag.refresh) == (grant, spent.refresh));
            same && request.issued.is_some()
        });
        let Some(first) = first else { return wrong("it was never spent") };
        if let Some(why) = self.lost(first) {
            return Ok(why);
        }
        let (Some(sent), Some(pid)) = (second.sent, second.pid) else { return wrong("nobody sent it") };
        let leased = self.facts.leased_before(pid, mark.standing.tag.conn, sent).unwrap_or(sent);
        let entries = self.history.entries();
        let stored = first.issued.and_then(|(_, tag)| self.facts.stored.get(&tag));
        if stored.is_some_and(|stored| *stored > leased) {
            return Ok("two sends after a lapse");
        }
        if self.facts.was_frozen(pid, entries[leased].at, entries[sent].at) {
            return Ok("a suspended process sent late");
        }
        wrong("a token was sent again after its successor was stored")
    }
}
