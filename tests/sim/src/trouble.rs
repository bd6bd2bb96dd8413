//! What happens to processes, stores and providers.

use std::time::Duration;

use crate::history::{Pid, What};
use crate::kernel::{Ambush, Kernel, PROCESSES, Task};
use crate::process::{Op, Reply};
use crate::provider::Ended;
use crate::weather::Weather;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

impl Kernel {
    /// Does it, and plans the next of its kind.
    pub(crate) fn perform(&mut self, task: Task) {
        let weather = self.lock().weather.clone();
        match task.clone() {
            Task::Ambush { pid, how } if self.processes[pid.slot].pid == pid => match how {
                Ambush::Kill => self.take_down(pid.slot),
                Ambush::Pause => self.pause(pid.slot),
                Ambush::Suspend => {
                    let span = self.rng.between(50 * SECOND, 110 * SECOND);
                    self.stop(pid.slot, span, true);
                }
            },
            Task::Ambush { .. } => {}
            Task::Ask => {
                self.somebody_asks();
                self.again(task, 8 * SECOND, 1.0);
            }
            Task::Close => {
                self.close();
                self.again(task, 40 * MINUTE, weather.closings);
            }
            Task::Forecast => {
                let mut drawn = Weather::draw(&mut self.rng);
                drawn.misconfigured_until = weather.misconfigured_until;
                self.lock().weather = drawn;
                self.again(task, 2 * HOUR, 1.0);
            }
            Task::Jump => {
                self.jump();
                self.again(task, 30 * MINUTE, weather.jumps);
            }
            Task::Kill => {
                let slot = self.rng.below(PROCESSES);
                self.take_down(slot);
                self.again(task, 10 * MINUTE, weather.kills);
            }
            Task::Maintain(slot) => {
                self.maintain(slot);
                self.again(task, MINUTE / 2, 1.0);
            }
            Task::Misconfigure => {
                let until = self.time.now() + self.rng.between(5 * SECOND, 20 * MINUTE);
                self.lock().weather.misconfigured_until = until;
                self.again(task, 3 * HOUR, weather.refusals * 30.0);
            }
            Task::Pause => {
                let slot = self.rng.below(PROCESSES);
                self.pause(slot);
                self.again(task, 6 * MINUTE, weather.pauses);
            }
            Task::Resume(pid) => self.resume(pid),
            Task::Return { conn, query } => self.come_back(conn, query),
            Task::Start(slot) => self.start(slot),
            Task::TakeAway { http } => {
                let longest = if http { 6 * HOUR } else { 3 * MINUTE };
                let span = self.rng.between(SECOND, longest);
                let until = self.time.now() + span;
                {
                    let mut world = self.lock();
                    world.weather.take_away(until, http);
                    let of = if http { "providers" } else { "store" };
                    world.count(if http { "provider outage" } else { "store outage" });
                    world.note(None, None, What::Outage { of, span });
                }
                self.again(task, if http { 4 * HOUR } else { 30 * MINUTE }, weather.outages);
            }
            Task::Withdraw => {
                self.withdraw();
                self.again(task, 2 * HOUR, 1.0);
            }
        }
    }

    fn again(&mut self, task: Task, mean: Duration, rate: f64) {
        if self.calm {
            return;
        }
        // Where the weather has none of it, it is looked at again after the next forecast.
        let wait = if rate > 0.0 { self.rng.wait(mean.div_f64(rate)) } else { HOUR };
        if rate == 0.0 { self.plan(wait, task) } else { self.plan(wait + SECOND / 10, task) }
    }

    fn start(&mut self, slot: usize) {
        if self.processes[slot].is_up() {
            return;
        }
        let time = self.time.clone();
        if let Err(error) = self.processes[slot].start(&time) {
            panic!("no runtime: {error}");
        }
        // Clocks of different machines, minutes apart.
        let wall = i64::try_from(self.rng.below(240_000)).unwrap_or(0) - 120_000;
        self.processes[slot].skew.set_wall(if self.calm { 0 } else { wall });
        let pid = self.processes[slot].pid;
        self.lock().note(Some(pid), None, What::Started);
        self.build(slot);
    }

    pub(crate) fn build(&mut self, slot: usize) {
        let work = self.processes[slot].build(&self.world, &self.time, &self.inner, self.options.seed);
        self.ask(slot, Op { conn: None, what: "build", asked_write: false }, work);
    }

