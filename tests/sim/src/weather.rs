//! How often what goes wrong.

use std::time::Duration;

use crate::call::Far;
use crate::history::Fault;
use crate::rng::Rng;

const MILLIS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Drawn per seed, so that some runs know a fault only and others all of them at once.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    store: [f64; 3],
    http: [f64; 3],
    slow_store: f64,
    slow_http: f64,
    pub(crate) refusals: f64,
    pub(crate) kills: f64,
    pub(crate) pauses: f64,
    pub(crate) jumps: f64,
    pub(crate) outages: f64,
    pub(crate) closings: f64,
    store_away_until: Duration,
    provider_away_until: Duration,
    /// Until then every client is refused.
    pub(crate) misconfigured_until: Duration,
}

impl Weather {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut level = |base: f64| base * rng.pick(&[0.0, 0.3, 1.0, 1.0, 3.0]);
        Self {
            store: [level(0.004), level(0.004), level(0.008)],
            http: [level(0.01), level(0.01), level(0.03)],
            slow_store: level(0.005),
            slow_http: level(0.03),
            refusals: level(0.03),
            kills: level(1.0),
            pauses: level(1.0),
            jumps: level(1.0),
            outages: level(1.0),
            closings: level(1.0),
            ..Self::calm()
        }
    }

    pub(crate) const fn calm() -> Self {
        Self {
            store: [0.0; 3],
            http: [0.0; 3],
            slow_store: 0.0,
            slow_http: 0.0,
            refusals: 0.0,
            kills: 0.0,
            pauses: 0.0,
            jumps: 0.0,
            outages: 0.0,
            closings: 0.0,
            store_away_until: Duration::ZERO,
            provider_away_until: Duration::ZERO,
            misconfigured_until: Duration::ZERO,
        }
    }

    /// How long a call takes to arrive and to be answered, and what goes wrong with it. A request arrives within the
    /// vault's own deadline of 20 s, or never.
    pub(crate) fn fate(&self, rng: &mut Rng, far: Far) -> (Duration, Duration, Option<Fault>) {
        let (chances, slow) = match far {
            Far::Disk => ([0.0; 3], 0.0),
            Far::Provider => (self.http, self.slow_http),
            Far::Store => (self.store, self.slow_store),
        };
        let mut leg = |usual: Duration, longest: Duration| {
            if rng.chance(slow) { rng.between(SECOND, longest) } else { rng.between(usual / 10, usual) }
        };
        let (out, back) = match far {
            Far::Provider => (leg(200 * MILLIS, 19 * SECOND), leg(200 * MILLIS, 40 * SECOND)),
            _ => (leg(4 * MILLIS, 60 * SECOND), leg(4 * MILLIS, 60 * SECOND)),
        };
        let faults = [Fault::NotSent, Fault::Lost, Fault::AnswerLost];
        let fault = faults.into_iter().zip(chances).find(|(_, chance)| rng.chance(*chance));
        (out, back, fault.map(|(fault, _)| fault))
    }

    pub(crate) fn is_away(&self, now: Duration, far: Far) -> bool {
        match far {
            Far::Disk => false,
            Far::Provider => now < self.provider_away_until,
            Far::Store => now < self.store_away_until,
        }
    }

    pub(crate) const fn take_away(&mut self, until: Duration, http: bool) {
        if http {
            self.provider_away_until = until;
        } else {
            self.store_away_until = until;
        }
    }
}
