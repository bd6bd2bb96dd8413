//! Everything that a contributor or CI runs. `cargo xtask help` lists it.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod bench;
mod chaos;
mod conformance;
mod context;
mod model;
mod node;
mod servers;
mod session;
mod sim;
mod soak;
mod test;

use std::io::{self, Read};
use std::process::ExitCode;

use context::Context;
use vault_servers::Result;

const HELP: &str = "\
cargo xtask test               start the servers, run every test, the benches once and the quickstart; stop the servers
cargo xtask test -- ARGS       start the servers and run `cargo test ARGS`, say `-p vault-http` or a test's name
cargo xtask conformance        start the servers, hold every storage backend to the contract, and print a table of that
cargo xtask chaos              start the servers, kill and stop many processes on each backend, and print a table of that
cargo xtask model              check the refresh protocol through all interleavings of a few processes, and print a table
cargo xtask sim [ARGS]         simulate the whole vault: --seed N replays one, --seeds K and --steps S say how much
cargo xtask soak [ARGS]        10^5 cycles and 10^6 connections on each backend, what stays and what a listing takes:
                               --cycles N and --rows N say how many
cargo xtask bench [FLAGS]      start servers, measure everything beside its floor, write docs/performance.md and its charts
    --check                    fail when a target is missed
    --quick                    in five minutes, into target/xtask/bench instead of docs
    --scale                    instead: bytes and rates, into docs/scale.md
    --profile                  instead: instructions of a token read, by function (valgrind)
cargo xtask servers            start the servers, print the variables that tests read, stop at Ctrl-C or end of stdin
cargo xtask help               this text

The servers need Node.js with npm, PostgreSQL, PgBouncer and Redis. As root on Debian they are installed when absent.
VALKEY_SERVER names a Valkey server's program: then its tests run too.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["test"] => test::everything(),
        ["test", "--", rest @ ..] | ["test", rest @ ..] => test::some(rest),
        ["bench", flags @ ..] => bench::run(flags),
        ["chaos"] => chaos::run(),
        ["conformance"] => conformance::run(),
        ["model"] => model::run(),
        ["servers"] => serve(),
        ["sim", rest @ ..] => sim::run(rest),
        ["soak", rest @ ..] => soak::run(rest),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        [] => Err("no command given; `cargo xtask help` lists them".into()),
        [other, ..] => Err(format!("unknown command `{other}`; `cargo xtask help` lists them").into()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}

fn serve() -> Result<ExitCode> {
    let context = Context::new()?;
    let servers = servers::start(&context)?;
    for (name, value) in servers.iter().flat_map(|server| &server.env) {
        println!("export {name}={value}");
    }
    eprintln!("logs are in {}; Ctrl-C stops the servers", context.scratch().display());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(ExitCode::SUCCESS)
}
