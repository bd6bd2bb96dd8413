//! A circuit breaker per client registration: while a provider is down, throttles, or refuses the OAuth client itself,
//! none of that client's connections is sent to it, but for one probe each time a pause is over.
//!
//! In this process only, on the clock's monotonic time, and of no effect on any connection.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::id::{ConnectorId, TenantId};
use crate::store::{ConnectorRecord, Version};

/// So many failures in a row open it.
const FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// A provider that asks for more is asked again after this.
const LONGEST_THROTTLE: Duration = Duration::from_secs(60 * 60);
/// A probe that has not reported by then counts as lost, and another one goes.
const PROBE: Duration = Duration::from_secs(60);
/// What was not heard of for so long is forgotten, when there are many.
const FORGET: Duration = Duration::from_secs(2 * 60 * 60);
const MANY: usize = 1_024;

/// A client registration as it is now: a changed one, with a new secret perhaps, starts afresh.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BreakerId {
    tenant: TenantId,
    connector: ConnectorId,
    version: Version,
}

impl BreakerId {
    pub(crate) fn of(record: &ConnectorRecord) -> Self {
        Self { tenant: record.tenant.clone(), connector: record.id.clone(), version: record.version }
    }
}

/// What an exchange with the provider says about the client registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered as it should; a refused grant is such an answer.
    Healthy,
    /// It refuses the client itself.
    Misconfigured,
    /// It wants to be left alone, for so long where it says.
    Throttled(Option<Duration>),
    /// It could not be reached, or did not answer with anything that counts.
    Unavailable,
}

/// Nothing may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// Until somebody may try.
    pub(crate) retry_after: Duration,
    /// Because the provider refuses the client, which waiting does not mend.
    pub(crate) misconfigured: bool,
}

/// The breakers of a process. Those that are closed and had no failure take no memory.
#[derive(Debug, Default)]
pub(crate) struct Breakers(Mutex<HashMap<BreakerId, Circuit>>);

#[derive(Debug, Clone, Copy)]
struct Circuit {
    /// In a row, since it was closed.
    failures: u32,
    /// How long the next pause is.
    pause: Duration,
    pausing: Option<Pausing>,
    heard_at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Pausing {
    until: Duration,
    misconfigured: bool,
    throttled: bool,
    probe_since: Option<Duration>,
}

impl Breakers {
    /// Whether a request may go now. When a pause is over, that is said to one caller, who probes and must
    /// [`record`](Self::record) what came of it; to the others again once it did, or a minute later.
    pub(crate) fn check(&self, id: &BreakerId, now: Duration) -> Result<(), Open> {
        let mut circuits = self.lock();
        match circuits.get_mut(id).and_then(|circuit| circuit.pausing.as_mut()) {
            None => Ok(()),
            Some(pausing) => pausing.check(now),
        }
    }

