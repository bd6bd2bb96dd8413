//! Due work of one kind, worked off so that no provider holds up another.
//!
//! Each connector has a few slots, counted in this process across passes. A pass starts what there is a slot for, and the
//! next of a connector as one of its own ends. What waits for a slot stands in nobody's way: when all that a scan found
//! has to wait, the pass scans further. After a while it starts nothing new, and what runs then goes on by itself.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::core::Core;
use crate::error::Error;
use crate::id::{ConnectionKey, ConnectorId, TenantId};

/// A pass starts nothing new after so long.
const STARTS: Duration = Duration::from_secs(20);
/// The first scan of a pass; each further one is four times as long.
const FIRST: u32 = 500;
/// The longest scan.
pub(crate) const WIDEST: u32 = 16_384;
/// Slots of a connector whose provider definition does not say.
pub(crate) const SLOTS: u32 = 4;

/// Work that falls due in the store.
pub(crate) trait Due: Send + 'static {
    type Item: Send + 'static;
    /// What tells one item from another.
    type Id: Eq + Hash + Send;

    fn id(item: &Self::Item) -> Self::Id;
    fn key(item: &Self::Item) -> &ConnectionKey;
    fn slots(core: &Core) -> &Slots;
    /// The longest due, at most `limit`.
    fn scan(core: &Core, limit: u32) -> impl Future<Output = Result<Vec<Self::Item>, Error>> + Send;
    fn run(core: Arc<Core>, item: Self::Item) -> impl Future<Output = Verdict> + Send;
}

/// How one item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Failed,
    /// It failed, and so would the others of its connector: they wait for a later pass.
    Hold,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) running: usize,
    /// Whether the limit or the time kept it from beginning what else there may be.
    pub(crate) more: bool,
}

/// Whose slots they are.
type Registration = (TenantId, ConnectorId);

/// How many of each connector's slots are taken in this process. A connector with none taken takes no memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots(Arc<Mutex<HashMap<Registration, u32>>>);

impl Slots {
    fn take(&self, of: &Registration, cap: u32) -> Option<Slot> {
        let mut taken = self.lock();
        let count = taken.get(of).copied().unwrap_or(0);
        (count < cap.max(1)).then(|| {
            taken.insert(of.clone(), count + 1);
            Slot { slots: self.clone(), of: of.clone() }
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Registration, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Slot {
    slots: Slots,
    of: Registration,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        match taken.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.of)),
        }
    }
}

/// Works off what is due, starting at most `limit` items.
pub(crate) async fn work_off<D: Due>(core: &Arc<Core>, limit: u32) -> Result<Tally, Error> {
    let (ended, mut endings) = unbounded_channel();
    let mut pass = Pass::<D> {
        core,
        may_start: limit,
        lines: HashMap::new(),
        seen: HashSet::new(),
        ended,
        tally: Tally::default(),
    };
    let mut time_is_up = pin!(core.clock.sleep(STARTS));
    let mut window = limit.min(FIRST);
    let mut all_seen = false;
    let in_time = loop {
        while pass.may_start > 0 && !all_seen {
            all_seen = pass.scan(window).await? || window == WIDEST;
            window = window.saturating_mul(4).min(WIDEST);
        }
        if pass.tally.running == 0 {
            break true;
        }
        tokio::select! {
            biased;
            Some(Ending { of, verdict }) = endings.recv() => pass.one_ended(&of, verdict).await,
            () = &mut time_is_up => break false,
        }
    };
    let more = pass.may_start == 0 || !in_time && pass.lines.values().any(|line| !line.waiting.is_empty());
    Ok(Tally { more, ..pass.tally })
}

struct Pass<'a, D: Due> {
    core: &'a Arc<Core>,
    may_start: u32,
    lines: HashMap<Registration, Line<D::Item>>,
    seen: HashSet<D::Id>,
    ended: UnboundedSender<Ending>,
    tally: Tally,
}

/// A connector's items that wait for a slot.
struct Line<T> {
    cap: Option<u32>,
    held: bool,
    waiting: VecDeque<T>,
}

/// How one item of a connector ended.
struct Ending {
    of: Registration,
    verdict: Verdict,
}

impl<D: Due> Pass<'_, D> {
    /// Starts what is due and may start, and queues the rest; answers whether that was all there is.
    async fn scan(&mut self, window: u32) -> Result<bool, Error> {
        let items = D::scan(self.core, window).await?;
        let is_all = u32::try_from(items.len()).is_ok_and(|found| found < window);
        for item in items {
            if !self.seen.insert(D::id(&item)) {
                continue;
            }
            let key = D::key(&item);
            let of = (key.tenant.clone(), key.connector.clone());
            let line = self.lines.entry(of.clone()).or_insert(Line {
                cap: None,
                held: false,
                waiting: VecDeque::new(),
            });
            line.waiting.push_back(item);
            if line.waiting.len() == 1 {
                self.start_next(&of).await;
            }
        }
        Ok(is_all)
    }

    async fn one_ended(&mut self, of: &Registration, verdict: Verdict) {
        self.tally.running -= 1;
        if verdict == Verdict::Done {
            self.tally.done += 1;
        } else {
            self.tally.failed += 1;
        }
        if let Some(line) = self.lines.get_mut(of).filter(|_| verdict == Verdict::Hold) {
            line.held = true;
            line.waiting.clear();
        }
        self.start_next(of).await;
    }

    /// Starts the first of a line, if there is one and a slot for it.
    async fn start_next(&mut self, of: &Registration) {
        let Some(line) = self.lines.get_mut(of) else { return };
        if self.may_start == 0 || line.held || line.waiting.is_empty() {
            return;
        }
        let slots = D::slots(self.core);
        // The first slot there always is; only for more the provider's definition has to be looked at.
        let mut slot = slots.take(of, 1);
        if slot.is_none() {
            let cap = match line.cap {
                Some(cap) => cap,
                None => *line.cap.insert(cap(self.core, of).await),
            };
            slot = slots.take(of, cap);
        }
        let Some(slot) = slot else { return };
        if let Some(item) = line.waiting.pop_front() {
            self.may_start -= 1;
            self.tally.running += 1;
            let ticket = Ticket { slot: Some(slot), ended: self.ended.clone(), verdict: Verdict::Failed };
            let core = Arc::clone(self.core);
            self.core.tasks.spawn(async move { ticket.end(D::run(core, item).await) });
        }
    }
}

async fn cap(core: &Core, (tenant, connector): &Registration) -> u32 {
    let registered = core.registered(tenant, connector).await;
    // What is wrong with it, those that need it will say.
    let cap = registered.ok().and_then(|registered| registered.provider.spec().refresh_policy.concurrency);
    cap.unwrap_or(SLOTS)
}

/// However its task ends, gives the slot back first, and then says so.
struct Ticket {
    slot: Option<Slot>,
    ended: UnboundedSender<Ending>,
    verdict: Verdict,
}

impl Ticket {
    fn end(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            let of = slot.of.clone();
            drop(slot);
            // Where the pass is over, nobody counts any more.
            let _ = self.ended.send(Ending { of, verdict: self.verdict });
        }
    }
}
