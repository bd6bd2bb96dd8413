//! `vault-soak [--cycles N] [--rows N]`: prints tables, and fails where something stays or grows.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::process::ExitCode;

use peak_alloc::PeakAlloc;
use vault_soak::{Plan, run};
use vault_tests::servers::address;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut plan = Plan::FULL;
    for pair in args.chunks(2) {
        let number = pair.get(1).and_then(|number| number.parse().ok());
        match (pair[0].as_str(), number) {
            ("--cycles", Some(cycles)) => plan.cycles = cycles,
            ("--rows", Some(rows)) => plan.rows = rows,
            _ => {
                eprintln!("usage: vault-soak [--cycles N] [--rows N]");
                return ExitCode::FAILURE;
            }
        }
    }
    let faults = run(plan, &address("VAULT_TEST_REDIS")).await;
    println!("\n{} faults", faults.len());
    faults.iter().for_each(|fault| println!("{fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
