//! A call from a vault to the outside: it leaves, takes effect, and is answered, each when the kernel says so.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::history::{Fault, Pid, What};
use crate::provider::Tag;
use crate::world::{Shared, World};

/// Runs on the far side.
type Effect = Box<dyn FnOnce(&mut World, u64) + Send>;

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    Disk,
    Provider,
    Store,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Out,
    Back,
    Answered,
}

/// A call under way.
pub(crate) struct Pending {
    pub(crate) pid: Pid,
    pub(crate) conn: Option<usize>,
    pub(crate) far: Far,
    pub(crate) phase: Phase,
    what: &'static str,
    placed: Duration,
    /// The call that this one goes with; its own number if it goes alone.
    leader: u64,
    /// When the next thing happens to it.
    pub(crate) ready: Duration,
    pub(crate) back: Duration,
    pub(crate) fault: Option<Fault>,
    effect: Option<Effect>,
    fail: Box<dyn FnOnce(Fault) + Send>,
    waker: Option<Waker>,
    abandoned: bool,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("pid", &self.pid).field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// What is called, for the history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label {
    pub(crate) pid: Pid,
    pub(crate) conn: Option<usize>,
    pub(crate) what: &'static str,
    pub(crate) far: Far,
    /// The refresh token that the request spends.
    pub(crate) spent: Option<Tag>,
}

/// Calls, and waits for the answer.
pub(crate) async fn call<T: Send + 'static>(
    shared: &Shared,
    label: Label,
    effect: impl FnOnce(&mut World, u64) -> T + Send + 'static,
    fail: impl FnOnce(Fault) -> T + Send + 'static,
) -> T {
    let slot = Arc::new(Mutex::new(None));
    let (done, failed) = (Arc::clone(&slot), Arc::clone(&slot));
    let effect: Effect = Box::new(move |world, call| {
        let answer = effect(world, call);
        *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    });
    let fail = Box::new(move |fault| {
        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(fail(fault));
    });
    let id = shared.lock().place(label, effect, fail);
    let _placed = Placed { id, shared };
    poll_fn(|context| {
        let mut world = shared.lock();
        match world.calls.get_mut(&id) {
            Some(pending) if pending.phase != Phase::Answered => {
                pending.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => match slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(answer) => Poll::Ready(answer),
                // Only a call that was dropped has no answer, and nobody polls that.
                None => Poll::Pending,
            },
        }
    })
    .await
}

struct Placed<'a> {
    id: u64,
    shared: &'a Shared,
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        self.shared.lock().leave(self.id);
    }
}

impl World {
    fn place(&mut self, label: Label, effect: Effect, fail: Box<dyn FnOnce(Fault) + Send>) -> u64 {
        let id = self.id();
        let Label { pid, conn, what, far, spent } = label;
        let now = self.now();
        // Tasks that waited for the same thing are woken in no certain order. Where they all make the same call at once,
        // the calls share their fate, so that it does not matter which is whose.
        let twin =
            self.calls.iter().rev().take_while(|(_, other)| other.placed == now).find(|(_, other)| {
                far == Far::Store && (other.pid, other.conn, other.what) == (pid, conn, what)
            });
        let (leader, out, back, fault) = match twin {
            Some((_, twin)) => (twin.leader, twin.ready.saturating_sub(now), twin.back, twin.fault),
            None => {
                let (out, back, fault) = self.weather.fate(&mut self.rng, far);
                (id, out, back, fault)
            }
        };
        if let Some(fault) = fault {
            self.count_fault(fault, far);
        }
        let pending = Pending {
            pid,
            conn,
            far,
            phase: Phase::Out,
            what,
            placed: now,
            leader,
            ready: now + out,
            back,
            fault,
            effect: Some(effect),
            fail,
            waker: None,
            abandoned: false,
        };
        self.calls.insert(id, pending);
        if spent.is_some() {
            self.senders.push(pid);
        }
        let called = spent.map_or(What::Called { call: id, what }, |spent| What::Sent { call: id, spent });
        self.note(Some(pid), conn, called);
        id
    }

    /// A process that is killed drops its calls in no certain order: what becomes of them is decided afterwards.
    fn leave(&mut self, id: u64) {
        if let Some(pending) = self.calls.remove(&id)
            && pending.phase != Phase::Answered
        {
            self.left.insert(id, pending);
        }
    }

    /// What is already on its way may still arrive.
    pub(crate) fn bury(&mut self) {
        for (id, mut pending) in std::mem::take(&mut self.left) {
            self.note(Some(pending.pid), pending.conn, What::Dropped { call: id });
            if pending.phase == Phase::Out && self.rng.chance(0.5) {
                pending.abandoned = true;
                pending.waker = None;
                self.calls.insert(id, pending);
            }
        }
    }

    /// Who may be moved now.
    pub(crate) fn movable(&self) -> Vec<u64> {
        let now = self.now();
        let ready = self.calls.iter().filter(|(id, call)| {
            let alone = call.leader == **id || !self.calls.contains_key(&call.leader);
            alone && call.ready <= now && call.phase != Phase::Answered
        });
        ready.map(|(id, _)| *id).collect()
    }

    /// The next thing happens to a call, and to those that go with it.
    pub(crate) fn move_calls(&mut self, leader: u64) {
        let with = |call: &Pending| call.leader == leader && call.phase != Phase::Answered;
        let mut all: Vec<_> = self.calls.iter().filter(|(_, call)| with(call)).map(|(id, _)| *id).collect();
        if !all.contains(&leader) {
            all.insert(0, leader);
        }
        for id in all {
            self.move_call(id);
        }
    }

    fn move_call(&mut self, id: u64) {
        let Some(mut pending) = self.calls.remove(&id) else { return };
        let (pid, conn) = (Some(pending.pid), pending.conn);
        match pending.phase {
            Phase::Out => {
                if self.weather.is_away(self.now(), pending.far) && pending.fault.is_none() {
                    pending.fault = Some(if self.rng.chance(0.5) { Fault::NotSent } else { Fault::Lost });
                }
                let lost = matches!(pending.fault, Some(Fault::NotSent | Fault::Lost));
                if let (false, Some(effect)) = (lost, pending.effect.take()) {
                    effect(self, id);
                }
                if !pending.abandoned {
                    pending.phase = Phase::Back;
                    pending.ready = self.now() + pending.back;
                    self.calls.insert(id, pending);
                }
            }
            Phase::Back => {
                self.note(pid, conn, What::Answered { call: id, fault: pending.fault });
                pending.phase = Phase::Answered;
                let waker = pending.waker.take();
                let slot = pending.pid.slot;
                if let Some(fault) = pending.fault {
                    let fail = std::mem::replace(&mut pending.fail, Box::new(|_| {}));
                    fail(fault);
                }
                self.calls.insert(id, pending);
                self.wake(slot, waker);
            }
            Phase::Answered => {
                self.calls.insert(id, pending);
            }
        }
    }
}
