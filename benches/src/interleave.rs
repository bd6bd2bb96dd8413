//! The runner whose figures are published: contestants take turns, so that what slows the machine for a while slows all
//! of them.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::group::{Case, Group, Runner, Unit};
use crate::operation::Contestant;
use crate::plan::Plan;

/// Short operations are timed several at once, for at least so long, or reading the clock would count.
const SHORTEST: Duration = Duration::from_micros(20);

/// What came of a group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub case: Case,
    pub unit: Unit,
    pub series: Vec<Series>,
}

/// One contestant's figures, one a round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub rounds: Vec<f64>,
}

#[derive(Debug)]
pub struct Interleaved {
    pub plan: Plan,
    pub measured: Vec<Measured>,
}

impl Runner for Interleaved {
    fn measure(&mut self, runtime: &Runtime, group: Group) {
        let began = Instant::now();
        let Group { case, unit, contestants } = group;
        let span = self.plan.span;
        let mut turns: Vec<Turns<'_>> =
            contestants.iter().map(|(_, contestant)| Turns::of(&**contestant)).collect();
        turns.iter_mut().for_each(|turns| runtime.block_on(turns.calibrate(unit, case.tasks, span)));
        let mut rounds = vec![Vec::new(); turns.len()];
        for round in 0..self.plan.rounds {
            let mut order: Vec<usize> = (0..turns.len()).collect();
            // The first has no advantage, nor the last.
            order.rotate_left(round % turns.len());
            for which in order {
                let figure = runtime.block_on(turns[which].take(unit, case.tasks, span));
                rounds[which].push(figure);
            }
        }
        let series = contestants.iter().zip(rounds);
        let series = series.map(|((name, _), rounds)| Series { name: (*name).to_owned(), rounds }).collect();
        let measured = Measured { case, unit, series };
        eprintln!("{:5.1} s  {}", began.elapsed().as_secs_f64(), crate::report::line(&measured));
        self.measured.push(measured);
    }
}

/// A contestant, and how much of it makes a turn.
struct Turns<'a> {
    contestant: &'a dyn Contestant,
    next: u64,
    /// Operations of a task at a time.
    each: u64,
}

impl<'a> Turns<'a> {
    fn of(contestant: &'a dyn Contestant) -> Self {
        Self { contestant, next: 0, each: 1 }
    }

    /// Also warms up.
    async fn calibrate(&mut self, unit: Unit, tasks: u64, span: Duration) {
        let wanted = match unit {
            Unit::Latency => SHORTEST,
            Unit::Throughput => span,
        };
        let (began, mut enough) = (Instant::now(), 0);
        while enough < 3 && began.elapsed() < 4 * span.max(wanted) {
            let factor = wanted.as_secs_f64() / self.time(tasks).await.as_secs_f64().max(1e-9);
            self.each = (self.each as f64 * factor.min(8.0)).ceil().max(1.0) as u64;
            enough += u32::from(factor < 1.3);
        }
    }

    async fn take(&mut self, unit: Unit, tasks: u64, span: Duration) -> f64 {
        match unit {
            Unit::Throughput => {
                let time = self.time(tasks).await;
                (tasks * self.each) as f64 / time.as_secs_f64()
            }
            Unit::Latency => {
                let (began, mut times) = (Instant::now(), Vec::new());
                while times.is_empty() || began.elapsed() < span {
                    times.push(self.time(tasks).await.as_nanos() as f64 / self.each as f64);
                }
                median(&times)
            }
        }
    }

    async fn time(&mut self, tasks: u64) -> Duration {
        let time = self.contestant.time(tasks, self.next, self.each).await;
        self.next += tasks * self.each;
        time
    }
}

pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}
