//! A server's process.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::context::Context;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A child that writes to a log file. We hold the other end of its stdin: that closes when we end, in whatever way,
/// and is how a child that watches it knows.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn spawn(context: &Context, name: &str, command: &mut Command) -> Result<Self> {
        let log = context.scratch().join(format!("{name}.log"));
        let out = File::create(&log)?;
        let child = command.stdin(Stdio::piped()).stderr(out.try_clone()?).stdout(out).spawn()?;
        Ok(Self { child, log })
    }

    /// Waits for a line in the log that starts with `prefix`; returns the rest of that line.
    pub(crate) fn wait_for_line(&mut self, prefix: &str) -> Result<String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            // Before the log is read: what a child wrote last is in there when it has ended.
            let ended = self.child.try_wait()?;
            let log = fs::read_to_string(&self.log)?;
            let complete = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            if let Some(rest) = complete.filter_map(|line| line.strip_prefix(prefix)).next() {
                return Ok(rest.to_owned());
            }
            match ended {
                Some(status) => return Err(format!("it ended with {status} and wrote:\n{log}").into()),
                None if Instant::now() > deadline => {
                    return Err(format!("it is not ready, and wrote:\n{log}").into());
                }
                None => sleep(PAUSE),
            }
        }
    }

    fn stop(&mut self) -> std::io::Result<ExitStatus> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(PAUSE);
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("cannot stop process {}: {error}", self.child.id());
        }
    }
}
