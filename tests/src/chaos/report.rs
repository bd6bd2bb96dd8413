use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use super::arena::Sends;

/// What a scenario came to.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "of a test harness")]
pub struct Tally {
    /// Requests for a refresh.
    pub sends: usize,
    /// Refresh tokens that were sent.
    pub generations: usize,
    /// Processes killed, stopped or cut off.
    pub kills: usize,
    /// Grants lost to a kill after which no client can save them.
    pub losses: usize,
}

/// The file that `cargo xtask chaos` makes its table of: with it the scenarios are longer.
fn file() -> Option<PathBuf> {
    std::env::var_os("VAULT_CHAOS_REPORT").map(PathBuf::from)
}

/// `long` under `cargo xtask chaos`, else `short`.
#[must_use]
pub fn sized<T>(short: T, long: T) -> T {
    if file().is_some() { long } else { short }
}

impl Tally {
    /// Adds what the provider saw of a user.
    pub fn count(&mut self, sends: &Sends) {
        self.sends += sends.sends;
        self.generations += sends.generations;
    }

    /// A line for the table: `test` is the name of the test without its backend.
    pub fn report(&self, backend: &str, test: &str) {
        let Some(file) = file() else { return };
        let mut file = OpenOptions::new().append(true).create(true).open(file).expect("the report");
        file.write_all(format!("{backend}\t{test}\t{self}\n").as_bytes()).expect("the report");
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sends += other.sends;
        self.generations += other.generations;
        self.kills += other.kills;
        self.losses += other.losses;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sends, generations, kills, losses } = self;
        write!(f, "{sends}\t{generations}\t{kills}\t{losses}")
    }
}
