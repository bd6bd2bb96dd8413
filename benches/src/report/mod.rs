//! `docs/performance.md` and its charts.

mod charts;
pub(crate) mod tables;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use self::tables::{line, verdicts};
use crate::interleave::Measured;

/// Everything that a run found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    pub plan: String,
    pub rounds: usize,
    /// What it ran on and with: a name and a value each.
    pub circumstances: Vec<(String, String)>,
    pub measured: Vec<Measured>,
}

const HEAD: &str = "\
# Performance

Written by `cargo xtask bench`; do not edit. Every figure of the vault stands beside its floor: the least that the same
work costs without a vault, by the same driver, from the same server, in the same run. Contestants take turns, so that
whatever else the machine does meets all of them; a **ratio** is the median of the rounds' own ratios, with the lowest and
the highest round in parentheses. A round is taken in eight parts, the others' in between (programs that start anew each time
take theirs in one), and its figure is the mean of the parts', for one task of their medians. While one task asks a server,
client and server keep to half of the processors each, as on two machines: where they share one, a round trip takes a third
of the time, and which it is would decide the figures. SQLite's driver answers from a thread of its own, which runs where the
scheduler wants it: its rounds differ the most. Absolute figures are this machine's. `docs/scale.md` says what follows from
them.

Several tasks are measured with tokens of 2 KiB and the fewest rows. Floors of listings on Redis are told the names of the
records. What is exact is no figure here but held by tests: a read in memory allocates at most three times, a hit in the
cache never (`tests/tests/allocations.rs`); a read is one store round trip, a refresh three more, the start of a connect one,
its completion two (`tests/tests/round_trips.rs`; on Redis, where a flow and its owner are on different nodes, two and four).
";

/// Writes the page, and charts into a folder of its name beside it.
pub fn write(run: &Run, docs: &Path) -> io::Result<()> {
    let charts = docs.join("performance");
    fs::create_dir_all(&charts)?;
    let charts = charts::draw(run, &charts).map_err(io::Error::other)?;

    let mut page = HEAD.to_owned();
    section(&mut page, "Circumstances", &circumstances(run));
    section(&mut page, "Targets", &verdicts(&run.measured));
    let shown = charts.iter().map(|(title, file)| format!("![{title}](performance/{file})"));
    section(&mut page, "Charts", &shown.collect::<Vec<_>>().join("\n\n"));
    for (bench, table) in tables::by_bench(&run.measured) {
        section(&mut page, &bench, &table);
    }
    fs::write(docs.join("performance.md"), page)
}

fn circumstances(run: &Run) -> String {
    let plan = format!("{}, {} rounds", run.plan, run.rounds);
    let all = [("run".to_owned(), plan)].into_iter().chain(run.circumstances.clone());
    let rows = all.map(|(name, value)| format!("| {name} | {value} |"));
    format!("| | |\n|---|---|\n{}", rows.collect::<Vec<_>>().join("\n"))
}

fn section(page: &mut String, title: &str, text: &str) {
    let mut title = title.to_owned();
    title[..1].make_ascii_uppercase();
    let _ = write!(page, "\n## {title}\n\n{}\n", text.trim_end());
}
