//! What is left of many cycles of connecting and disconnecting, and what a listing of many connections takes, on each
//! backend: the abuse cases X05 and X01, under load. `cargo xtask soak` runs the long form, the tests a short one.
//!
//! A program that runs this has [`peak_alloc::PeakAlloc`] for its allocator, and nothing else to do meanwhile: the heap
//! of the process is one of the measures.
#![expect(clippy::print_stdout, reason = "its programs are for a terminal")]

mod cycles;
mod listing;
mod provider;

use peak_alloc::PeakAlloc;
use vault_benches::backend::{memory, postgres::Postgres, redis::Redis, sqlite::Sqlite};
use vault_benches::setup::Size;
use vault_tests::backend::{Backend, Memory, PostgresSchema, RedisKeys, SqliteFile};
use vault_tests::servers::address;

/// Of each access token of the connections that are listed.
const TOKEN_BYTES: usize = 256;
/// What noise may add, and no more, in bytes: caches that fill, buffers that stay, a page that is split.
const NOISE: u64 = 2 << 20;

/// How much.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Plan {
    /// Of connecting and disconnecting, on each backend; with 0 that part is left out, as with no rows the other.
    pub cycles: usize,
    /// In which they are done: after each, everything is let to come to its end, and measured.
    pub stretches: usize,
    /// Connections that are listed; a tenth of them before, to compare with.
    pub rows: usize,
}

impl Plan {
    /// `cargo xtask soak`.
    pub const FULL: Self = Self { cycles: 100_000, stretches: 10, rows: 1_000_000 };
    /// For the test suite.
    pub const SMOKE: Self = Self { cycles: 200, stretches: 2, rows: 2_000 };
}

/// Runs it all, prints a table as it goes, and says what does not hold.
pub async fn run(plan: Plan, redis: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if plan.cycles > 0 {
        faults.extend(cycles_on_each(plan, redis).await);
    }
    if plan.rows > 0 {
        faults.extend(listings_on_each(plan, redis).await);
    }
    faults
}

async fn cycles_on_each(plan: Plan, redis: &str) -> Vec<String> {
    let backends: [(&str, Box<dyn Backend>); 4] = [
        ("memory", Box::new(Memory::on_system_clock())),
        ("SQLite", Box::new(SqliteFile::new())),
        ("PostgreSQL", Box::new(PostgresSchema::new())),
        ("Redis", Box::new(RedisKeys::at(redis.to_owned()))),
    ];
    println!("{}", cycles::HEAD);
    let mut faults = Vec::new();
    for (place, backend) in backends {
        let cycled = cycles::run(&*backend, plan).await;
        println!("{}", cycled.line(place));
        faults.extend(cycled.fault(place));
    }
    faults
}

async fn listings_on_each(plan: Plan, redis: &str) -> Vec<String> {
    println!("{}", listing::HEAD);
    let mut faults = Vec::new();
    for place in ["memory", "SQLite", "PostgreSQL", "Redis"] {
        let mut listed = Vec::new();
        for rows in [plan.rows / 10, plan.rows] {
            let size = Size { rows, token_bytes: TOKEN_BYTES };
            // A file goes with its handle.
            let (setup, _file) = match place {
                "memory" => (memory::seed(size).await, None),
                "SQLite" => {
                    let sqlite = Sqlite::seed(size).await;
                    (sqlite.setup.clone(), Some(sqlite))
                }
                "PostgreSQL" => (Postgres::seed(&address("VAULT_TEST_POSTGRES"), size).await.setup, None),
                _ => (Redis::seed(redis, size).await.setup, None),
            };
            let of_these = listing::run(&setup).await;
            println!("{}", of_these.line(place));
            listed.push(of_these);
        }
        faults.extend(listing::fault(place, &listed));
    }
    faults
}

/// Bytes on the heap of this process.
fn heap() -> u64 {
    let heap = PeakAlloc.current_usage();
    assert_ne!(heap, 0, "the program counts what it allocates");
    heap as u64
}

/// For people: 1.5 MiB and so on.
fn bytes(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    if kib < 1024.0 { format!("{kib:.0} KiB") } else { format!("{:.1} MiB", kib / 1024.0) }
}
