//! `cargo xtask bench --profile`: how many instructions a token read takes, and in which functions.
//!
//! Callgrind counts two runs, of few reads and of many. What the second has more of, over the reads that it has more,
//! is a read's share: seeding and start-up cancel out.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::Result;
use crate::context::run as run_to_end;
use crate::session::Session;

const READS: [u32; 2] = [200, 1_200];
const STORES: [&str; 5] = ["cache", "memory", "sqlite", "postgres", "redis"];
const SHOWN: usize = 15;
/// Of the runtime and of the program itself, in which everything happens.
const FRAMES: [&str; 12] = [
    "0x",
    "(below main)",
    "_start",
    "main",
    "clone",
    "start_thread",
    "std::",
    "core::",
    "tokio::runtime",
    "vault_bench",
    "alloc::",
    "__libc_start",
];

pub(super) fn run(session: &Session, bench: &Path, folder: &Path) -> Result<ExitCode> {
    for store in STORES {
        let [few, many] = READS.map(|reads| count(session, bench, folder, store, reads));
        let (few, many) = (few?, many?);
        let more = f64::from(READS[1] - READS[0]);
        let share = |name: &str| {
            let of = |counts: &Counts| counts.get(name).copied().unwrap_or_default() as f64;
            (of(&many) - of(&few)) / more
        };
        println!("\n{store}: {:.0} instructions a read, of which, with what they call:", share(TOTAL));
        let mut shares: Vec<(f64, &str)> = many.keys().map(|name| (share(name), name.as_str())).collect();
        shares.sort_by(|one, other| other.0.total_cmp(&one.0));
        let own = shares.iter().filter(|(_, name)| *name != TOTAL && !is_frame(name));
        for (share, name) in own.take(SHOWN) {
            println!("{share:>9.0}  {name}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_frame(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&']);
    name.contains("Contestant") || FRAMES.iter().any(|frame| name.starts_with(frame))
}

type Counts = HashMap<String, u64>;
const TOTAL: &str = "PROGRAM TOTALS";

/// Inclusive counts by function.
fn count(session: &Session, bench: &Path, folder: &Path, store: &str, reads: u32) -> Result<Counts> {
    let out = folder.join(format!("{store}.{reads}.callgrind"));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(bench).args(["profile", store, &reads.to_string()]);
    run_to_end(session.with_servers(&mut valgrind))?;
    let mut annotate = Command::new("callgrind_annotate");
    annotate.args(["--inclusive=yes", "--threshold=100", "--show-percs=no"]).arg(&out);
    let annotated = annotate.stderr(Stdio::inherit()).output()?;
    let mut counts = Counts::new();
    for line in String::from_utf8_lossy(&annotated.stdout).lines() {
        if let Some((count, name)) = parse(line) {
            // A function that calls itself is listed more than once.
            let known = counts.entry(name).or_default();
            *known = count.max(*known);
        }
    }
    Ok(counts)
}

/// `1,234  file.rs:function::h0123456789abcdef [program]`.
fn parse(line: &str) -> Option<(u64, String)> {
    let (count, rest) = line.trim_start().split_once(char::is_whitespace)?;
    let count = count.replace(',', "").parse().ok()?;
    let name = rest.trim().split(" [").next()?;
    let name = name.split_once(':').filter(|(_, name)| !name.starts_with(':')).map_or(name, |(_, name)| name);
    let name = name.rsplit_once("::h").filter(|(_, hash)| hash.len() >= 16).map_or(name, |(name, _)| name);
    Some((count, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_callgrind_annotate_is_read() {
        let line = "27,440,000  ???:vault_core::seal::envelope::Envelope::open::h0123456789abcdef [/target/vault-bench]";
        let read = (27_440_000, "vault_core::seal::envelope::Envelope::open".to_owned());
        assert_eq!(parse(line), Some(read));
        assert_eq!(parse("73,126,118  PROGRAM TOTALS"), Some((73_126_118, TOTAL.to_owned())));
        assert_eq!(parse("Ir"), None);
    }
}
