//! Judges a history: what must never happen, what must have happened in the end, and what was lost and why.
//!
//! | rule | violated when |
//! |---|---|
//! | R1 | a refresh request leaves without a live lease that covers it, or while the same token is under way, or with a token whose successor was stored before the lease was taken |
//! | R2 | a generation falls within an incarnation |
//! | R4 | an incarnation comes back after another, or after a disconnect |
//! | R5 (and R3) | a connection rests marked although its stored token works, or although a working one was received and nothing excuses its loss; the reason given is not the true one |
//! | R6 | a token is stored for or handed to somebody else than it was issued to, or with fewer scopes than asked for |
//! | R7 | a token is handed out before it is stored or reported as pending |
//! | R8 | a secret shows |
//! | R9 | a token is handed out to a read that began after its grant was disconnected or replaced |
//! | L1 | in the end a connection is overdue, or a read neither brings a token nor wants the user |
//! | L2 | in the end a lease is held |
//! | L3 | in the end a revocation is owed |
//! | L4 | a request was not answered in its time |

mod facts;
mod losses;
mod safety;
mod tally;

use std::fmt;

use self::facts::Facts;
pub use self::tally::{PerMode, Tally};
use crate::history::History;
use crate::provider::Mode;

/// Something that must not be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// Of which connection.
    pub conn: Option<usize>,
    /// Which entry of the history shows it.
    pub index: usize,
    /// In words.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (connection {:?}, entry {})", self.rule, self.why, self.conn, self.index)
    }
}

/// All that is to be said about a history.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verdict {
    /// What must not be.
    pub violations: Vec<Violation>,
    /// What happened how often.
    pub tally: Tally,
}

/// Judges `history`; `modes` says how the provider of each connection behaves.
#[must_use]
pub fn check(history: &History, modes: &[Mode]) -> Verdict {
    let facts = Facts::gather(history);
    let mut verdict = Verdict::default();
    verdict.tally.count(history, modes);
    safety::check(history, &facts, modes, &mut verdict);
    losses::check(history, &facts, modes, &mut verdict);
    verdict
}

impl Verdict {
    pub(crate) fn violation(
        &mut self,
        rule: &'static str,
        conn: Option<usize>,
        index: usize,
        why: impl Into<String>,
    ) {
        self.violations.push(Violation { rule, conn, index, why: why.into() });
    }
}
