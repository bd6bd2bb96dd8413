//! `cargo xtask conformance`: every storage backend against every clause of the contract, as one table.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use crate::session::Session;
use crate::{Result, servers};

/// A backend, and the module that its tests are in.
#[derive(Debug)]
struct Column {
    title: &'static str,
    module: &'static str,
}

const COLUMNS: &[Column] = &[
    Column { title: "memory", module: "conformance::memory::" },
    Column { title: "SQLite", module: "conformance::sqlite::" },
    Column { title: "Postgres", module: "conformance::postgres::" },
    Column { title: "PgBouncer", module: "conformance::pgbouncer::" },
    Column { title: "Redis", module: "conformance::redis::" },
    Column { title: "Redis Cluster", module: "conformance::redis_cluster::" },
    Column { title: "Redis Sentinel", module: "conformance::redis_sentinel::" },
    Column { title: "custom-backend", module: "conformance::" },
    VALKEY,
];
const VALKEY: Column = Column { title: "Valkey", module: "conformance::valkey::" };

/// The programs `vault` and, of the example, `conformance`; compiled as for all the tests, with the workspace's features.
const TESTS: &[&str] = &["--workspace", "--test", "vault", "--test", "conformance", "--", "conformance::"];

/// Runs the tests on the servers, and prints the table. All is well only when every backend passes every clause.
pub(crate) fn run() -> Result<ExitCode> {
    let session = Session::start()?;
    let has_valkey = servers::valkey().is_some();
    let columns = COLUMNS.iter().filter(|column| has_valkey || column.title != VALKEY.title).collect();
    let mut table = Table::new(columns);
    let mut faults = Vec::new();
    let mut args = TESTS.to_vec();
    if !has_valkey {
        args.extend(["--skip", VALKEY.module]);
    }
    if let Err(error) = session.cargo_test(&args, |line| table.add(line)) {
        faults.push(format!("cargo test {}: {error}", args.join(" ")));
    }
    faults.extend(table.faults());
    session.finish(!faults.is_empty());
    println!("\n{table}");
    if faults.is_empty() {
        println!("{} clauses x {} backends: all pass", table.rows.len(), table.columns.len());
        return Ok(ExitCode::SUCCESS);
    }
    for fault in &faults {
        println!("{fault}");
    }
    Ok(ExitCode::FAILURE)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    /// No such test ran to its end.
    #[default]
    Missing,
    Pass,
    Fail,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Pass => "pass",
            Self::Fail => "FAIL",
        })
    }
}

/// A row for each clause that any column has.
#[derive(Debug)]
struct Table {
    columns: Vec<&'static Column>,
    rows: BTreeMap<String, Vec<Cell>>,
}

impl Table {
    fn new(columns: Vec<&'static Column>) -> Self {
        Self { columns, rows: BTreeMap::new() }
    }

    /// A line such as `test conformance::redis::a_lease_lapses ... ok`; any other changes nothing.
    fn add(&mut self, line: &str) {
        let Some((test, outcome)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "))
        else {
            return;
        };
        let cell = match outcome.trim_end() {
            "ok" => Cell::Pass,
            "FAILED" => Cell::Fail,
            _ => Cell::Missing,
        };
        for (n, column) in self.columns.iter().enumerate() {
            if let Some(clause) = test.strip_prefix(column.module).filter(|clause| !clause.contains("::")) {
                let row = self
                    .rows
                    .entry(clause.to_owned())
                    .or_insert_with(|| vec![Cell::Missing; self.columns.len()]);
                row[n] = row[n].max(cell);
            }
        }
    }

    /// One line for each cell that is not a pass.
    fn faults(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return vec!["no clause was tested".to_owned()];
        }
        let cells = self.rows.iter().flat_map(|(clause, row)| {
            self.columns.iter().zip(row).map(move |(column, cell)| (column.title, clause, cell))
        });
        let bad = cells.filter(|(.., cell)| **cell != Cell::Pass);
        bad.map(|(title, clause, cell)| format!("{title}: {clause}: {cell}")).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clause = self.rows.keys().map(String::len).max().unwrap_or_default().max("clause".len());
        write!(f, "{:clause$}", "clause")?;
        for column in &self.columns {
            write!(f, "  {:7}", column.title)?;
        }
        writeln!(f)?;
        for (name, row) in &self.rows {
            write!(f, "{name:clause$}")?;
            for (column, cell) in self.columns.iter().zip(row) {
                write!(f, "  {cell:width$}", width = column.title.len().max(7))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory, Redis Cluster and custom-backend.
    fn table() -> Table {
        let mut table = Table::new(vec![&COLUMNS[0], &COLUMNS[5], &COLUMNS[7]]);
        for line in [
            "running 5 tests\n",
            "test conformance::memory::a_lease_lapses ... ok\n",
            "test conformance::redis_cluster::a_lease_lapses ... FAILED\n",
            "test conformance::memory::a_flow_is_taken_once ... ok\n",
            "test conformance::redis_cluster::a_flow_is_taken_once ... ignored, no server\n",
            "test conformance::redis::a_key_is_kept ... ok\n",
            "test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 9 filtered out\n",
        ] {
            table.add(line);
        }
        table.add("test conformance::a_lease_lapses ... ok\n");
        table
    }

    #[test]
    fn a_table_shows_every_clause_and_backend() {
        assert_eq!(
            table().to_string(),
            "clause                memory   Redis Cluster  custom-backend\n\
             a_flow_is_taken_once  pass     missing        missing       \n\
             a_lease_lapses        pass     FAIL           pass          \n"
        );
    }

    #[test]
    fn whatever_is_no_pass_is_a_fault() {
        assert_eq!(
            table().faults(),
            [
                "Redis Cluster: a_flow_is_taken_once: missing",
                "custom-backend: a_flow_is_taken_once: missing",
                "Redis Cluster: a_lease_lapses: FAIL",
            ]
        );
    }

    #[test]
    fn no_tests_at_all_are_a_fault() {
        assert_eq!(Table::new(COLUMNS.iter().collect()).faults(), ["no clause was tested"]);
    }

    #[test]
    fn a_table_without_faults_has_none() {
        let mut table = Table::new(vec![&COLUMNS[0]]);
        table.add("test conformance::memory::a_lease_lapses ... ok");
        assert_eq!(table.faults(), [""; 0]);
    }
}
