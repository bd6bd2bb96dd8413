//! What needs no server, through criterion.

use criterion::Criterion;
use tokio::runtime::Runtime;
use vault_benches::groups::{self, Bench};
use vault_benches::plan::Plan;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let mut criterion = Criterion::default().configure_from_args();
    groups::local(&mut Bench { runtime: &runtime, plan: Plan::SMOKE, runner: &mut criterion });
    criterion.final_summary();
}
