//! What a test and its workers say to each other: one JSON value a line. Over pipes, for secrets are among it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::storage::Storage;

/// The first line that a worker reads.
#[derive(Clone, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "of a test harness")]
pub struct Setup {
    /// Where the data is.
    pub storage: Storage,
    /// The provider: its issuer, or a definition in TOML.
    pub provider: String,
    /// The OAuth client's id.
    pub client_id: String,
    /// The OAuth client's secret.
    pub client_secret: String,
    /// What to ask for, if not the provider's defaults.
    pub scopes: Vec<String>,
    /// Further parameters of the authorization request.
    pub authorize: Vec<(String, String)>,
    /// The refresh lease.
    pub lease_ttl: Duration,
    /// The deadline of a request to the provider.
    pub http_timeout: Duration,
    /// The token cache, where it is on.
    pub cache: Option<Cached>,
    /// How far the wall clock is ahead, in milliseconds.
    pub clock_ahead: i64,
    /// Goes by the storage's clock, as vaults do; else by its own, so that time can be skipped.
    pub follow_store: bool,
    /// Says every step that it takes.
    pub trace: bool,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("storage", &self.storage).finish_non_exhaustive()
    }
}

/// A vault's token cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "of a test harness")]
pub struct Cached {
    /// Its bound.
    pub max_age: Duration,
    /// The storage once more, to hear from of other processes' changes. `None`: they are not heard of.
    pub watch: Option<Storage>,
}

/// What a worker is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Command {
    /// The next time that the process comes to this step, it dies or stops.
    Arm {
        /// As in [`steps`](super::steps).
        step: String,
        /// Before the call or after it.
        side: Side,
        /// What happens.
        signal: Signal,
    },
    /// The browser came back with this query.
    Complete {
        /// Of the callback.
        query: String,
    },
    /// Ends the user's connection.
    Disconnect {
        /// Whose.
        user: String,
    },
    /// One pass of maintenance.
    Maintain,
    /// Reads the user's token.
    Read(Read),
    /// Registers the connector.
    Register,
    /// Says which client secret comes next.
    RotateSecret {
        /// The secret.
        next: String,
    },
    /// Moves the clocks forward.
    Skip {
        /// So far.
        span: Duration,
    },
    /// Ends, having finished what is under way.
    Shutdown,
    /// Sends the user to the provider.
    Start {
        /// Who.
        user: String,
    },
}

/// A token read, or many at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "of a test harness")]
pub struct Read {
    /// Whose.
    pub user: String,
    /// So many readers at once.
    pub readers: usize,
    /// Has the token refreshed first.
    pub fresh: bool,
    /// How long the first reader waits at most.
    pub wait: Duration,
    /// Each reader waits so much longer than the one before.
    pub patience: Duration,
    /// Uses the tokens there, and tells what came of it.
    pub use_at: Option<String>,
    /// Shows the token instead.
    pub show: bool,
}

impl Read {
    /// One reader that waits for 30 s at most.
    #[must_use]
    pub fn of(user: &str) -> Self {
        let wait = Duration::from_secs(30);
        let patience = Duration::ZERO;
        Self { user: user.to_owned(), readers: 1, fresh: false, wait, patience, use_at: None, show: false }
    }

    /// The same, with a refresh first.
    #[must_use]
    pub fn fresh(user: &str) -> Self {
        Self { fresh: true, ..Self::of(user) }
    }
}

/// Of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Side {
    /// The call has not been made.
    Before,
    /// The call has been answered, and the vault does not know.
    After,
}

/// What a process does to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Signal {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, until somebody sends SIGCONT.
    Stop,
}

/// A line that a worker reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) command: Command,
}

/// A line that a worker writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Line {
    /// What came of a command: one answer for each reader.
    Answer {
        /// Which command.
        id: u64,
        /// What came of it.
        answers: Vec<Answer>,
    },
    /// The vault reported something: its `Debug`.
    Event(String),
    /// The vault is there.
    Ready,
    /// A step is taken.
    Step {
        /// Which.
        step: String,
        /// Which side of it.
        side: Side,
    },
    /// The armed step has come.
    Struck {
        /// Which.
        step: String,
        /// Which side of it.
        side: Side,
    },
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "of a test harness")]
pub struct Answer {
    /// After so long.
    pub after: Duration,
    /// What.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "of a test harness")]
pub enum Outcome {
    /// It is done: the `Debug` of what it came to.
    Done(String),
    /// It failed.
    Failed {
        /// The `Debug` of the kind.
        kind: String,
        /// The error.
        message: String,
        /// Whether the same call may succeed later.
        retryable: bool,
    },
    /// The token itself.
    Shown {
        /// The token.
        secret: String,
        /// The calls that the process made of its stores meanwhile. None: it came from memory.
        calls: u64,
    },
    /// A token was handed out.
    Token {
        /// Of the connection.
        generation: u64,
        /// The status that the provider answered when it was used, where it was.
        status: Option<u16>,
        /// Whether it is the second one: the provider had refused the first.
        second: bool,
    },
    /// The browser goes there.
    Url(String),
}
