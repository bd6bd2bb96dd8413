use std::time::Duration;

use vault_core::entropy::{Entropy, EntropyError};

/// `SplitMix64`: small, and the same everywhere and always.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Streams of the same seed with other numbers are independent.
    pub(crate) const fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed ^ stream.wrapping_mul(0xA24B_AED4_963E_E407));
        rng.next();
        rng
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// In [0, 1).
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Evenly over the orders of magnitude, so that short and long spans both occur.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let (least, most) = (least.as_secs_f64().ln(), most.as_secs_f64().ln());
        micros(Duration::from_secs_f64((least + (most - least) * self.fraction()).exp()))
    }

    /// The wait until the next of events that come `mean` apart.
    pub(crate) fn wait(&mut self, mean: Duration) -> Duration {
        micros(mean.mul_f64(-(1.0 - self.fraction()).ln()))
    }
}

fn micros(span: Duration) -> Duration {
    Duration::from_micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

/// Bytes for one vault.
#[derive(Debug)]
pub(crate) struct SeededEntropy(std::sync::Mutex<Rng>);

impl SeededEntropy {
    pub(crate) const fn new(rng: Rng) -> Self {
        Self(std::sync::Mutex::new(rng))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, dest: &mut [u8]) -> Result<(), EntropyError> {
        let mut rng = self.0.lock().map_err(|_| EntropyError::new())?;
        for chunk in dest.chunks_mut(8) {
            chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
