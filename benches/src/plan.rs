//! How much is measured.

use std::time::Duration;

use crate::setup::Size;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub name: &'static str,
    pub rounds: usize,
    /// Of one contestant in one round.
    pub span: Duration,
    /// Bytes of an access token; the middle one is [`Plan::USUAL_BYTES`].
    pub tokens: &'static [usize],
    /// Connections in a store, rising.
    pub rows: &'static [usize],
    /// The same for Redis Cluster, which holds each of them twice, in memory.
    pub cluster_rows: &'static [usize],
    /// At once; the first is one.
    pub tasks: &'static [u64],
    /// The same for Redis.
    pub redis_tasks: &'static [u64],
    /// On one refresh.
    pub waiters: &'static [usize],
}

impl Plan {
    pub const USUAL_BYTES: usize = 2048;

    pub const FULL: Self = Self {
        name: "full",
        rounds: 5,
        span: Duration::from_millis(400),
        tokens: &[512, Self::USUAL_BYTES, 4096],
        rows: &[1_000, 100_000, 1_000_000],
        cluster_rows: &[1_000, 100_000, 1_000_000],
        tasks: &[1, 16, 64],
        redis_tasks: &[1, 16, 64, 256],
        waiters: &[1, 100, 10_000],
    };

    pub const QUICK: Self = Self {
        name: "quick",
        rounds: 5,
        span: Duration::from_millis(180),
        tokens: &[Self::USUAL_BYTES],
        rows: &[1_000, 100_000],
        cluster_rows: &[1_000, 10_000],
        tasks: &[1, 64],
        redis_tasks: &[1, 256],
        waiters: &[1, 100, 10_000],
    };

    /// For criterion, which smoke-tests each function once.
    pub const SMOKE: Self = Self {
        name: "smoke",
        rounds: 1,
        span: Duration::from_millis(1),
        tokens: &[Self::USUAL_BYTES],
        rows: &[200, 1_000],
        cluster_rows: &[200, 1_000],
        tasks: &[1, 16],
        redis_tasks: &[1, 16],
        waiters: &[1, 100],
    };

    /// The number of connections that anything but growth is measured with.
    pub fn usual_rows(&self) -> usize {
        self.rows[0]
    }

    /// Several tasks are measured with tokens of the usual size only.
    pub fn tasks_for(&self, size: Size) -> &'static [u64] {
        if size.token_bytes == Self::USUAL_BYTES { self.tasks } else { &[1] }
    }

    /// The fewest of so many connections, and what it is compared with.
    pub fn growth(rows: &[usize]) -> (Size, Vec<Size>) {
        let size = |rows| Size { rows, token_bytes: Self::USUAL_BYTES };
        (size(rows[0]), rows[1..].iter().copied().map(size).collect())
    }
}
