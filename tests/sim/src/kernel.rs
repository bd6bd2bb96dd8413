//! Decides what happens next, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vault_core::AccessToken;
use vault_core::clock::{Clock, Timestamp};
use vault_core::store::{ConnectionStatus, ConnectionStore, Page};
use vault_memory::MemoryStore;

use crate::Options;
use crate::clock::TrueTime;
use crate::history::{Pid, What};
use crate::process::{Op, Process, Reply};
use crate::rng::Rng;
use crate::store::at_once;
use crate::weather::Weather;
use crate::world::{Shared, World};

pub(crate) const PROCESSES: usize = 3;

/// Something that happens at a time of its own.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    Ambush { pid: Pid, how: Ambush },
    Ask,
    Close,
    Forecast,
    Jump,
    Kill,
    Maintain(usize),
    Misconfigure,
    Pause,
    Resume(Pid),
    Return { conn: usize, query: String },
    Start(usize),
    TakeAway { http: bool },
    Withdraw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ambush {
    Kill,
    Pause,
    /// For longer than a lease, and its clocks with it: it will send late and not know.
    Suspend,
}

#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) options: Options,
    pub(crate) world: Shared,
    pub(crate) time: TrueTime,
    pub(crate) rng: Rng,
    pub(crate) inner: MemoryStore,
    pub(crate) processes: Vec<Process>,
    pub(crate) agenda: BTreeMap<(Duration, u64), Task>,
    /// The last token that each connection's user got.
    pub(crate) held: Vec<Option<Arc<AccessToken>>>,
    /// Whose browser is away at the provider.
    pub(crate) away: Vec<bool>,
    pub(crate) steps: u64,
    pub(crate) calm: bool,
}

/// What can be done at this moment.
#[derive(Clone, Copy)]
enum Move {
    Call(u64),
    Run(usize),
}

impl Kernel {
    pub(crate) fn new(options: Options, world: Shared, time: TrueTime, inner: MemoryStore) -> Self {
        let conns = world.lock().conns.len();
        let rng = Rng::new(options.seed, 1);
        let mut kernel = Self {
            options,
            world,
            time,
            rng,
            inner,
            processes: (0..PROCESSES).map(Process::new).collect(),
            agenda: BTreeMap::new(),
            held: vec![None; conns],
            away: vec![false; conns],
            steps: 0,
            calm: false,
        };
        for slot in 0..PROCESSES {
            kernel.plan(Duration::ZERO, Task::Start(slot));
            kernel.plan(Duration::from_secs(10), Task::Maintain(slot));
        }
        for task in [
            Task::Ask,
            Task::Close,
            Task::Jump,
            Task::Kill,
            Task::Misconfigure,
            Task::Pause,
            Task::TakeAway { http: false },
            Task::TakeAway { http: true },
            Task::Withdraw,
            Task::Forecast,
        ] {
            kernel.plan(Duration::from_secs(20), task);
        }
        kernel
    }

    pub(crate) fn plan(&mut self, after: Duration, task: Task) {
        let id = self.world.lock().id();
        self.agenda.insert((self.time.now() + after, id), task);
    }

    /// The stormy part, then the calm one.
    pub(crate) fn run(&mut self) {
        while self.steps < self.options.steps && self.step() {}
        self.settle();
        // Far more than it takes; a vault that never rests would otherwise never end.
        let limit = self.steps + 400_000;
        while self.steps < limit && self.step() {}
        for conn in 0..self.held.len() {
            self.read(conn);
        }
        while self.steps < limit && self.step() {}
        self.look_around();
    }

    /// How everything stands at the end.
    fn look_around(&self) {
        let mut world = self.lock();
        let now = world.now();
        let patience = Duration::from_secs(40 * 60);
        let before = Timestamp::from(Clock::now(&self.time)).saturating_sub(patience);
        for conn in 0..world.conns.len() {
            let key = world.conns[conn].key.clone();
            let record = at_once(ConnectionStore::get(&self.inner, &key)).ok().flatten();
            let overdue = record.is_some_and(|record| {
                record.status == ConnectionStatus::Active && record.due_at.is_some_and(|due| due < before)
            });
            let leased = world.leases[conn].is_some_and(|held| held.until > now);
            let owed = at_once(self.inner.list_owed(&key.tenant, Some(&key.owner), &Page::first(100)));
            let owed = owed.map_or(0, |page| page.items.iter().filter(|owed| owed.key == key).count());
            let (standing, spilled) = (world.standings[conn], world.spilled.len());
            world.note(None, Some(conn), What::AtRest { standing, leased, overdue, owed, spilled });
        }
    }

