//! What everything in the simulation shares: time, calls under way, sleepers, the providers' memory, the history.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use vault_core::Vault;
use vault_core::id::{AttemptId, ConnectionKey, TenantId};

use crate::clock::{Sleeper, TrueTime};
use crate::history::{Entry, Fault, History, Pid, Standing, What};
use crate::provider::{Grant, Mode, Tag};
use crate::rng::Rng;
use crate::weather::Weather;
use crate::{
    Plant,
    call::{Far, Pending},
};

/// One user's connection through one connector.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) key: ConnectionKey,
    pub(crate) tenant: TenantId,
    pub(crate) user: &'static str,
    pub(crate) mode: Mode,
}

/// A lease as the store has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) holder: AttemptId,
    pub(crate) until: Duration,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) time: TrueTime,
    pub(crate) rng: Rng,
    pub(crate) weather: Weather,
    pub(crate) plant: Option<Plant>,
    pub(crate) history: History,
    pub(crate) calls: BTreeMap<u64, Pending>,
    /// Nobody waits for these any more.
    pub(crate) left: BTreeMap<u64, Pending>,
    pub(crate) sleepers: BTreeMap<u64, Sleeper>,
    pub(crate) conns: Vec<Conn>,
    /// What the store holds.
    pub(crate) standings: Vec<Option<Standing>>,
    pub(crate) leases: Vec<Option<Held>>,
    pub(crate) grants: Vec<Grant>,
    /// Authorization codes that were not redeemed yet, and their grant.
    pub(crate) codes: BTreeMap<String, usize>,
    /// Which processes have something to do.
    pub(crate) woken: Vec<bool>,
    pub(crate) auditor: Option<Vault>,
    /// Who has just sent a refresh token, and who is about to.
    pub(crate) senders: Vec<Pid>,
    pub(crate) leasers: Vec<Pid>,
    /// What processes put aside while the store is away.
    pub(crate) spilled: BTreeMap<String, Vec<u8>>,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    next_id: u64,
}

/// Handles to the one world.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// Never held while a process runs or is dropped.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl World {
    pub(crate) fn new(time: TrueTime, rng: Rng, weather: Weather, plant: Option<Plant>) -> Self {
        Self {
            time,
            rng,
            weather,
            plant,
            history: History::default(),
            calls: BTreeMap::new(),
            left: BTreeMap::new(),
            sleepers: BTreeMap::new(),
            conns: Vec::new(),
            standings: Vec::new(),
            leases: Vec::new(),
            grants: Vec::new(),
            codes: BTreeMap::new(),
            woken: Vec::new(),
            auditor: None,
            senders: Vec::new(),
            leasers: Vec::new(),
            spilled: BTreeMap::new(),
            faults: BTreeMap::new(),
            next_id: 1,
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.time.now()
    }

    pub(crate) const fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn note(&mut self, pid: Option<Pid>, conn: Option<usize>, what: What) {
        let at = self.now();
        self.history.push(Entry { at, pid, conn, what });
    }

    pub(crate) fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn count_fault(&mut self, fault: Fault, far: Far) {
        self.count(match (fault, far) {
            (Fault::NotSent, Far::Provider) => "request not sent",
            (Fault::Lost, Far::Provider) => "request lost",
            (Fault::AnswerLost, Far::Provider) => "reply lost",
            (Fault::NotSent, _) => "store busy",
            (Fault::Lost, _) => "store call lost",
            (Fault::AnswerLost, _) => "acknowledgement lost",
        });
    }

    pub(crate) fn conn(&self, key: &ConnectionKey) -> Option<usize> {
        self.conns.iter().position(|conn| conn.key == *key)
    }

    pub(crate) fn add_sleeper(&mut self, sleeper: Sleeper) -> u64 {
        let id = self.id();
        self.sleepers.insert(id, sleeper);
        id
    }

    pub(crate) fn wake(&mut self, slot: usize, waker: Option<Waker>) {
        if let Some(woken) = self.woken.get_mut(slot) {
            *woken = true;
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A secret in what somebody could see.
    pub(crate) fn inspect(&mut self, pid: Option<Pid>, place: &'static str, shown: &str) {
        if shown.contains(crate::provider::MARK) {
            self.note(pid, None, What::Leaked { place });
        }
    }

    pub(crate) fn truth(&self, tag: Tag) -> crate::history::Truth {
        let (grant, now) = (&self.grants[tag.grant], self.now());
        crate::history::Truth {
            alive: grant.accepts(now, tag.refresh),
            unspent: grant.unspent(now),
            ended: grant.ended,
        }
    }
}
