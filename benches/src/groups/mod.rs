//! What is measured. Each function seeds what it needs, and hands its groups to the runner.

pub mod growth;
pub mod token_lookup;

mod connect_flow;
mod due_scan;
mod list;
mod refresh_fan_in;
mod seal_open;

use tokio::runtime::Runtime;

use crate::group::Runner;
use crate::plan::Plan;
use crate::servers::Servers;

/// What groups are made with.
pub struct Bench<'a> {
    pub runtime: &'a Runtime,
    pub plan: Plan,
    pub runner: &'a mut dyn Runner,
}

impl Bench<'_> {
    fn measure(&mut self, group: crate::group::Group) {
        self.runner.measure(self.runtime, group);
    }
}

/// What needs no server.
pub fn local(bench: &mut Bench<'_>) {
    seal_open::run(bench);
    token_lookup::memory(bench);
    token_lookup::sqlite(bench);
    refresh_fan_in::run(bench);
    connect_flow::local(bench);
    list::local(bench);
    growth::local(bench);
}

/// The rest.
pub fn on_servers(bench: &mut Bench<'_>, servers: &Servers) {
    token_lookup::postgres(bench, servers);
    token_lookup::redis(bench, servers);
    token_lookup::redis_cluster(bench, servers);
    connect_flow::postgres(bench, servers);
    list::on_servers(bench, servers);
    growth::on_servers(bench, servers);
}
