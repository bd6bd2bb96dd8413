//! When connections come due, simulated: the arithmetic says the mean, this says the peaks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::report::tables::grouped;

const CONNECTIONS: usize = 200_000;
const HOUR: u64 = 3_600_000;
/// As `vault-core/src/refresh/schedule.rs` has it: a tenth of an hour's life ahead, give or take a tenth of that.
const LIFE: u64 = HOUR;
const AHEAD: f64 = 0.1;
const JITTER: f64 = 0.1;
const HOURS: u64 = 48;

/// The busiest second of an hour, as a multiple of the mean.
struct Peaks {
    mean: f64,
    /// By the hour.
    busiest: Vec<f64>,
}

pub(super) fn report() -> String {
    let mean = CONNECTIONS as f64 / super::INTERVAL;
    let mut text = format!(
        "Simulated ({} connections, tokens of one hour, the vault's own schedule and jitter, seed 1); the mean by \
         multiplication is {mean:.1} refreshes/s. The busiest second of an hour, in refreshes:\n\n\
         | connected | mean/s, second day | busiest, hour 1 | hour 6 | hour 24 | hour 48 |\n|---|---|---|---|---|---|\n",
        grouped(CONNECTIONS as f64)
    );
    for (how, within) in
        [("evenly over an hour", HOUR), ("all within ten minutes", HOUR / 6), ("all within a second", 1_000)]
    {
        let Peaks { mean, busiest } = simulate(within, 1);
        text += &format!("| {how} | {mean:.1} |");
        for hour in [1, 6, 24, 48] {
            text += &format!(" {} |", grouped(busiest[hour - 1]));
        }
        text += "\n";
    }
    text
}

/// All of them connect within so many milliseconds.
fn simulate(within: u64, seed: u64) -> Peaks {
    let mut random = Random(seed);
    let mut due: BinaryHeap<Reverse<u64>> =
        (0..CONNECTIONS).map(|_| Reverse(random.next(within) + next(&mut random))).collect();
    let mut seconds = vec![0u32; (HOURS * 3_600) as usize];
    while let Some(Reverse(now)) = due.pop() {
        let Some(count) = seconds.get_mut((now / 1_000) as usize) else { break };
        *count += 1;
        due.push(Reverse(now + next(&mut random)));
    }
    let second_day: u64 = seconds[24 * 3_600..].iter().map(|count| u64::from(*count)).sum();
    let busiest = seconds.chunks(3_600).map(|hour| f64::from(hour.iter().copied().max().unwrap_or(0)));
    Peaks { mean: second_day as f64 / (24.0 * 3_600.0), busiest: busiest.collect() }
}

/// Milliseconds from a refresh to the next.
fn next(random: &mut Random) -> u64 {
    let byte = random.next(256) as f64 / 255.0;
    let ahead = LIFE as f64 * AHEAD * (1.0 - JITTER + 2.0 * JITTER * byte);
    LIFE - ahead as u64
}

/// Xorshift: repeatable, and random enough for this.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * u128::from(below)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_what_multiplication_says_however_they_connected() {
        for within in [1_000, HOUR] {
            let mean = simulate(within, 7).mean * super::super::INTERVAL / CONNECTIONS as f64;
            // A wave more or less in a day of 27 of them.
            assert!((mean - 1.0).abs() < 1.0 / 27.0, "{mean}");
        }
    }

    #[test]
    fn a_burst_spreads_out_and_does_not_come_back() {
        let Peaks { mean, busiest } = simulate(1_000, 7);
        assert!(busiest[0] > 10.0 * mean, "{}", busiest[0]);
        assert!(busiest[47] < busiest[0] / 4.0, "{}", busiest[47]);
    }
}
