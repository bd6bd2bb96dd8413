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

struct Peaks {
    /// Refreshes in a second of the second day.
    mean: f64,
    /// Refreshes in the busiest second of each hour.
    busiest: Vec<f64>,
    /// From coming due to being refreshed, in milliseconds, for each day.
    longest_wait: [u64; 2],
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
        let Peaks { mean, busiest, .. } = simulate(within, f64::INFINITY, 1);
        text += &format!("| {how} | {mean:.1} |");
        for hour in [1, 6, 24, 48] {
            text += &format!(" {} |", grouped(busiest[hour - 1]));
        }
        text += "\n";
    }
    text += "\nThe same for those that connected within ten minutes, with as many refreshes at once as processes have slots for \
             one connector (4 each by default; 200 ms a request, so 20 a second and process). A token ends about six \
             minutes after it comes due:\n\n\
             | processes | refreshes/s at most | longest wait, first day | second day |\n|---|---|---|---|\n";
    for processes in [3, 4, 6, 8] {
        let capacity = 20.0 * f64::from(processes);
        let [first, second] = simulate(HOUR / 6, capacity, 1).longest_wait.map(waited);
        text += &format!("| {processes} | {capacity} | {first} | {second} |\n");
    }
    text
}

fn waited(millis: u64) -> String {
    let seconds = millis.div_ceil(1_000);
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

/// All of them connect within so many milliseconds, and at most so many are refreshed in a second.
fn simulate(within: u64, capacity: f64, seed: u64) -> Peaks {
    let (mut free_at, mut longest_wait) = (0.0_f64, [0; 2]);
    let mut random = Random(seed);
    let mut due: BinaryHeap<Reverse<u64>> =
        (0..CONNECTIONS).map(|_| Reverse(random.next(within) + next(&mut random))).collect();
    let mut seconds = vec![0u32; (HOURS * 3_600) as usize];
    while let Some(Reverse(at)) = due.pop() {
        let now = at.max(free_at as u64);
        free_at = free_at.max(at as f64) + 1_000.0 / capacity;
        let Some(count) = seconds.get_mut((now / 1_000) as usize) else { break };
        *count += 1;
        let day = &mut longest_wait[usize::from(now >= 24 * HOUR)];
        *day = (*day).max(now - at);
        due.push(Reverse(now + next(&mut random)));
    }
    let second_day: u64 = seconds[24 * 3_600..].iter().map(|count| u64::from(*count)).sum();
    let busiest = seconds.chunks(3_600).map(|hour| f64::from(hour.iter().copied().max().unwrap_or(0)));
    Peaks { mean: second_day as f64 / (24.0 * 3_600.0), busiest: busiest.collect(), longest_wait }
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
            let mean = simulate(within, f64::INFINITY, 7).mean * super::super::INTERVAL / CONNECTIONS as f64;
            // A wave more or less in a day of 27 of them.
            assert!((mean - 1.0).abs() < 1.0 / 27.0, "{mean}");
        }
    }

    #[test]
    fn a_burst_spreads_out_and_does_not_come_back() {
        let Peaks { mean, busiest, .. } = simulate(1_000, f64::INFINITY, 7);
        assert!(busiest[0] > 10.0 * mean, "{}", busiest[0]);
        assert!(busiest[47] < busiest[0] / 4.0, "{}", busiest[47]);
    }

    #[test]
    fn who_cannot_keep_up_stays_behind_and_who_can_catches_up() {
        let behind = |capacity| simulate(HOUR, capacity, 7).longest_wait;
        let mean = CONNECTIONS as f64 / super::super::INTERVAL;
        // Each is as late as it takes to go round them all.
        let [_, second] = behind(0.9 * mean);
        assert!((350_000..375_000).contains(&second), "{second}");
        let [_, second] = behind(2.5 * mean);
        assert!(second < 1_000, "{second}");
    }

    #[tokio::test]
    async fn the_schedule_is_the_vaults() {
        use crate::backend::memory;
        use crate::provider::LIFETIME_SECONDS;
        use crate::setup::{Size, connect, key_of};

        let setup = memory::seed(Size { rows: 1, token_bytes: 16 }).await;
        let life = f64::from(LIFETIME_SECONDS) * 1e3;
        let (mut random, mut early, mut late) = (Random(7), 0, 0);
        for n in 0..400 {
            let user = vault_core::id::UserId::new(format!("another {n}")).expect("a plain id");
            connect(&setup.vault, &user, &setup.connector).await;
            let key = key_of(&user, &setup.connector);
            let record = setup.stores.connections.get(&key).await.expect("memory").expect("connected");
            let due_in = record.due_at.expect("it has a refresh token").saturating_since(record.created_at);
            // As a part of its life, which is longer there.
            let (theirs, ours) = (due_in.as_millis() as f64 / life, next(&mut random) as f64 / LIFE as f64);
            assert!((0.889..=0.911).contains(&theirs), "{theirs}");
            early += usize::from(theirs < 0.9);
            late += usize::from(ours < 0.9);
        }
        assert!((150..250).contains(&early) && (150..250).contains(&late), "{early}, {late}");
    }
}
