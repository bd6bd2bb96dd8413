//! Checking one model, and the line of the table that it gives.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, CheckerBuilder, HasDiscoveries, Model};

use crate::model::RefreshModel;
use crate::provider::Mode;
use crate::rule::Rule;
use crate::state::{Process, Record, Request};

/// Something that a run must have seen, where it can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the table shows all of them")]
pub enum Note {
    /// A process went on where another had left a marker.
    Takeover,
    /// Tokens were kept beside others that were issued for the same refresh token.
    Sibling,
    /// An alternate became the current refresh token.
    Promotion,
    /// New tokens arrived after the connection was marked.
    Heal,
    /// Spilled tokens were written.
    Import,
    /// New tokens came for a connection that was gone.
    Orphan,
    /// New tokens came after newer ones.
    Discarded,
    /// A lease was too short to send under.
    GateShut,
    /// The grant ended because a spent token was sent again, after its outcome was lost.
    ReusedAfterLoss,
    /// The same, after a lease lapsed under a holder that had sent or was about to.
    ReusedAfterLapse,
}

pub(crate) const NOTES: usize = Note::ALL.len();

impl Note {
    /// In the table's order.
    pub const ALL: [Self; 10] = [
        Self::Takeover,
        Self::Sibling,
        Self::Promotion,
        Self::Heal,
        Self::Import,
        Self::Orphan,
        Self::Discarded,
        Self::GateShut,
        Self::ReusedAfterLoss,
        Self::ReusedAfterLapse,
    ];

    /// As the table names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Takeover => "takeover",
            Self::Sibling => "sibling",
            Self::Promotion => "promotion",
            Self::Heal => "heal",
            Self::Import => "import",
            Self::Orphan => "orphan",
            Self::Discarded => "discard",
            Self::GateShut => "gate",
            Self::ReusedAfterLoss => "re-loss",
            Self::ReusedAfterLapse => "re-lapse",
        }
    }

    /// Whether it can happen at such a provider at all, when the connection falls due so often.
    #[must_use]
    pub const fn is_possible(self, mode: Mode, generations: u8) -> bool {
        match self {
            // Of one refresh token a reply came twice.
            Self::Sibling => !matches!(mode, Mode::Strict | Mode::Family),
            // What was kept is another token, and what is current was spent.
            Self::Promotion => matches!(mode, Mode::LeewaySiblings | Mode::LeewayLatest) && generations > 1,
            Self::ReusedAfterLoss | Self::ReusedAfterLapse => matches!(mode, Mode::Family),
            Self::Discarded => generations > 1,
            _ => true,
        }
    }
}

/// What a check found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Of the provider.
    pub mode: Mode,
    /// How many.
    pub processes: usize,
    /// How often the connection fell due.
    pub generations: u8,
    /// How many faults there were at most.
    pub faults: u8,
    /// Different ones.
    pub states: usize,
    /// It took so long.
    pub took: Duration,
    /// What does not hold, and how that comes about.
    pub violated: Vec<(Rule, String)>,
    /// How often each thing happened.
    pub seen: Vec<(Note, u64)>,
}

impl Report {
    /// Searches all states, breadth first.
    #[must_use]
    pub fn of(model: &RefreshModel) -> Self {
        Self::by(model, model.clone().checker().threads(2))
    }

    /// Searches until a property fails.
    #[must_use]
    pub fn of_first_failure(model: &RefreshModel) -> Self {
        Self::by(model, model.clone().checker().finish_when(HasDiscoveries::AnyFailures))
    }

    fn by(model: &RefreshModel, checker: CheckerBuilder<RefreshModel>) -> Self {
        let start = Instant::now();
        let checker = checker.spawn_bfs().join();
        let violated = Rule::ALL.into_iter().filter_map(|rule| {
            let path = checker.discovery(rule.name())?;
            let mut trace = String::new();
            for (state, action) in path.into_vec() {
                trace += &state.line();
                if let Some(action) = action {
                    trace += &format!("\n  {action:?}\n");
                }
            }
            Some((rule, trace))
        });
        Self {
            mode: model.mode,
            processes: model.processes,
            generations: model.generations,
            faults: model.faults.total,
            states: checker.unique_state_count(),
            violated: violated.collect(),
            seen: Note::ALL.into_iter().map(|note| (note, model.count(note))).collect(),
            took: start.elapsed(),
        }
    }

    /// What could have happened and did not.
    pub fn missing(&self) -> impl Iterator<Item = Note> + '_ {
        let missing =
            |(note, times): &&(Note, u64)| *times == 0 && note.is_possible(self.mode, self.generations);
        self.seen.iter().filter(missing).map(|(note, _)| *note)
    }

    /// Every property holds, and everything that can happen did.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violated.is_empty() && self.missing().next().is_none()
    }

    /// The table's first lines.
    #[must_use]
    pub fn header() -> String {
        let mut line = format!("{:15} n due faults {:>8}", "mode", "states");
        Rule::ALL.iter().for_each(|rule| line += &format!(" {:>4}", rule.name()));
        Note::ALL.iter().for_each(|note| line += &format!(" {:>9}", note.name()));
        line + "  seconds"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, processes, generations, faults, states, .. } = self;
        write!(f, "{mode:15} {processes} {generations:>3} {faults:>6} {states:>8}")?;
        for rule in Rule::ALL {
            let fails = self.violated.iter().any(|(violated, _)| *violated == rule);
            write!(f, " {:>4}", if fails { "FAIL" } else { "ok" })?;
        }
        for (note, times) in &self.seen {
            match (times, note.is_possible(self.mode, self.generations)) {
                (0, true) => write!(f, " {:>9}", "MISSING")?,
                (0, false) => write!(f, " {:>9}", "-")?,
                _ => write!(f, " {times:>9}")?,
            }
        }
        write!(f, " {:>8.1}", self.took.as_secs_f64())
    }
}

impl crate::state::State {
    /// What one sees of it in a trace.
    fn line(&self) -> String {
        let mut line = String::new();
        if let Some(Record {
            incarnation,
            generation,
            parent,
            token_fence,
            status,
            attempt,
            current,
            alternates,
            ..
        }) = &self.store.record
        {
            line += &format!(
                "    {incarnation}.{generation} parent {parent:?} token {current} of fence {token_fence}"
            );
            line += &format!(" alternates {alternates:?} {status:?} {attempt:?}\n");
        }
        let lives: Vec<_> = self.provider.tokens.iter().map(|token| token.life).collect();
        line +=
            &format!("    lease {} for {}, tokens {lives:?}", self.store.lease.fence, self.store.lease.left);
        for Process { at, paused, fence, spent, .. } in &self.processes {
            let spent = spent.map(|spent| (spent.incarnation, spent.generation, spent.attempt, spent.fence));
            let paused = if *paused { " paused" } else { "" };
            line += &format!("\n    {at:?}{paused} lease {fence} spent {spent:?}");
        }
        for Request { spent, token, age, .. } in &self.requests {
            line += &format!("\n    under way: attempt {} with {token}, age {age}", spent.attempt);
        }
        line
    }
}
