//! One process of the application: a runtime, a vault, and the requests it is serving.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use vault_core::connect::Connected;
use vault_core::event::{Event, Observer};
use vault_core::id::ConnectionKey;
use vault_core::store::Stores;
use vault_core::{AccessToken, Disconnected, Error, KeyRing, Maintenance, Vault};
use vault_memory::MemoryStore;

use crate::clock::{ProcessClock, Skew, TrueTime};
use crate::history::{Pid, What};
use crate::http::SimHttp;
use crate::rng::{Rng, SeededEntropy};
use crate::spill::SimSpill;
use crate::store::SimStore;
use crate::world::Shared;

pub(crate) const REDIRECT_URI: &str = "https://app.example.com/connect/callback";
pub(crate) const KEYS: &str = "k1:c2Nhbi1mb3ItdGhpcy1rZXktMDEyMzQ1Njc4OWFiY2Q=";

/// What a request to the vault comes to.
#[derive(Debug)]
pub(crate) enum Reply {
    Built(Result<Vault, Error>),
    Closed(bool),
    Connected(Result<Connected, Error>),
    Disconnected(Result<Disconnected, Error>),
    Maintained(Result<Maintenance, Error>),
    Started(Result<url::Url, Error>),
    Token(Result<AccessToken, Error>),
}

/// A request that is being served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    pub(crate) conn: Option<usize>,
    pub(crate) what: &'static str,
    pub(crate) asked_write: bool,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) skew: Skew,
    pub(crate) vault: Option<Vault>,
    /// Since when, and whether its monotonic clock stands still too.
    pub(crate) paused: Option<(Duration, bool)>,
    pub(crate) closing: bool,
    pub(crate) ops: BTreeMap<u64, Op>,
    runtime: Option<Runtime>,
    replies: Arc<Mutex<Vec<(u64, Reply)>>>,
}

impl Process {
    pub(crate) fn new(slot: usize) -> Self {
        Self {
            pid: Pid { slot, life: 0 },
            skew: Skew::default(),
            vault: None,
            paused: None,
            closing: false,
            ops: BTreeMap::new(),
            runtime: None,
            replies: Arc::default(),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.runtime.is_some()
    }

    /// Without timers and sockets: nothing in it waits but for the simulation.
    pub(crate) fn start(&mut self, time: &TrueTime) -> std::io::Result<()> {
        self.pid.life += 1;
        self.skew.miss(time.now().saturating_sub(self.skew.missed()));
        self.runtime = Some(Builder::new_current_thread().build()?);
        Ok(())
    }

    /// As `kill -9`: every task ends at the await where it stands.
    pub(crate) fn kill(&mut self) -> BTreeMap<u64, Op> {
        drop(self.runtime.take());
        self.vault = None;
        self.paused = None;
        self.closing = false;
        self.replies = Arc::default();
        std::mem::take(&mut self.ops)
    }

    pub(crate) fn build(
        &self,
        world: &Shared,
        time: &TrueTime,
        inner: &MemoryStore,
        seed: u64,
    ) -> impl Future<Output = Reply> + use<> {
        let pid = self.pid;
        let stream = 1000 + 10 * u64::from(pid.life) + u64::try_from(pid.slot).unwrap_or(0);
        let store = SimStore { pid, world: world.clone(), inner: inner.clone() };
        let (slot, skew) = (pid.slot, self.skew.clone());
        let clock = ProcessClock { slot, time: time.clone(), skew, world: world.clone() };
        let builder = Vault::builder()
            .stores(Stores::from_backend(store))
            .http(SimHttp { pid, world: world.clone() })
            .redirect_uri(REDIRECT_URI)
            .observer(Ears { pid, world: world.clone() })
            .clock(clock)
            .spill(SimSpill { pid, world: world.clone() })
            .danger_entropy(SeededEntropy::new(Rng::new(seed, stream)));
        async move {
            Reply::Built(match KeyRing::from_text(KEYS) {
                Ok(keys) => builder.keys(keys).build().await,
                Err(error) => Err(error),
            })
        }
    }

    /// Serves a request in a task of its own.
    pub(crate) fn spawn(&mut self, id: u64, op: Op, work: impl Future<Output = Reply> + Send + 'static) {
        let Some(runtime) = &self.runtime else { return };
        let replies = Arc::clone(&self.replies);
        self.ops.insert(id, op);
        runtime.spawn(async move {
            let reply = work.await;
            replies.lock().unwrap_or_else(PoisonError::into_inner).push((id, reply));
        });
    }

    /// Runs it until it waits. Who waited for the same refresh is woken in no certain order; the answers are sorted, and
    /// nothing else depends on it.
    pub(crate) fn run(&mut self) -> Vec<(u64, Op, Reply)> {
        let Some(runtime) = &self.runtime else { return Vec::new() };
        runtime.block_on(async {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        });
        let mut replies = std::mem::take(&mut *self.replies.lock().unwrap_or_else(PoisonError::into_inner));
        replies.sort_by_key(|(id, _)| *id);
        let known = |(id, reply)| Some((id, self.ops.remove(&id)?, reply));
        replies.into_iter().filter_map(known).collect()
    }
}

/// Hears what the vault tells the application.
#[derive(Debug)]
struct Ears {
    pid: Pid,
    world: Shared,
}

impl Observer for Ears {
    fn event(&self, event: &Event) {
        let mut world = self.world.lock();
        world.inspect(Some(self.pid), "an event", &format!("{event:?}"));
        let conn = key_of(event).and_then(|key| world.conn(key));
        world.note(Some(self.pid), conn, What::Told(event.clone()));
    }
}

fn key_of(event: &Event) -> Option<&ConnectionKey> {
    match event {
        Event::AlternateTried { key }
        | Event::Connected { key }
        | Event::Healed { key }
        | Event::RefreshTakenOver { key }
        | Event::RotationLost { key, .. }
        | Event::SiblingKept { key }
        | Event::SpillImported { key }
        | Event::Disconnected { key }
        | Event::NeedsReauthorization { key, .. }
        | Event::OrphanedTokens { key }
        | Event::PersistPending { key, .. }
        | Event::RefreshFailed { key, .. }
        | Event::Refreshed { key, .. }
        | Event::RevocationPending { key, .. }
        | Event::RevocationAbandoned { key, .. }
        | Event::Revoked { key } => Some(key),
        _ => None,
    }
}