    /// No faults any more, everybody alive; maintenance goes on for hours.
    fn settle(&mut self) {
        self.calm = true;
        for process in &self.processes {
            process.skew.set_wall(0);
        }
        self.agenda.retain(|_, task| matches!(task, Task::Start(_) | Task::Resume(_)));
        {
            let mut world = self.world.lock();
            world.weather = Weather::calm();
            world.note(None, None, What::Calm);
        }
        // Longer than a clock was ever wrong.
        for round in 0..60 {
            let after = if round < 20 { 30 * round } else { 600 + 1800 * (round - 20) };
            for slot in 0..PROCESSES {
                self.plan(Duration::from_secs(60 + after), Task::Maintain(slot));
            }
        }
    }

    /// One thing happens. `false` when nothing is left to happen.
    fn step(&mut self) -> bool {
        self.steps += 1;
        self.wake_sleepers();
        let moves = self.moves();
        if !moves.is_empty() {
            match self.rng.pick(&moves) {
                Move::Call(id) => self.world.lock().move_calls(id),
                Move::Run(slot) => self.run_process(slot),
            }
            return true;
        }
        let next = self.agenda.first_key_value().map(|(key, _)| *key);
        if let Some(key) = next
            && key.0 <= self.time.now()
        {
            if let Some(task) = self.agenda.remove(&key) {
                self.perform(task);
            }
            return true;
        }
        let next =
            [next.map(|(at, _)| at), self.next_call(), self.next_sleeper()].into_iter().flatten().min();
        if let Some(moment) = next.filter(|_| !self.calm || !self.agenda.is_empty() || self.is_busy()) {
            self.time.advance_to(moment);
            return true;
        }
        false
    }

    fn is_busy(&self) -> bool {
        !self.world.lock().calls.is_empty() || self.processes.iter().any(|process| !process.ops.is_empty())
    }

    fn moves(&self) -> Vec<Move> {
        let world = self.world.lock();
        let mut moves: Vec<_> = world.movable().into_iter().map(Move::Call).collect();
        let runs = (0..PROCESSES).filter(|slot| world.woken[*slot] && self.processes[*slot].paused.is_none());
        moves.extend(runs.map(Move::Run));
        moves
    }

    fn next_call(&self) -> Option<Duration> {
        let world = self.world.lock();
        let waiting = world.calls.values().filter(|call| call.phase != crate::call::Phase::Answered);
        waiting.map(|call| call.ready).min()
    }

    fn next_sleeper(&self) -> Option<Duration> {
        let world = self.world.lock();
        let awake = world.sleepers.values().filter(|sleeper| self.processes[sleeper.slot].paused.is_none());
        let unfired = awake.filter(|sleeper| !sleeper.fired.load(std::sync::atomic::Ordering::Relaxed));
        unfired.map(|sleeper| sleeper.until.saturating_add(self.processes[sleeper.slot].skew.missed())).min()
    }

    fn wake_sleepers(&mut self) {
        let now = self.time.now();
        let mut world = self.world.lock();
        let mut woken = Vec::new();
        for sleeper in world.sleepers.values_mut() {
            let process = &self.processes[sleeper.slot];
            let until = sleeper.until.saturating_add(process.skew.missed());
            if process.paused.is_none()
                && until <= now
                && !sleeper.fired.swap(true, std::sync::atomic::Ordering::Relaxed)
            {
                woken.push((sleeper.slot, sleeper.waker.take()));
            }
        }
        for (slot, waker) in woken {
            world.wake(slot, waker);
        }
    }

    fn run_process(&mut self, slot: usize) {
        self.world.lock().woken[slot] = false;
        let replies = self.processes[slot].run();
        self.lock().bury();
        for (id, op, reply) in replies {
            self.answered(slot, id, op, reply);
        }
        self.ambush();
    }

    /// Hands a request to a process.
    pub(crate) fn ask(&mut self, slot: usize, op: Op, work: impl Future<Output = Reply> + Send + 'static) {
        let pid = self.processes[slot].pid;
        let id = {
            let mut world = self.world.lock();
            let id = world.id();
            world.note(Some(pid), op.conn, What::Asked { op: id, what: op.what });
            world.woken[slot] = true;
            id
        };
        self.processes[slot].spawn(id, op, work);
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock()
    }
}
