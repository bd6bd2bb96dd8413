//! Which processors the two ends of a round trip run on.
//!
//! On one machine they share a processor at times and do not at others, for as long as it pleases the scheduler, and a
//! round trip takes three times as long in one case as in the other. So each end keeps to a half of its own, as on two
//! machines, while one task's latency is measured. SQLite's other end is a thread of the same process, which is left where
//! the scheduler wants it: as in a host, and kept to one processor or apart, contestants differed by what they woke up.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::Range;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// This process with what it started, and what else `starter` started: the servers.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    starter: u32,
    processors: usize,
}

impl Ends {
    /// To be called before anything is kept anywhere.
    pub fn new(starter: u32) -> io::Result<Self> {
        Ok(Self { starter, processors: std::thread::available_parallelism()?.get() })
    }

    /// Each end on its half. One processor cannot be halved.
    pub fn apart(&self) -> io::Result<()> {
        let half = self.processors / 2;
        if half == 0 { Ok(()) } else { self.place(0..half, half..self.processors) }
    }

    /// Both wherever there is room.
    pub fn anywhere(&self) -> io::Result<()> {
        self.place(0..self.processors, 0..self.processors)
    }

    fn place(&self, ours: Range<usize>, theirs: Range<usize>) -> io::Result<()> {
        let (own, all) = (std::process::id(), processes()?);
        let mine = descendants(&all, own);
        for process in descendants(&all, self.starter) {
            let is_ours = mine.contains(&process);
            keep_to(process, if is_ours { ours.clone() } else { theirs.clone() })?;
        }
        Ok(())
    }
}

/// The parent of each.
fn processes() -> io::Result<HashMap<u32, u32>> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        // The name, in parentheses, may have spaces and parentheses; state and parent follow.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        if let Some(parent) = after.split_whitespace().nth(1).and_then(|parent| parent.parse().ok()) {
            parents.insert(process, parent);
        }
    }
    Ok(parents)
}

/// `root`, all that it started, and what those started.
fn descendants(parents: &HashMap<u32, u32>, root: u32) -> Vec<u32> {
    let is_below = |process: u32| {
        let ancestors = std::iter::successors(Some(process), |process| parents.get(process).copied());
        ancestors.take(64).any(|ancestor| ancestor == root)
    };
    parents.keys().copied().filter(|process| is_below(*process)).collect()
}

fn keep_to(process: u32, processors: Range<usize>) -> io::Result<()> {
    let mut set = CpuSet::new();
    processors.for_each(|processor| set.set(processor));
    // Both may end at any time.
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Ok(()) };
    for thread in threads.filter_map(Result::ok) {
        let Some(thread) = thread.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match sched_setaffinity(Pid::from_raw(thread), &set) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
