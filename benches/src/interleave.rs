//! The runner whose figures are published: contestants take turns, so that what slows the machine for a while slows all
//! of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::group::{Case, Group, Runner, Unit, Where};
use crate::operation::Contestant;
use crate::placement::Ends;
use crate::plan::Plan;

/// Into so many parts is a turn divided, with the others' in between.
const PARTS: u32 = 8;
/// Short operations are timed several at once, for at least so long, or reading the clock would count.
const SHORTEST: Duration = Duration::from_micros(20);

const PLACED: &str = "processes of one's own can be placed";

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
    pub ends: Ends,
    pub measured: Vec<Measured>,
}

impl Runner for Interleaved {
    fn measure(&mut self, runtime: &Runtime, group: Group) {
        let began = Instant::now();
        let Group { case, unit, ends, contestants } = group;
        let span = self.plan.span;
        let placed = match (unit, ends) {
            (Unit::Latency, Where::There) => self.ends.apart(),
            _ => self.ends.anywhere(),
        };
        placed.expect(PLACED);
        let names: Vec<&str> = contestants.iter().map(|(name, _)| *name).collect();
        let mut turns: Vec<Turns> = contestants
            .into_iter()
            .map(|(_, contestant)| {
                let parts = if contestant.starts_anew() { 1 } else { PARTS };
                Turns { contestant, unit, tasks: case.tasks, parts, span: span / parts, next: 0, each: 1 }
            })
            .collect();
        for turns in &mut turns {
            runtime.block_on(turns.as_a_task(Turns::calibrate));
        }
        let mut rounds = vec![Vec::new(); turns.len()];
        let (mut order, mut taken): (Vec<usize>, usize) = ((0..turns.len()).collect(), 0);
        for _ in 0..self.plan.rounds {
            let mut figures = vec![Vec::new(); turns.len()];
            for part in 0..PARTS {
                for &which in &order {
                    let turns = &mut turns[which];
                    if part < turns.parts {
                        figures[which].push(runtime.block_on(turns.as_a_task(Turns::take)));
                    }
                }
                // Each comes first and last as often as the others, and after each of its neighbours.
                order.rotate_left(1);
                taken += 1;
                if taken % order.len() == 0 {
                    order.reverse();
                }
            }
            rounds.iter_mut().zip(&figures).for_each(|(rounds, figures)| rounds.push(mean(figures)));
        }
        // What comes next, seeding and calibrating, is kept nowhere.
        self.ends.anywhere().expect(PLACED);
        let series = names.iter().zip(rounds);
        let series = series.map(|(name, rounds)| Series { name: (*name).to_owned(), rounds }).collect();
        let measured = Measured { case, unit, series };
        eprintln!("{:5.1} s  {}", began.elapsed().as_secs_f64(), crate::report::line(&measured));
        self.measured.push(measured);
    }
}

/// A contestant, and how much of it makes a turn.
#[derive(Clone)]
struct Turns {
    contestant: Arc<dyn Contestant>,
    unit: Unit,
    tasks: u64,
    parts: u32,
    span: Duration,
    next: u64,
    /// Operations of a task at a time.
    each: u64,
}

impl Turns {
    /// On a thread of the runtime's, as in a host: the thread that blocks on a runtime drives no sockets.
    async fn as_a_task<F>(&mut self, work: fn(Self) -> F) -> f64
    where
        F: Future<Output = (Self, f64)> + Send + 'static,
    {
        let figure;
        (*self, figure) = tokio::spawn(work(self.clone())).await.expect("no operation fails");
        figure
    }

    /// Also warms up.
    async fn calibrate(mut self) -> (Self, f64) {
        let wanted = match self.unit {
            Unit::Latency => SHORTEST,
            Unit::Throughput => self.span,
        };
        let (began, mut enough) = (Instant::now(), 0);
        while enough < 3 && began.elapsed() < 4 * self.span.max(wanted) {
            let factor = wanted.as_secs_f64() / self.time().await.as_secs_f64().max(1e-9);
            self.each = (self.each as f64 * factor.min(8.0)).ceil().max(1.0) as u64;
            enough += u32::from(factor < 1.3);
        }
        (self, f64::NAN)
    }

    async fn take(mut self) -> (Self, f64) {
        if self.unit == Unit::Throughput {
            let time = self.time().await;
            let rate = (self.tasks * self.each) as f64 / time.as_secs_f64();
            return (self, rate);
        }
        let (began, mut times) = (Instant::now(), Vec::new());
        while times.is_empty() || began.elapsed() < self.span {
            times.push(self.time().await.as_nanos() as f64 / self.each as f64);
        }
        (self, median(&times))
    }

    async fn time(&mut self) -> Duration {
        let time = self.contestant.time(self.tasks, self.next, self.each).await;
        self.next += self.tasks * self.each;
        time
    }
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
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
