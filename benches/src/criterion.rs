//! The same groups through criterion, for a look at one of them: `cargo bench -p vault-benches --bench local -- FILTER`.

use criterion::{BenchmarkId, Criterion, Throughput};
use tokio::runtime::Runtime;

use crate::group::{Group, Runner, Unit};

impl Runner for Criterion {
    fn measure(&mut self, runtime: &Runtime, group: Group) {
        let Group { case, unit, contestants, .. } = group;
        let mut criterion_group = self.benchmark_group(case.to_string());
        if unit == Unit::Throughput {
            criterion_group.throughput(Throughput::Elements(1));
        }
        for (name, contestant) in contestants {
            let mut next = 0;
            criterion_group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_custom(|count| {
                    let each = count.div_ceil(case.tasks);
                    let time = runtime.block_on(contestant.time(case.tasks, next, each));
                    next += case.tasks * each;
                    time.mul_f64(count as f64 / (case.tasks * each) as f64)
                });
            });
        }
        criterion_group.finish();
    }
}