    pub(crate) fn kill(&mut self, slot: usize) {
        let pid = self.processes[slot].pid;
        {
            let mut world = self.lock();
            world.count("kill");
            world.note(Some(pid), None, What::Killed);
        }
        let ops = self.processes[slot].kill();
        self.lock().bury();
        for (id, op) in ops {
            if matches!(op.what, "connect" | "complete") {
                self.away[op.conn.unwrap_or(0)] = false;
            }
            self.lock().note(Some(pid), op.conn, What::Gone { op: id });
        }
    }

    fn close(&mut self) {
        let slot = self.rng.below(PROCESSES);
        let process = &mut self.processes[slot];
        let Some(vault) = process.vault.clone().filter(|_| !process.closing) else { return };
        process.closing = true;
        let patience = self.rng.pick(&[0, 1, 10, 60, 120]);
        let op = Op { conn: None, what: "shutdown", asked_write: false };
        self.ask(slot, op, async move { Reply::Closed(vault.shutdown(Duration::from_secs(patience)).await) });
        self.lock().count("shutdown");
    }

    /// Trouble likes to come between a lease and its use, and between a request and the write of what it brought.
    pub(crate) fn ambush(&mut self) {
        let (leasers, senders, weather) = {
            let mut world = self.lock();
            let leasers = std::mem::take(&mut world.leasers);
            (leasers, std::mem::take(&mut world.senders), world.weather.clone())
        };
        let mut likely = |pids: &[Pid], how, chance: f64, longest| {
            for pid in pids {
                if self.rng.chance(chance) {
                    let wait = self.rng.between(SECOND / 1000, longest);
                    self.plan(wait, Task::Ambush { pid: *pid, how });
                }
            }
        };
        likely(&leasers, Ambush::Suspend, 0.01 * weather.pauses, SECOND / 50);
        likely(&senders, Ambush::Kill, 0.03 * weather.kills, SECOND);
        likely(&senders, Ambush::Pause, 0.03 * weather.pauses, SECOND);
    }

    fn take_down(&mut self, slot: usize) {
        if self.processes[slot].is_up() {
            self.kill(slot);
            let wait = self.rng.between(SECOND, 5 * MINUTE);
            self.plan(wait, Task::Start(slot));
        }
    }

    fn pause(&mut self, slot: usize) {
        // Up to several lease times. A stopped virtual machine's monotonic clock may stand still.
        let span = self.rng.between(SECOND, 4 * MINUTE);
        let frozen = self.rng.chance(0.25);
        self.stop(slot, span, frozen);
    }

    fn stop(&mut self, slot: usize, span: Duration, frozen: bool) {
        if !self.processes[slot].is_up() || self.processes[slot].paused.is_some() {
            return;
        }
        self.processes[slot].paused = Some((self.time.now(), frozen));
        let pid = self.processes[slot].pid;
        {
            let mut world = self.lock();
            world.count(if frozen { "suspend" } else { "pause" });
            world.note(Some(pid), None, What::Paused { frozen, span });
        }
        self.plan(span, Task::Resume(pid));
    }

    fn resume(&mut self, pid: Pid) {
        let process = &mut self.processes[pid.slot];
        if process.pid != pid {
            return;
        }
        if let Some((since, frozen)) = process.paused.take() {
            if frozen {
                process.skew.miss(self.time.now().saturating_sub(since));
            }
            let mut world = self.lock();
            world.woken[pid.slot] = true;
            world.note(Some(pid), None, What::Resumed);
        }
    }

    fn jump(&mut self) {
        let slot = self.rng.below(PROCESSES);
        let by_secs = self.rng.pick(&[-3600, -600, -30, 30, 600, 8 * 3600]);
        self.processes[slot].skew.shift_wall(by_secs * 1000);
        let pid = self.processes[slot].pid;
        let mut world = self.lock();
        world.count("clock jump");
        world.note(Some(pid), None, What::ClockSet { by_secs });
    }

    /// A user takes the app's access away in their account at the provider.
    fn withdraw(&mut self) {
        let conn = self.rng.below(self.held.len());
        let mut world = self.world.lock();
        let Some(standing) = world.standings[conn] else { return };
        world.grants[standing.tag.grant].ended.get_or_insert(Ended::User);
        world.count("access withdrawn");
        world.note(None, Some(conn), What::Withdrawn { grant: standing.tag.grant });
    }
}
