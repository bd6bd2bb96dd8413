//! The measured part of `docs/scale.md`: what a connection and a refresh cost a server, and what follows for many of
//! them.

mod simulation;
mod stores;

use std::fs;
use std::io;
use std::path::Path;

use tokio::runtime::Runtime;

use self::stores::Costs;
use crate::circumstances::commit;
use crate::report::tables::grouped;
use crate::servers::Servers;

const BEGIN: &str = "<!-- measured: begin (cargo xtask bench --scale) -->";
const END: &str = "<!-- measured: end -->";

/// Between two refreshes of a connection whose access tokens live for an hour: six minutes ahead of their end.
const INTERVAL: f64 = 3_240.0;
/// Between two reads of a connection, in seconds.
const READ_EVERY: f64 = 600.0;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub rows: usize,
    pub refreshes: usize,
}

impl Plan {
    pub const FULL: Self = Self { rows: 100_000, refreshes: 5_000 };
    pub const QUICK: Self = Self { rows: 10_000, refreshes: 1_000 };
}

/// What was found out, as Markdown.
pub fn measure(runtime: &Runtime, servers: &Servers, plan: Plan) -> String {
    let postgres = runtime.block_on(stores::postgres(servers, plan));
    let redis = runtime.block_on(stores::redis(std::slice::from_ref(&servers.redis), plan));
    let cluster = runtime.block_on(stores::redis(&servers.redis_cluster, plan));
    let mut text = format!(
        "Measured at commit {} with {} connections of 2 KiB tokens on this machine (`docs/performance.md` names it), clients \
         and servers on its two processors together. The Cluster is three masters with a replica each, so that all it shows \
         here is what a Cluster costs, not what it carries on six machines; its memory is the masters'.\n\n",
        commit(),
        grouped(plan.rows as f64)
    );
    for (place, costs) in [("PostgreSQL", &postgres), ("Redis", &redis), ("Redis Cluster", &cluster)] {
        text += &format!("| {place} | |\n|---|---|\n");
        for (what, value) in &costs.lines {
            text += &format!("| {what} | {value} |\n");
        }
        text += "\n";
    }
    text += &needs(&postgres, &redis);
    text += "\n";
    text += &simulation::report();
    text
}

/// By multiplication.
fn needs(postgres: &Costs, redis: &Costs) -> String {
    let mut text = "What so many connections need, if each is refreshed whenever its token of one hour is about to end, and \
                    read once in ten minutes; servers by what one does above:\n\n\
                    | connections | refreshes/s | reads/s | PostgreSQL, disk | its log | servers for the refreshes | for \
                    the reads | Redis, memory | servers for the refreshes | for the reads |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for connections in [1e6, 1e8, 1e9] {
        let (rate, reads) = (connections / INTERVAL, connections / READ_EVERY);
        text += &format!(
            "| {} | {} | {} | {} | {}/s | {:.0} | {:.0} | {} | {:.0} | {:.0} |\n",
            grouped(connections),
            grouped(rate),
            grouped(reads),
            bytes(connections * postgres.connection),
            bytes(rate * postgres.log),
            (rate / postgres.refreshes).ceil(),
            (reads / postgres.reads).ceil(),
            bytes(connections * redis.connection),
            (rate / redis.refreshes).ceil(),
            (reads / redis.reads).ceil(),
        );
    }
    text
}

/// Puts the text between its marks in the page.
pub fn write(text: &str, page: &Path) -> io::Result<()> {
    let old = fs::read_to_string(page)?;
    let marks = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        marks.ok_or_else(|| io::Error::other(format!("{} lacks its marks", page.display())))?;
    fs::write(page, format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", text.trim_end()))
}

fn bytes(bytes: f64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let power = ((bytes.max(1.0).log10() / 3.0) as usize).min(units.len() - 1);
    let value = bytes / 1e3_f64.powi(power as i32);
    if value < 10.0 { format!("{value:.1} {}", units[power]) } else { format!("{value:.0} {}", units[power]) }
}
