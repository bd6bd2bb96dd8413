//! `vault-sim [--seed N] [--seeds K] [--steps S]`: runs seeds, prints a table, and fails on a violation.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use vault_sim::check::Tally;
use vault_sim::{Options, Run, run};

/// How much of the history of a connection is shown with a violation.
const LINES: usize = 100;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    let known = args.chunks(2).all(|pair| {
        matches!(pair[0].as_str(), "--seed" | "--seeds" | "--steps")
            && pair.get(1).is_some_and(|number| number.parse::<u64>().is_ok())
    });
    if !known {
        eprintln!("usage: vault-sim [--seed N] [--seeds K] [--steps S]");
        return ExitCode::FAILURE;
    }
    let first = value("--seed").unwrap_or(1);
    let count = value("--seeds").unwrap_or(if value("--seed").is_some() { 1 } else { 50 });
    let steps = value("--steps").unwrap_or(100_000);
    let began = Instant::now();
    let total = all(first, count, steps);
    println!("\n{count} seeds from {first}, {} steps, {:.0} s", total.steps, began.elapsed().as_secs_f64());
    table(&total);
    if total.violations == 0 {
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

/// On all cores: each run is a world of its own.
fn all(first: u64, count: u64, steps: u64) -> Total {
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
            if let Some(to) = std::env::var_os("DUMP") {
                let mut path = std::path::PathBuf::from(to);
                path.push(seed.to_string());
                let _ =
                    std::fs::write(path, run.history.excerpt(None, usize::MAX - 1, usize::MAX).join("\n"));
            }
            total.tally.add(&run.verdict.tally);
            total.steps += run.steps;
            total.digest = total.digest.wrapping_add(run.history.digest());
            if std::env::var_os("DIGEST").is_some() {
                println!("{seed} {:016x}", run.history.digest());
            }
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

fn report(seed: u64, run: &Run) {
    let violations = &run.verdict.violations;
    if std::env::var_os("LOSSES").is_some() {
        for loss in &run.verdict.losses {
            println!(
                "seed {seed}: lost: {loss}\n{}",
                run.history.excerpt(loss.conn, loss.index, LINES).join("\n")
            );
        }
    }
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