    /// What came of a request.
    pub(crate) fn record(&self, id: &BreakerId, now: Duration, outcome: Outcome) {
        let mut circuits = self.lock();
        if outcome == Outcome::Healthy {
            // One that was sent before the provider asked for a pause does not end it.
            let asked = |circuit: &Circuit| circuit.pausing.is_some_and(|p| p.throttled && now < p.until);
            if !circuits.get(id).is_some_and(asked) {
                circuits.remove(id);
            }
            return;
        }
        if circuits.len() >= MANY && !circuits.contains_key(id) {
            make_room(&mut circuits, now);
        }
        circuits.entry(id.clone()).or_insert(Circuit::NEW).fail(now, outcome);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BreakerId, Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pausing {
    fn check(&mut self, now: Duration) -> Result<(), Open> {
        let until = match self.probe_since {
            _ if now < self.until => self.until,
            Some(since) if now < since + PROBE => since + PROBE,
            _ => {
                self.probe_since = Some(now);
                return Ok(());
            }
        };
        Err(Open { retry_after: until - now, misconfigured: self.misconfigured })
    }
}

impl Circuit {
    const NEW: Self = Self { failures: 0, pause: FIRST_PAUSE, pausing: None, heard_at: Duration::ZERO };

    fn fail(&mut self, now: Duration, outcome: Outcome) {
        self.heard_at = now;
        self.failures = self.failures.saturating_add(1);
        let asked = match outcome {
            Outcome::Throttled(asked) => asked.map(|asked| asked.min(LONGEST_THROTTLE)),
            _ => None,
        };
        let (misconfigured, throttled) =
            (outcome == Outcome::Misconfigured, matches!(outcome, Outcome::Throttled(_)));
        match &mut self.pausing {
            // Sent before it opened: one outage is one pause, though many saw it.
            Some(pausing) if now < pausing.until => {
                pausing.misconfigured |= misconfigured;
                pausing.throttled |= throttled;
                pausing.until = pausing.until.max(now + asked.unwrap_or_default());
            }
            // One user may be throttled, or one request fail, and the next be served.
            None if !misconfigured && self.failures < FAILURES => {}
            _ => {
                let pause = asked.unwrap_or_else(|| self.next_pause());
                self.pausing =
                    Some(Pausing { until: now + pause, misconfigured, throttled, probe_since: None });
            }
        }
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Forgets what is long past and, should all be recent, what was heard of least recently.
fn make_room(circuits: &mut HashMap<BreakerId, Circuit>, now: Duration) {
    circuits.retain(|_, circuit| now < circuit.heard_at + FORGET);
    if circuits.len() >= MANY {
        let oldest = circuits.iter().min_by_key(|(_, circuit)| circuit.heard_at).map(|(id, _)| id.clone());
        oldest.and_then(|id| circuits.remove(&id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(version: i64) -> BreakerId {
        BreakerId {
            tenant: TenantId::default(),
            connector: ConnectorId::new("mail").expect("valid"),
            version: Version::from_i64(version),
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn open(seconds: u64) -> Result<(), Open> {
        Err(Open { retry_after: at(seconds), misconfigured: false })
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let breakers = Breakers::default();
        for _ in 0..2 {
            for _ in 0..4 {
                breakers.record(&id(1), at(0), Outcome::Unavailable);
                assert_eq!(breakers.check(&id(1), at(0)), Ok(()));
            }
            breakers.record(&id(1), at(0), Outcome::Healthy);
            assert!(breakers.lock().is_empty());
        }
        for _ in 0..5 {
            breakers.record(&id(1), at(1), Outcome::Unavailable);
        }
        assert_eq!(breakers.check(&id(1), at(11)), open(20));
        assert_eq!(breakers.check(&id(2), at(11)), Ok(()), "another version is another client");
    }

    #[test]
    fn one_probe_goes_when_the_pause_is_over() {
        let breakers = Breakers::default();
        breakers.record(&id(1), at(0), Outcome::Misconfigured);
        let refused = Err(Open { retry_after: at(30), misconfigured: true });
        assert_eq!(breakers.check(&id(1), at(0)), refused);
        assert_eq!(breakers.check(&id(1), at(30)), Ok(()), "the probe");
        let meanwhile = Err(Open { retry_after: at(55), misconfigured: true });
        assert_eq!(breakers.check(&id(1), at(35)), meanwhile);
        assert_eq!(breakers.check(&id(1), at(90)), Ok(()), "the probe never reported");
        assert!(breakers.check(&id(1), at(91)).is_err());
        breakers.record(&id(1), at(92), Outcome::Healthy);
        assert_eq!(breakers.check(&id(1), at(92)), Ok(()));
        assert_eq!(breakers.check(&id(1), at(92)), Ok(()));
        assert!(breakers.lock().is_empty());
    }

    #[test]
    fn the_pause_doubles_up_to_a_quarter_of_an_hour() {
        let breakers = Breakers::default();
        let mut now = at(0);
        for expected in [30, 60, 120, 240, 480, 900, 900] {
            breakers.record(&id(1), now, Outcome::Misconfigured);
            // Late failures of the same outage.
            breakers.record(&id(1), now, Outcome::Unavailable);
            let refused = breakers.check(&id(1), now).expect_err("open");
            assert_eq!(refused.retry_after, at(expected));
            now += refused.retry_after;
            assert_eq!(breakers.check(&id(1), now), Ok(()));
        }
        breakers.record(&id(1), now, Outcome::Healthy);
        breakers.record(&id(1), now, Outcome::Misconfigured);
        let afresh = breakers.check(&id(1), now).expect_err("open");
        assert_eq!(afresh.retry_after, at(30));
    }

    #[test]
    fn a_failed_probe_opens_it_again_at_once() {
        let breakers = Breakers::default();
        for _ in 0..5 {
            breakers.record(&id(1), at(0), Outcome::Unavailable);
        }
        assert_eq!(breakers.check(&id(1), at(30)), Ok(()));
        breakers.record(&id(1), at(31), Outcome::Unavailable);
        assert_eq!(breakers.check(&id(1), at(31)), open(60));
    }

    #[test]
    fn a_throttled_client_waits_as_long_as_it_is_asked_to() {
        let breakers = Breakers::default();
        for _ in 0..5 {
            assert_eq!(breakers.check(&id(1), at(0)), Ok(()), "it may be one user's alone");
            breakers.record(&id(1), at(0), Outcome::Throttled(Some(at(100))));
        }
        assert_eq!(breakers.check(&id(1), at(10)), open(90));
        breakers.record(&id(1), at(10), Outcome::Healthy);
        assert_eq!(breakers.check(&id(1), at(10)), open(90), "that was sent before");
        breakers.record(&id(1), at(20), Outcome::Throttled(Some(at(300))));
        assert_eq!(breakers.check(&id(1), at(20)), open(300));
        assert_eq!(breakers.check(&id(1), at(320)), Ok(()));
        breakers.record(&id(1), at(320), Outcome::Throttled(Some(at(1_000_000))));
        assert_eq!(breakers.check(&id(1), at(320)), open(60 * 60));
        assert_eq!(breakers.check(&id(1), at(320 + 60 * 60)), Ok(()));
        breakers.record(&id(1), at(320 + 60 * 60), Outcome::Throttled(None));
        assert_eq!(breakers.check(&id(1), at(320 + 60 * 60)), open(30));
        breakers.record(&id(1), at(320 + 60 * 60 + 30), Outcome::Healthy);
        assert!(breakers.lock().is_empty());
    }

    #[test]
    fn however_many_clients_fail_memory_stays_bounded() {
        let breakers = Breakers::default();
        for n in 0..3 * 1_024 {
            breakers.record(&id(n), at(n.unsigned_abs()), Outcome::Misconfigured);
        }
        assert_eq!(breakers.lock().len(), MANY);
        assert!(breakers.check(&id(3 * 1_024 - 1), at(3 * 1_024)).is_err(), "the latest is remembered");
        breakers.record(&id(-1), at(20_000), Outcome::Unavailable);
        assert_eq!(breakers.lock().len(), 1, "the rest is long past");
    }
}
