//! Checks every mode with two and three processes, and prints what holds.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use vault_model::{Faults, Mode, RefreshModel, Report, Rule};

/// Processes, how often the connection falls due, and faults.
const SIZES: [(usize, u8, u8); 3] = [(2, 2, 3), (3, 1, 3), (3, 2, 2)];

fn main() -> ExitCode {
    let start = Instant::now();
    println!("{}", Report::header());
    let (mut states, mut failures) = (0, Vec::new());
    for (processes, generations, total) in SIZES {
        for mode in Mode::ALL {
            let report = Report::of(&RefreshModel::new(mode, processes, generations, Faults::up_to(total)));
            println!("{report}");
            states += report.states;
            let of = format!("{mode}, {processes} processes");
            failures.extend(report.missing().map(|note| format!("{of}: never seen: {}", note.name())));
            let violated = report.violated.iter();
            failures.extend(violated.map(|(rule, trace)| format!("{of}: {} fails:\n{trace}", rule.name())));
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    for failure in &failures {
        println!("\n{failure}");
    }
    println!(
        "\n{states} states, {} properties, {seconds:.0} seconds, {} failures",
        Rule::ALL.len(),
        failures.len()
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
