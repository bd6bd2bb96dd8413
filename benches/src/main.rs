//! The program behind `cargo xtask bench`, which starts the servers that it measures. It runs in the workspace's folder.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;
use vault_benches::backend::memory;
use vault_benches::backend::postgres::Postgres;
use vault_benches::backend::redis::Redis;
use vault_benches::backend::sqlite::Sqlite;
use vault_benches::groups::{self, Bench};
use vault_benches::interleave::Interleaved;
use vault_benches::operation::Contestant as _;
use vault_benches::placement::Ends;
use vault_benches::plan::Plan;
use vault_benches::report::{self, Run};
use vault_benches::servers::Servers;
use vault_benches::setup::{Setup, Size};
use vault_benches::vault::TokenRead;
use vault_benches::{circumstances, scale, targets};

type Outcome = Result<ExitCode, Box<dyn Error>>;

const USAGE: &str = "\
vault-bench run full|quick RESULTS   measure everything, and keep the figures as JSON
vault-bench report RESULTS DOCS      write performance.md and its charts
vault-bench check RESULTS            fail when a target is missed
vault-bench scale full|quick PAGE    measure bytes and rates, and put them into the page
vault-bench profile STORE READS      read a token so often, for a profiler";

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["run", "full", results] => run(Plan::FULL, results),
        ["run", "quick", results] => run(Plan::QUICK, results),
        ["report", results, docs] => {
            report::write(&read(results)?, Path::new(docs))?;
            Ok(ExitCode::SUCCESS)
        }
        ["check", results] => {
            let run = read(results)?;
            println!("{}", report::verdicts(&run.measured));
            let missed = targets::verdicts(&run.measured).iter().filter(|verdict| !verdict.is_met()).count();
            println!("{missed} targets missed");
            Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        ["scale", "full", page] => measure_scale(scale::Plan::FULL, page),
        ["scale", "quick", page] => measure_scale(scale::Plan::QUICK, page),
        ["profile", store, reads] => profile(store, reads.parse()?),
        _ => Err(USAGE.into()),
    }
}

fn run(plan: Plan, results: &str) -> Outcome {
    let (began, runtime, servers) = (Instant::now(), Runtime::new()?, Servers::from_env());
    let mut runner = Interleaved { plan, ends: Ends::new(servers.starter)?, measured: Vec::new() };
    let mut bench = Bench { runtime: &runtime, plan, runner: &mut runner };
    groups::local(&mut bench);
    groups::on_servers(&mut bench, &servers);
    let took = ("it took".to_owned(), format!("{:.1} min", began.elapsed().as_secs_f64() / 60.0));
    let circumstances = runtime.block_on(circumstances::of_this_run(&servers));
    let run = Run {
        plan: plan.name.to_owned(),
        rounds: plan.rounds,
        circumstances: [took].into_iter().chain(circumstances).collect(),
        measured: runner.measured,
    };
    fs::write(results, serde_json::to_vec_pretty(&run)?)?;
    Ok(ExitCode::SUCCESS)
}

fn read(results: &str) -> Result<Run, Box<dyn Error>> {
    Ok(serde_json::from_slice(&fs::read(results)?)?)
}

fn measure_scale(plan: scale::Plan, page: &str) -> Outcome {
    let text = scale::measure(&Runtime::new()?, &Servers::from_env(), plan);
    println!("{text}");
    scale::write(&text, Path::new(page))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads tokens of one connection, and nothing else.
fn profile(store: &str, reads: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let size = Size { rows: 1, token_bytes: Plan::USUAL_BYTES };
    let read = |setup: &Setup| {
        let read = Arc::new(TokenRead(Arc::new(setup.clone())));
        runtime.block_on(read.time(1, 0, reads))
    };
    match store {
        "memory" => read(&runtime.block_on(memory::seed(size))),
        "cache" => {
            let setup = runtime.block_on(memory::seed(size));
            read(&runtime.block_on(setup.cached()))
        }
        "sqlite" => read(&runtime.block_on(Sqlite::seed(size)).setup),
        "postgres" => {
            read(&runtime.block_on(Postgres::seed(&std::env::var("VAULT_TEST_POSTGRES")?, size)).setup)
        }
        "redis" => read(&runtime.block_on(Redis::seed(&std::env::var("VAULT_TEST_REDIS")?, size)).setup),
        other => return Err(format!("no such store: {other}").into()),
    };
    Ok(ExitCode::SUCCESS)
}
