//! `vault-sim [--seed N] [--seeds K] [--steps S] [--history FOLDER]`: runs seeds, prints a table, and fails on a
//! violation. `--history` writes each seed's whole history to a file of its name.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use vault_sim::check::Tally;
use vault_sim::{Options, Run, run};

/// How much of the history of a connection is shown with a violation.
const LINES: usize = 100;

/// What a run must have come across, if it has so many seeds, to be worth anything.
const REACHED: [&str; 5] = ["alternate promotion", "heal", "sibling", "spill import", "takeover"];
const ENOUGH: u64 = 50;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| args.chunks(2).find(|pair| pair[0] == name).and_then(|pair| pair.get(1));
    let value = |name: &str| given(name).and_then(|number| number.parse::<u64>().ok());
    let known = args.chunks(2).all(|pair| match pair[0].as_str() {
        "--seed" | "--seeds" | "--steps" => value(&pair[0]).is_some(),
        "--history" => pair.len() == 2,
        _ => false,
    });
    if !known {
        eprintln!("usage: vault-sim [--seed N] [--seeds K] [--steps S] [--history FOLDER]");
        return ExitCode::FAILURE;
    }
    let first = value("--seed").unwrap_or(1);
    let count = value("--seeds").unwrap_or(if value("--seed").is_some() { 1 } else { 50 });
    let steps = value("--steps").unwrap_or(100_000);
    let began = Instant::now();
    let total = all(first, count, steps, given("--history").map(Path::new));
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "\n{count} seeds from {first}, {} steps, {seconds:.0} s, digest {:016x}",
        total.steps, total.digest
    );
    table(&total);
    let missing = total.missing();
    if !missing.is_empty() {
        println!("not reached: {}", missing.join(", "));
    }
    if total.violations == 0 && (missing.is_empty() || count < ENOUGH) {
        println!("no violations");
        return ExitCode::SUCCESS;
    }
    println!("{} violations", total.violations);
    ExitCode::FAILURE
}

#[derive(Default)]
struct Total {
    tally: Tally,
    faults: BTreeMap<&'static str, u64>,
    steps: u64,
    digest: u64,
    violations: usize,
}

impl Total {
    fn missing(&self) -> Vec<&'static str> {
        REACHED.into_iter().filter(|what| !self.tally.reached.contains_key(what)).collect()
    }
}

/// On all cores: each run is a world of its own.
fn all(first: u64, count: u64, steps: u64, history: Option<&Path>) -> Total {
    let next = AtomicU64::new(first);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut total = Total::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return total;
            }
            let run = run(Options { seed, steps, plant: None });
            report(seed, &run);
            keep(history, seed, &run);
            total.tally.add(&run.verdict.tally);
            total.steps += run.steps;
            total.digest = total.digest.wrapping_add(run.history.digest());
            total.violations += run.verdict.violations.len();
            for (fault, count) in run.faults {
                *total.faults.entry(fault).or_default() += count;
            }
        }
    };
    let mut sum = Total::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let Ok(part) = worker.join() else {
                sum.violations += 1;
                continue;
            };
            sum.tally.add(&part.tally);
            sum.steps += part.steps;
            sum.digest = sum.digest.wrapping_add(part.digest);
            sum.violations += part.violations;
            for (fault, count) in part.faults {
                *sum.faults.entry(fault).or_default() += count;
            }
        }
    });
    sum
}

fn keep(folder: Option<&Path>, seed: u64, run: &Run) {
    let Some(file) = folder.map(|folder| folder.join(seed.to_string())) else { return };
    let lines = run.history.excerpt(None, usize::MAX - 1, usize::MAX);
    if let Err(error) = std::fs::write(&file, lines.join("\n")) {
        eprintln!("cannot write {}: {error}", file.display());
    }
}

fn report(seed: u64, run: &Run) {
    let violations = &run.verdict.violations;
    for violation in violations {
        println!("seed {seed}: {violation}");
    }
    if let Some(violation) = violations.first() {
        let lines = run.history.excerpt(violation.conn, violation.index, LINES);
        println!("{}\nreplay: cargo xtask sim --seed {seed}", lines.join("\n"));
    }
}

fn table(total: &Total) {
    println!(
        "\n{:<16}{:>10}{:>10}{:>10}{:>12}  lost, unavoidably",
        "mode", "connects", "sends", "refreshes", "hand-outs"
    );
    for (mode, of) in &total.tally.modes {
        let lost: Vec<_> = of.lost.iter().map(|(why, count)| format!("{why} {count}")).collect();
        let mode = format!("{mode:?}");
        println!(
            "{mode:<16}{:>10}{:>10}{:>10}{:>12}  {}",
            of.connected,
            of.sent,
            of.refreshed,
            of.handed_out,
            lost.join(", ")
        );
    }
    let line = |of: &BTreeMap<&'static str, u64>| {
        of.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
    };
    println!("\nfaults: {}", line(&total.faults));
    println!("reached: {}", line(&total.tally.reached));
}
