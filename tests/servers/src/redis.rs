//! Redis, or a server that is like it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::Daemon;
use crate::resp::{self, Reply};
use crate::{Result, packages, port};

const READY: &str = "Ready to accept connections";
const STOP: &str = "TERM";
const DEAD_AFTER: Duration = Duration::from_millis(1500);
/// What it acknowledged outlives [`Redis::kill`].
const SETTINGS: &[(&str, &str)] =
    &[("bind", "127.0.0.1"), ("save", ""), ("appendonly", "yes"), ("appendfsync", "always")];

/// How a server is started: by default with every write synced to its append-only file.
#[derive(Clone, Debug)]
pub struct Options {
    name: String,
    settings: Vec<(String, String)>,
    program: Option<PathBuf>,
    logs: Option<PathBuf>,
    pub(crate) dead_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "redis".to_owned(),
            settings: Vec::new(),
            program: None,
            logs: None,
            dead_after: DEAD_AFTER,
        }
    }
}

impl Options {
    /// In a cluster or under sentinels: how long a silent server counts as alive, to the millisecond. By default 1.5 s,
    /// for tests of a failover; where there must be none, say much more, for a busy machine has long pauses.
    #[must_use]
    pub fn with_dead_after(mut self, silence: Duration) -> Self {
        self.dead_after = silence;
        self
    }

    /// Sets a parameter of `redis.conf`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Names the server in errors, and its log: `redis` by default.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Runs another program than the `redis-server` on PATH, say Valkey's.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Writes the logs into `folder`, which must exist; else they go with the server.
    #[must_use]
    pub fn with_logs(mut self, folder: &Path) -> Self {
        self.logs = Some(folder.to_owned());
        self
    }

    /// A server that does not run yet. It says `ready` when it does.
    pub(crate) fn daemon(&self, ready: &'static str) -> Result<Daemon> {
        let program = self.program.clone().map_or_else(packages::redis, Ok)?;
        Daemon::new(&self.name, program, (ready, STOP), None, self.logs.as_deref())
    }

    fn args(&self, port: u16) -> Vec<String> {
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // Some settings add to the earlier ones.
        let kept =
            SETTINGS.iter().copied().filter(|(name, _)| given.clone().all(|(other, _)| other != *name));
        let settings =
            kept.chain(given.clone()).flat_map(|(name, value)| [format!("--{name}"), value.to_owned()]);
        ["--port".to_owned(), port.to_string()].into_iter().chain(settings).collect()
    }
}

/// A server without a password.
#[derive(Debug)]
pub struct Redis {
    daemon: Daemon,
    port: u16,
}

impl Redis {
    /// Starts an empty server. Returns when it answers.
    pub fn start(options: &Options) -> Result<Self> {
        let mut daemon = options.daemon(READY)?;
        let port = port::on_a_free_one(|port| daemon.start(options.args(port)).map(|()| port))?;
        Ok(Self { daemon, port })
    }

    /// A server that has been started with arguments of its own.
    pub(crate) fn running(daemon: Daemon, port: u16) -> Self {
        Self { daemon, port }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The same for its whole life, restarts included.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends one command on a connection of its own: `WAIT` would not know of earlier writes. An error that the server
    /// answers is an error.
    pub fn command<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Reply> {
        resp::command(self.port, args)
    }

    /// Whether it was started and not killed since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.daemon.is_running()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Starts it again after [`kill`](Self::kill), with the same data on the same port. Returns when it answers.
    pub fn restart(&mut self) -> Result<()> {
        self.daemon.restart()
    }

    /// Stops it where it is: the system takes connections for it, and nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.daemon.pause()
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self) -> Result<()> {
        self.daemon.resume()
    }
}
