//! What is promised, as data, and whether a run keeps it.

use crate::group::{Unit, names};
use crate::groups::{growth, token_lookup};
use crate::interleave::{Measured, Series, median};
use crate::plan::Plan;

/// A promise about the vault beside one contestant, in the same group.
#[derive(Debug)]
pub struct Target {
    pub path: &'static str,
    bench: &'static str,
    places: &'static [&'static str],
    tasks: u64,
    versus: Versus,
    pub bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Versus {
    /// The vault's figure over that one's.
    Contestant(&'static str),
    /// How much more the vault costs with more rows, over how much more the floor does.
    FloorsGrowth,
    /// How much more the vault costs with more rows.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const POSTGRES: &[&str] = &["PostgreSQL, socket", "PostgreSQL, TCP"];
const STORES: &[&str] = &["memory", "SQLite", "PostgreSQL, TCP", "Redis, TCP", "Redis Cluster"];
const REDIS: &[&str] = &["Redis, socket", "Redis, TCP"];

/// Of issue 5, all with tokens of 2 KiB.
pub const TARGETS: &[Target] = &[
    cold("memory, no cache", &["memory"], 1, names::MAP, Bound::AtMost(1.3)),
    Target {
        path: "in-process cache, hit",
        bench: token_lookup::WARM,
        places: &["memory", "SQLite", "PostgreSQL", "Redis", "Redis Cluster"],
        tasks: 1,
        versus: Versus::Contestant(names::CACHE),
        bound: Bound::AtMost(2.5),
    },
    cold("SQLite, one task", &["SQLite"], 1, names::POOL, Bound::AtMost(1.15)),
    cold("PostgreSQL, one task", POSTGRES, 1, names::HELD, Bound::AtMost(1.2)),
    // "Well under".
    cold("PostgreSQL, one task", POSTGRES, 1, names::POOL, Bound::AtMost(0.8)),
    cold("PostgreSQL, 64 tasks, at most 8 connections", POSTGRES, 64, names::PGBENCH, Bound::AtLeast(1.6)),
    cold("PostgreSQL, 64 tasks, at most 8 connections", POSTGRES, 64, names::POOL, Bound::AtLeast(4.0)),
    cold("Redis, one task", REDIS, 1, names::GET, Bound::AtMost(1.15)),
    cold("Redis, 256 tasks", REDIS, 256, names::GET, Bound::AtLeast(0.9)),
    Target {
        path: "more rows, cold read",
        bench: growth::READ,
        places: STORES,
        tasks: 1,
        versus: Versus::FloorsGrowth,
        bound: Bound::AtMost(1.1),
    },
    // By what is due: a deeper index and colder pages may show, a thousand times the rows must not.
    Target {
        path: "more rows, due scan",
        bench: growth::SCAN,
        places: STORES,
        tasks: 1,
        versus: Versus::Nothing,
        bound: Bound::AtMost(1.5),
    },
    cold("PostgreSQL, one task", POSTGRES, 1, names::SESSIONS, Bound::AtMost(0.7)),
    cold("PostgreSQL, 64 tasks, at most 8 connections", POSTGRES, 64, names::SESSIONS, Bound::AtLeast(4.0)),
    cold("Redis, one task", REDIS, 1, names::SESSIONS, Bound::AtMost(1.1)),
];

const fn cold(
    path: &'static str,
    places: &'static [&'static str],
    tasks: u64,
    versus: &'static str,
    bound: Bound,
) -> Target {
    Target { path, bench: token_lookup::COLD, places, tasks, versus: Versus::Contestant(versus), bound }
}

/// What a run says of a target in one place.
#[derive(Debug)]
pub struct Verdict {
    pub target: &'static Target,
    pub place: String,
    /// One a round; none when nothing of the kind was measured, which is a miss.
    pub ratios: Vec<f64>,
}

impl Verdict {
    pub fn is_met(&self) -> bool {
        let ratio = median(&self.ratios);
        match self.target.bound {
            Bound::AtLeast(least) => ratio >= least,
            Bound::AtMost(most) => ratio <= most,
        }
    }
}

impl Target {
    /// Beside what.
    pub fn versus(&self) -> &'static str {
        match self.versus {
            Versus::Contestant(name) => name,
            Versus::FloorsGrowth => "growth of the bare read",
            Versus::Nothing => "fewest rows",
        }
    }

    fn ratios(&self, measured: &Measured) -> Option<Vec<f64>> {
        let over = |one: &str, other: &str| ratios(series(measured, one)?, series(measured, other)?);
        match self.versus {
            Versus::Contestant(name) => over(names::VAULT, name),
            Versus::Nothing => over(names::VAULT_LARGE, names::VAULT),
            Versus::FloorsGrowth => {
                let vault = over(names::VAULT_LARGE, names::VAULT)?;
                let floor = over(names::BARE_LARGE, names::BARE)?;
                Some(vault.iter().zip(floor).map(|(vault, floor)| vault / floor).collect())
            }
        }
    }

    fn is_about(&self, measured: &Measured, place: &str) -> bool {
        let case = &measured.case;
        case.bench == self.bench
            && case.place == place
            && case.tasks == self.tasks
            && case.token_bytes == Plan::USUAL_BYTES
            && (measured.unit == Unit::Throughput) == (self.tasks > 1)
    }
}

pub fn verdicts(all: &[Measured]) -> Vec<Verdict> {
    let places = TARGETS.iter().flat_map(|target| target.places.iter().map(move |place| (target, *place)));
    let verdicts = places.map(|(target, place)| {
        // Of several numbers of rows the last is the most.
        let measured = all.iter().rev().find(|measured| target.is_about(measured, place));
        let ratios = measured.and_then(|measured| target.ratios(measured)).unwrap_or_default();
        Verdict { target, place: place.to_owned(), ratios }
    });
    verdicts.collect()
}

pub fn series<'a>(measured: &'a Measured, name: &str) -> Option<&'a Series> {
    measured.series.iter().find(|series| series.name == name)
}

/// Round by round.
pub fn ratios(one: &Series, other: &Series) -> Option<Vec<f64>> {
    let ratios: Vec<f64> = one.rounds.iter().zip(&other.rounds).map(|(one, other)| one / other).collect();
    (!ratios.is_empty()).then_some(ratios)
}
