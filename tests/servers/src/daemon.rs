//! A server that can be killed and started again.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::folder::{Account, Folder};
use crate::process::{Process, is_gone};

/// How to start a server, and its process while it runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
    /// What runs, with the arguments that [`Daemon::start`] was given last.
    program: PathBuf,
    args: Vec<String>,
    /// A part of the line by which it says that it serves.
    ready: &'static str,
    stop: &'static str,
    user: Option<Account>,
    log: PathBuf,
    process: Option<Process>,
    /// The last field: it goes when the process has ended.
    folder: Folder,
}

impl Daemon {
    /// `logs` is where the log goes, named like the server's folder; else it goes into that.
    pub(crate) fn new(
        name: &str,
        program: PathBuf,
        (ready, stop): (&'static str, &'static str),
        user: Option<Account>,
        logs: Option<&Path>,
    ) -> Result<Self> {
        let folder = Folder::new(name, user)?;
        let log = logs.unwrap_or(folder.path()).join(folder.name()).with_extension("log");
        let (name, args, process) = (name.to_owned(), Vec::new(), None);
        Ok(Self { name, program, args, ready, stop, user, log, process, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command in the folder, as the server's user.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if let Some(user) = self.user {
            user.runs(&mut command);
        }
        command
    }

    pub(crate) fn start(&mut self, args: Vec<String>) -> Result<()> {
        self.args = args;
        self.restart()
    }

    /// Returns when the server serves.
    pub(crate) fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Err(format!("{} is running", self.name).into());
        }
        let mut command = self.command(&self.program);
        let process =
            Process::spawn(command.args(&self.args), &self.log, self.stop, Some(self.folder.path()));
        let started = process.and_then(|mut process| {
            process.wait_for(|log| log.contains(self.ready).then_some(()))?;
            Ok(process)
        });
        self.process = Some(started.map_err(|error| format!("cannot start {}: {error}", self.name))?);
        Ok(())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        let process = self.process.take().ok_or_else(|| format!("{} is not running", self.name))?;
        process.kill().map_err(|error| format!("cannot kill {}: {error}", self.name).into())
    }

    pub(crate) fn pause(&mut self) -> Result<()> {
        self.process()?.pause()
    }

    pub(crate) fn resume(&mut self) -> Result<()> {
        self.process()?.resume()
    }

    /// Lets it and its children write no file beyond so many bytes, as if the disk were full then; `None` ends that.
    pub(crate) fn limit_files(&mut self, bytes: Option<u64>) -> Result<()> {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        for process in self.process()?.family()? {
            // As the server's user: not even root may do it to somebody else's, everywhere.
            let mut prlimit = self.command(Path::new("prlimit"));
            prlimit.args(["--pid", &process.to_string(), &format!("--fsize={limit}:unlimited")]);
            let output = prlimit.output().map_err(|error| format!("cannot run prlimit: {error}"))?;
            // A child may have ended by itself.
            if !output.status.success() && !is_gone(process) {
                return Err(format!("prlimit: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
            }
        }
        Ok(())
    }

    fn process(&mut self) -> Result<&mut Process> {
        let Self { name, process, .. } = self;
        process.as_mut().ok_or_else(|| format!("{name} is not running").into())
    }
}
