//! `cargo xtask chaos`: the long form of the tests of many processes, as one table.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::ExitCode;

use crate::Result;
use crate::session::Session;

/// The program `vault`, compiled as for all the tests. One scenario at a time: each starts processes enough.
const TESTS: &[&str] =
    &["--workspace", "--test", "vault", "--", "chaos::", "--include-ignored", "--test-threads=1"];
const BACKENDS: &[(&str, &str)] =
    &[("sqlite", "SQLite"), ("postgres", "Postgres"), ("redis", "Redis"), ("redis_cluster", "Redis Cluster")];

/// Runs the scenarios on the servers, and prints the table. All is well only when every one of them holds.
pub(crate) fn run() -> Result<ExitCode> {
    let mut session = Session::start()?;
    let report = session.context.scratch().join("chaos");
    session.tell("VAULT_CHAOS_REPORT", report.display().to_string());
    let mut table = Table::default();
    let ran = session.cargo_test(TESTS, |line| table.add(line));
    for line in fs::read_to_string(&report).unwrap_or_default().lines() {
        table.figures(line);
    }
    let failed = ran.is_err() || !table.holds();
    session.finish(failed);
    println!("\n{table}");
    if let Err(error) = ran {
        println!("cargo test {}: {error}", TESTS.join(" "));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Scenario and backend.
type Name = (String, String);

#[derive(Debug, Default)]
struct Table(BTreeMap<Name, Row>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    passed: bool,
    /// Sends, generations, kills, losses; none of a scenario that failed.
    figures: Option<[u64; 4]>,
}

impl Table {
    /// A line such as `test chaos::redis::r02_once ... ok`; any other changes nothing.
    fn add(&mut self, line: &str) {
        let Some((test, outcome)) =
            line.strip_prefix("test chaos::").and_then(|line| line.split_once(" ... "))
        else {
            return;
        };
        if let Some((backend, scenario)) = test.split_once("::") {
            let row = self.0.entry((scenario.to_owned(), backend.to_owned())).or_default();
            row.passed = outcome.trim_end() == "ok";
        }
    }

    /// A line that a scenario wrote: backend, scenario, sends, generations, kills, losses.
    fn figures(&mut self, line: &str) {
        let words: Vec<&str> = line.split('\t').collect();
        let [backend, scenario, figures @ ..] = words.as_slice() else { return };
        let figures: Vec<u64> = figures.iter().filter_map(|figure| figure.parse().ok()).collect();
        if let Some(row) = self.0.get_mut(&((*scenario).to_owned(), (*backend).to_owned())) {
            row.figures = figures.try_into().ok();
        }
    }

    fn holds(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|row| row.passed && row.figures.is_some())
    }

    /// Of all scenarios.
    fn sum(&self) -> [u64; 4] {
        self.0.values().filter_map(|row| row.figures).fold([0; 4], |mut sum, figures| {
            sum.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
            sum
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.keys().map(|(scenario, _)| scenario.len()).max().unwrap_or_default();
        let line = |f: &mut fmt::Formatter<'_>, head: [&str; 3], figures: [String; 4]| {
            let [scenario, backend, result] = head;
            write!(f, "{scenario:width$}  {backend:13}  {result:6}")?;
            figures.iter().try_for_each(|figure| write!(f, "  {figure:>11}"))?;
            writeln!(f)
        };
        let titles = ["sends", "generations", "kills", "unavoidable"].map(str::to_owned);
        line(f, ["scenario", "backend", "result"], titles)?;
        for ((scenario, backend), row) in &self.0 {
            let known = BACKENDS.iter().find(|(module, _)| module == backend);
            let backend = known.map_or(backend.as_str(), |(_, title)| title);
            let result = if row.passed { "holds" } else { "FAILS" };
            let figures =
                row.figures.map_or_else(Default::default, |row| row.map(|figure| figure.to_string()));
            line(f, [scenario, backend, result], figures)?;
        }
        line(f, ["all", "", if self.holds() { "hold" } else { "FAIL" }], self.sum().map(|n| n.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::default();
        for line in [
            "running 2 tests\n",
            "test chaos::sqlite::r02_once ... ok\n",
            "test chaos::redis_cluster::r02_once ... FAILED\n",
            "test refresh::r02_once ... FAILED\n",
        ] {
            table.add(line);
        }
        table.figures("sqlite\tr02_once\t12\t11\t1\t1");
        table
    }

    #[test]
    fn a_table_shows_every_scenario_with_its_figures() {
        let table = table();
        let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(
            lines,
            [
                "scenario  backend        result        sends  generations        kills  unavoidable",
                "r02_once  Redis Cluster  FAILS",
                "r02_once  SQLite         holds            12           11            1            1",
                "all                      FAIL             12           11            1            1",
            ]
        );
        assert!(!table.holds());
    }

    #[test]
    fn a_scenario_without_figures_does_not_hold() {
        let mut table = Table::default();
        assert!(!table.holds());
        table.add("test chaos::sqlite::r02_once ... ok");
        assert!(!table.holds());
        table.figures("sqlite\tr02_once\t1\t1\t0\t0");
        assert!(table.holds());
    }
}
