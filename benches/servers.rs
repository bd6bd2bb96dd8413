//! The backends on servers, through criterion.

use criterion::Criterion;
use tokio::runtime::Runtime;
use vault_benches::groups::{self, Bench};
use vault_benches::plan::Plan;
use vault_benches::servers::Servers;

fn main() {
    let (runtime, servers) = (Runtime::new().expect("a runtime"), Servers::from_env());
    let mut criterion = Criterion::default().configure_from_args();
    groups::on_servers(&mut Bench { runtime: &runtime, plan: Plan::SMOKE, runner: &mut criterion }, &servers);
    criterion.final_summary();
}
