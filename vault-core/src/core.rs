//! What every operation works with.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::audit::{self, Audit};
use crate::cache::{Cache, Reading};
use crate::clock::{Clock, Timestamp};
use crate::connector::Recent;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Observer};
use crate::http::HttpClient;
use crate::oauth::{Discovery, Jwks};
use crate::refresh::{Breakers, Flights, Spill};
use crate::seal::Sealer;
use crate::store::Stores;
use crate::store_clock::StoreClock;
use crate::tasks::Tasks;
use crate::upkeep::Slots;

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) stores: Stores,
    /// Whether one write may end a flow and store its connection.
    pub(crate) finishes_in_one_step: bool,
    pub(crate) sealer: Sealer,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The same, to be set by the store's clock; `None` when the host's is to be believed.
    pub(crate) store_clock: Option<Arc<StoreClock>>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) audit: Option<Audit>,
    pub(crate) settings: Settings,
    /// Opened tokens. Writes reach it through `stores`.
    pub(crate) cache: Option<Arc<Cache>>,
    pub(crate) discovery: Discovery,
    pub(crate) jwks: Jwks,
    pub(crate) connectors: Recent,
    pub(crate) flights: Flights,
    pub(crate) breakers: Breakers,
    /// Where tokens go that the store does not take.
    pub(crate) spill: Option<Arc<dyn Spill>>,
    /// Random, so that a [`Moment`] of another process is known for one.
    pub(crate) process: [u8; 16],
    /// Of maintenance: what callers wait for needs none.
    pub(crate) refresh_slots: Slots,
    /// The same for owed revocations, which may be slow where refreshes are not.
    pub(crate) revocation_slots: Slots,
    pub(crate) tasks: Tasks,
    /// The vault is shutting down: waits that lose nothing end.
    pub(crate) closing: CancellationToken,
}

/// The builder's options, with its defaults.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The first is the default.
    pub(crate) redirect_uris: Vec<String>,
    /// Absolute return targets, compared exactly.
    pub(crate) return_targets: Vec<String>,
    pub(crate) flow_ttl: Duration,
    pub(crate) flow_cap: u32,
    pub(crate) http_timeout: Duration,
    pub(crate) lease_ttl: Duration,
    /// How long a caller waits for somebody's refresh.
    pub(crate) wait: Duration,
    pub(crate) min_ttl: Duration,
    /// No second refresh of one connection within this time.
    pub(crate) min_refresh_interval: Duration,
    /// After so long an owed revocation is given up.
    pub(crate) revocation_limit: Duration,
    /// How long an operation waits for its audit entry.
    pub(crate) audit_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            redirect_uris: Vec::new(),
            return_targets: Vec::new(),
            flow_ttl: Duration::from_secs(10 * 60),
            flow_cap: 20,
            http_timeout: Duration::from_secs(20),
            lease_ttl: Duration::from_secs(45),
            wait: Duration::from_secs(30),
            min_ttl: Duration::from_secs(30),
            min_refresh_interval: Duration::from_secs(30),
            revocation_limit: Duration::from_secs(7 * 24 * 60 * 60),
            audit_timeout: audit::TIMEOUT,
        }
    }
}

/// A moment of one process's monotonic clock, which nobody sets.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Moment {
    process: [u8; 16],
    at: Duration,
}

impl Core {
    pub(crate) fn moment(&self) -> Moment {
        Moment { process: self.process, at: self.clock.monotonic() }
    }

    /// How long ago that was; `None` when it was in another process.
    pub(crate) fn since(&self, moment: Moment) -> Option<Duration> {
        (moment.process == self.process).then(|| self.clock.monotonic().saturating_sub(moment.at))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.timestamp()
    }

    /// For the token cache. Each clock is asked once: they are most of what a hit costs.
    pub(crate) fn reading(&self) -> Reading {
        let monotonic = self.clock.monotonic();
        let time = self.store_clock.as_ref().map_or_else(|| self.now(), |clock| clock.at(monotonic));
        Reading { monotonic, time }
    }

    /// The store's clock says `now`. Whether ours turns out to have been well ahead of it.
    pub(crate) fn hear(&self, now: Timestamp) -> bool {
        self.store_clock.as_ref().is_some_and(|clock| clock.hear(now))
    }

    /// Sets our clock by the store's.
    pub(crate) async fn ask_time(&self) -> Result<(), Error> {
        if let Some(clock) = &self.store_clock {
            clock.hear(self.stores.connections.now().await?);
        }
        Ok(())
    }

    pub(crate) fn report(&self, event: &Event) {
        self.observer.event(event);
    }

    /// Runs `work` to its end in a task of its own: a caller that stops waiting loses the answer, not the effect.
    pub(crate) async fn detached<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.check_open()?;
        let task = self.tasks.spawn(tracing::Instrument::in_current_span(work));
        task.await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::ShuttingDown, "the operation's task was ended")))
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.tasks.is_closed() {
            return Err(Error::new(ErrorKind::ShuttingDown, "the vault is shutting down"));
        }
        Ok(())
    }
}
