//! What more connections cost: a cold read, and the scan for what is due, which are a hundred among few and among many.

use std::sync::Arc;

use super::Bench;
use super::due_scan::{DueScan, DueSelect};
use crate::backend::memory::{self, DueSet, MapRead};
use crate::backend::postgres::Postgres;
use crate::backend::redis::{DueRanges, Redis};
use crate::backend::sqlite::Sqlite;
use crate::group::{Case, Group, names};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::servers::Servers;
use crate::setup::{Setup, Size};
use crate::vault::TokenRead;

pub const READ: &str = "growth of a cold read";
pub const SCAN: &str = "growth of a due scan";

pub(super) fn local(bench: &mut Bench<'_>) {
    let Bench { plan, runtime, .. } = *bench;
    let (small, larger) = Plan::growth(plan.rows);
    let small_setup = runtime.block_on(memory::seed(small));
    for &large in &larger {
        let large = runtime.block_on(memory::seed(large));
        let setups = [&small_setup, &large];
        read(bench, "memory", setups, setups.map(|setup| runtime.block_on(MapRead::of(setup))));
        scan(bench, "memory", setups, setups.map(DueSet::of));
    }

    let small = runtime.block_on(Sqlite::seed(small));
    for large in larger {
        let large = runtime.block_on(Sqlite::seed(large));
        let (setups, both) = ([&small.setup, &large.setup], [&small, &large]);
        // As with PostgreSQL: the vault holds a connection too, and a pool's own time would hide what rows cost.
        read(bench, "SQLite", setups, both.map(|sqlite| runtime.block_on(sqlite.held())));
        let selects = both.map(|sqlite| runtime.block_on(DueSelect::on_sqlite(sqlite)));
        scan(bench, "SQLite", setups, selects);
    }
}

pub(super) fn on_servers(bench: &mut Bench<'_>, servers: &Servers) {
    let Bench { plan, runtime, .. } = *bench;
    let (small, larger) = Plan::growth(plan.rows);
    let small = runtime.block_on(Postgres::seed(&servers.postgres, small));
    for &large in &larger {
        let large = runtime.block_on(Postgres::seed(&servers.postgres, large));
        let (place, setups, both) = ("PostgreSQL, TCP", [&small.setup, &large.setup], [&small, &large]);
        read(bench, place, setups, both.map(|postgres| runtime.block_on(postgres.held())));
        let selects = both.map(|postgres| runtime.block_on(DueSelect::on_postgres(postgres)));
        scan(bench, place, setups, selects);
    }

    redis(bench, "Redis, TCP", plan.rows, |size| runtime.block_on(Redis::seed(&servers.redis, size)));
    let seed = |size| runtime.block_on(Redis::seed_cluster(&servers.redis_cluster, size));
    redis(bench, "Redis Cluster", plan.cluster_rows, seed);
}

fn redis(bench: &mut Bench<'_>, place: &str, rows: &[usize], seed: impl Fn(Size) -> Redis) {
    let runtime = bench.runtime;
    let (small, larger) = Plan::growth(rows);
    let small = seed(small);
    for large in larger {
        let large = seed(large);
        let (setups, both) = ([&small.setup, &large.setup], [&small, &large]);
        read(bench, place, setups, both.map(|redis| runtime.block_on(redis.get())));
        scan(bench, place, setups, both.map(|redis| runtime.block_on(DueRanges::on(redis))));
    }
}

fn read(bench: &mut Bench<'_>, place: &str, setups: [&Setup; 2], floors: [impl Operation; 2]) {
    let vaults = setups.map(|setup| TokenRead(Arc::new(setup.clone())));
    grown(bench, Case::new(READ, place).size(setups[1].size), vaults, floors);
}

fn scan(bench: &mut Bench<'_>, place: &str, setups: [&Setup; 2], floors: [impl Operation; 2]) {
    let vaults = setups.map(|setup| DueScan(setup.clone()));
    grown(bench, Case::new(SCAN, place).size(setups[1].size), vaults, floors);
}

fn grown(bench: &mut Bench<'_>, case: Case, vaults: [impl Operation; 2], floors: [impl Operation; 2]) {
    let ([vault, vault_large], [bare, bare_large]) = (vaults.map(Arc::new), floors.map(Arc::new));
    let group = Group::latency(case, vault).versus(names::VAULT_LARGE, vault_large);
    bench.measure(group.versus(names::BARE, bare).versus(names::BARE_LARGE, bare_large));
}
