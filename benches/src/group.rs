//! What is measured together.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::operation::Contestant;

/// What a figure says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds of one operation.
    Latency,
    /// Operations in a second.
    Throughput,
}

/// Where and of what size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub bench: String,
    /// The backend, and the way to it.
    pub place: String,
    /// Of each access token; 0 where it does not matter.
    pub token_bytes: usize,
    /// Connections in the store; 0 where it does not matter.
    pub rows: usize,
    pub tasks: u64,
}

impl Case {
    pub fn new(bench: &str, place: &str) -> Self {
        Self { bench: bench.to_owned(), place: place.to_owned(), token_bytes: 0, rows: 0, tasks: 1 }
    }

    #[must_use]
    pub fn size(self, size: crate::setup::Size) -> Self {
        Self { token_bytes: size.token_bytes, rows: size.rows, ..self }
    }

    #[must_use]
    pub fn tasks(self, tasks: u64) -> Self {
        Self { tasks, ..self }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bench, self.place)?;
        if self.token_bytes > 0 {
            write!(f, "/{} B", self.token_bytes)?;
        }
        if self.rows > 0 {
            write!(f, "/{} rows", self.rows)?;
        }
        write!(f, "/{} {}", self.tasks, if self.tasks == 1 { "task" } else { "tasks" })
    }
}

/// Contestants that do the same work; the vault is the first.
pub struct Group {
    pub case: Case,
    pub unit: Unit,
    pub ends: Where,
    pub contestants: Vec<(&'static str, Arc<dyn Contestant>)>,
}

/// Where the two ends of an operation are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// In this process.
    Here,
    /// One of them in a server.
    There,
}

impl Group {
    pub fn latency(case: Case, vault: impl Contestant + 'static) -> Self {
        Self::new(case, Unit::Latency, vault)
    }

    pub fn throughput(case: Case, vault: impl Contestant + 'static) -> Self {
        Self::new(case, Unit::Throughput, vault)
    }

    fn new(case: Case, unit: Unit, vault: impl Contestant + 'static) -> Self {
        let is_here = case.place == "SQLite" || case.place.starts_with("memory");
        let ends = if is_here { Where::Here } else { Where::There };
        Self { case, unit, ends, contestants: vec![(names::VAULT, Arc::new(vault))] }
    }

    #[must_use]
    pub fn versus(mut self, name: &'static str, contestant: impl Contestant + 'static) -> Self {
        self.contestants.push((name, Arc::new(contestant)));
        self
    }

    /// If there is one.
    #[must_use]
    pub fn maybe_versus(self, name: &'static str, contestant: Option<impl Contestant + 'static>) -> Self {
        match contestant {
            Some(contestant) => self.versus(name, contestant),
            None => self,
        }
    }
}

/// What measures groups.
pub trait Runner {
    fn measure(&mut self, runtime: &tokio::runtime::Runtime, group: Group);
}

/// Contestants that targets speak of.
pub mod names {
    pub const VAULT: &str = "vault";
    pub const MAP: &str = "map + open + decode";
    pub const CACHE: &str = "quick_cache get";
    pub const HELD: &str = "select, held connection";
    pub const POOL: &str = "select, sqlx pool";
    pub const PGBENCH: &str = "pgbench";
    pub const GET: &str = "HGET, redis-rs";
    pub const GETS: &str = "HGETs in a pipeline, redis-rs";
    pub const REDIS_BENCHMARK: &str = "redis-benchmark";
    pub const SESSIONS: &str = "tower-sessions";
    pub const BARE: &str = "bare";
    pub const VAULT_LARGE: &str = "vault, more rows";
    pub const BARE_LARGE: &str = "bare, more rows";
}
