//! What happened, in order. The checker reads nothing else.

use std::fmt;
use std::time::Duration;

use vault_core::ErrorKind;
use vault_core::event::Event;
use vault_core::id::{AttemptId, Incarnation};
use vault_core::store::ConnectionStatus;

use crate::provider::{Ended, Refusal, Tag};

/// A process of the application: which of them, and how often it was started before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pid {
    /// Which.
    pub(crate) slot: usize,
    /// Which start of it.
    pub(crate) life: u32,
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}.{}", self.slot, self.life)
    }
}

/// One entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// True time since the start.
    pub(crate) at: Duration,
    /// Who did it, or had it done to it.
    pub(crate) pid: Option<Pid>,
    /// Which connection it concerns.
    pub(crate) conn: Option<usize>,
    /// What.
    pub(crate) what: What,
}

/// Where a connection stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Which successful connect.
    pub(crate) incarnation: Incarnation,
    /// Which token set.
    pub(crate) generation: u64,
    /// Whether it works.
    pub(crate) status: ConnectionStatus,
    /// The access token, and so the reply that is stored.
    pub(crate) tag: Tag,
}

/// What the provider knows when a record is written, and no client can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Truth {
    /// Whether the refresh token of the stored reply would work now.
    pub(crate) alive: bool,
    /// The grant's refresh tokens that work and were never used.
    pub(crate) unspent: Vec<usize>,
    /// Whether and why the grant ended.
    pub(crate) ended: Option<Ended>,
}

/// What a fault does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It never arrives, and the caller knows.
    NotSent,
    /// It never arrives, and the caller cannot know.
    Lost,
    /// It takes effect, and the answer is lost.
    AnswerLost,
}

/// What can happen.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "some of it only who reads a history wants to know")]
pub(crate) enum What {
    /// The vault calls a store or a provider.
    Called { call: u64, what: &'static str },
    /// The call took effect; nobody knows yet.
    Acted { call: u64, outcome: String },
    /// The caller has its answer, or an error instead.
    Answered { call: u64, fault: Option<Fault> },
    /// The caller gave up.
    Dropped { call: u64 },
    /// A record was written.
    Wrote { before: Option<Standing>, after: Standing, truth: Truth, changed: bool },
    /// A record was deleted.
    Deleted { before: Standing, owed: bool },
    /// Tokens were put aside.
    Spilled,
    /// A lease was granted.
    Leased { holder: AttemptId, fence: u64, until: Duration, lapsed: bool },
    /// A lease was renewed.
    Renewed { holder: AttemptId, until: Duration },
    /// A lease was given back.
    Released { holder: AttemptId },
    /// A refresh request leaves the process.
    Sent { call: u64, spent: Tag },
    /// The provider issued tokens: for a refresh token, or else for a code.
    Issued { call: u64, spent: Option<Tag>, issued: Tag },
    /// The provider refused a refresh token.
    Refused { call: u64, spent: Tag, why: Refusal },
    /// The provider did it and answered with a server error.
    Garbled { call: u64 },
    /// The provider took a revocation.
    Revoked { call: u64, grant: usize },
    /// The user took the app's access away at the provider.
    Withdrawn { grant: usize },
    /// The application asks the vault for something.
    Asked { op: u64, what: &'static str },
    /// The vault gave out a token.
    HandedOut { op: u64, tag: Tag, generation: u64, scopes: bool, asked_write: bool, grant_writes: bool },
    /// The vault answered.
    Done { op: u64, outcome: String },
    /// The vault refused.
    Failed { op: u64, kind: ErrorKind },
    /// Nobody waits for that any more.
    Gone { op: u64 },
    /// The vault told the application.
    Told(Event),
    /// A secret stood where none may stand.
    Leaked { place: &'static str },
    /// A process was started, or came back to life.
    Started,
    /// A process was killed.
    Killed,
    /// A process stands still for a while; its monotonic clock too, when frozen.
    Paused { frozen: bool, span: Duration },
    /// It goes on.
    Resumed,
    /// Its wall clock was set.
    ClockSet { by_secs: i64 },
    /// The store or a provider is away for a while.
    Outage { of: &'static str, span: Duration },
    /// No more faults from here on.
    Calm,
    /// How a connection stands at the very end.
    AtRest { standing: Option<Standing>, leased: bool, overdue: bool, owed: usize, spilled: usize },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.3}s", self.at.as_secs_f64())?;
        match self.pid {
            Some(pid) => write!(f, " {pid:?}")?,
            None => write!(f, "     ")?,
        }
        match self.conn {
            Some(conn) => write!(f, " c{conn:<2} ")?,
            None => write!(f, "     ")?,
        }
        write!(f, "{:?}", self.what)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<Entry>,
}

impl History {
    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// In order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Equal for equal histories.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for entry in &self.entries {
            // Writing to a hash cannot fail.
            let _ = fmt::Write::write_fmt(&mut hash, format_args!("{entry}\n"));
        }
        hash.0
    }

    /// The last lines before `index` that concern `conn`, or everybody.
    #[must_use]
    pub fn excerpt(&self, conn: Option<usize>, index: usize, lines: usize) -> Vec<String> {
        let concerns = |entry: &&Entry| conn.is_none() || entry.conn.is_none() || entry.conn == conn;
        let until = self.entries.len().min(index + 1);
        let mut last: Vec<_> =
            self.entries[..until].iter().rev().filter(concerns).take(lines).map(Entry::to_string).collect();
        last.reverse();
        last
    }
}

struct Fnv(u64);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
