//! PostgreSQL, with streaming replicas.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::folder::Account;
use crate::{Result, packages, poll, port, sql};

/// The line ends differently on a replica.
const READY: &str = "database system is ready to accept";
/// A fast shutdown: it ends sessions, and leaves nothing to recover.
const STOP: &str = "INT";
const FOLLOWS_WITHIN: Duration = Duration::from_secs(30);
/// The `wal_level` that a standby needs is the default one.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "200"),
    ("wal_level", "replica"),
    // Files in the server's folder, which go with it, rather than memory, which a crash would leave behind.
    ("dynamic_shared_memory_type", "mmap"),
];
const DURABILITY: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    settings: Vec<(String, String)>,
    logs: Option<PathBuf>,
}

impl Options {
    /// A server that syncs nothing: fast, and its data may be damaged after [`Postgres::kill`].
    #[must_use]
    pub fn fast() -> Self {
        DURABILITY.iter().fold(Self::default(), |options, name| options.with(name, "off"))
    }

    /// A server as it is by default: a commit that it acknowledged outlives [`Postgres::kill`].
    #[must_use]
    pub fn durable() -> Self {
        DURABILITY.iter().fold(Self::default(), |options, name| options.with(name, "on"))
    }

    /// Sets a parameter of `postgresql.conf`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the logs into `folder`, which must exist; else they go with the server.
    #[must_use]
    pub fn with_logs(mut self, folder: &Path) -> Self {
        self.logs = Some(folder.to_owned());
        self
    }

    fn args(&self, port: u16) -> Vec<String> {
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings = SETTINGS.iter().copied().chain(given);
        let settings = settings.flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
        ["-D".to_owned(), "data".to_owned(), "-p".to_owned(), port.to_string()]
            .into_iter()
            .chain(settings)
            .collect()
    }
}

/// A PostgreSQL server. User postgres needs no password.
#[derive(Debug)]
pub struct Postgres {
    daemon: Daemon,
    port: u16,
    options: Options,
}

impl Postgres {
    /// Makes an empty server. Returns when it answers.
    pub fn start(options: &Options) -> Result<Self> {
        Self::with_data("postgres", options, |command| {
            command.args([
                "-D",
                "data",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ]);
            "initdb"
        })
    }

    /// Makes a streaming replica with the same settings. It follows when this returns, asynchronously and read-only.
    pub fn standby(&self) -> Result<Self> {
        let primary = self.port.to_string();
        let standby = Self::with_data("postgres-standby", &self.options, |command| {
            command.args(["-D", "data", "-U", "postgres", "-h", "127.0.0.1", "-p", &primary]);
            command.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
            "pg_basebackup"
        })?;
        let follows = "select 1 from pg_stat_wal_receiver where status = 'streaming'";
        poll::until("replica that follows", FOLLOWS_WITHIN, || {
            Ok((!standby.query(follows)?.is_empty()).then_some(()))
        })?;
        Ok(standby)
    }

    /// `make` completes a command that makes the folder `data`, and names its program.
    fn with_data(
        name: &str,
        options: &Options,
        make: impl FnOnce(&mut Command) -> &'static str,
    ) -> Result<Self> {
        let programs = packages::postgres()?;
        let user = Account::unprivileged()?;
        let logs = options.logs.as_deref();
        let mut daemon = Daemon::new(name, programs.join("postgres"), (READY, STOP), user, logs)?;
        let mut args = Command::new("");
        let program = make(&mut args);
        let output = daemon.command(&programs.join(program)).args(args.get_args()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{program} failed with {}: {}", output.status, said.trim()).into());
        }
        let port = port::on_a_free_one(|port| daemon.start(options.args(port)).map(|()| port))?;
        Ok(Self { daemon, port, options: options.clone() })
    }

    /// Where it is, for the database postgres.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Where it is on its Unix socket, when it was started with `unix_socket_directories` `.`.
    #[must_use]
    pub fn socket_url(&self) -> String {
        let folder = self.daemon.folder().join("data");
        format!("postgres://postgres@localhost:{}/postgres?host={}", self.port, folder.display())
    }

    /// The same for its whole life, restarts included.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL on a connection of its own; returns the rows as text, nulls as `None`.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        sql::query(self.port, sql)
    }

    /// Makes a primary of a standby. It takes writes when this returns.
    pub fn promote(&mut self) -> Result<()> {
        let promoted = self.query("select pg_promote(true, 30)")?;
        if promoted != [[Some("t".to_owned())]] {
            return Err("the standby was not promoted within 30 s".into());
        }
        Ok(())
    }

    /// Ends every session politely, as an administrator does (SQLSTATE 57P01).
    pub fn drop_connections(&self) -> Result<()> {
        let others = "backend_type = 'client backend' and pid <> pg_backend_pid()";
        self.query(&format!("select pg_terminate_backend(pid) from pg_stat_activity where {others}"))?;
        Ok(())
    }

    /// Ends all of its processes at once, as a crash would. Waits until they are gone.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill()?;
        let lock = self.daemon.folder().join("data/postmaster.pid");
        let written = fs::read_to_string(&lock).unwrap_or_default();
        // The process number in it may be another's by now.
        fs::remove_file(&lock)?;
        // The system keeps the shared memory of a killed server, which only a restart would remove.
        if let Some(memory) = written.lines().nth(6).and_then(|keys| keys.split_whitespace().nth(1)) {
            // Without this program a few bytes stay.
            let _ = Command::new("ipcrm").args(["-m", memory]).output();
        }
        Ok(())
    }

    /// Starts it again after [`kill`](Self::kill), with the same data on the same port. Returns when it answers.
    pub fn restart(&mut self) -> Result<()> {
        self.daemon.restart()
    }

    /// Lets no file of it grow beyond so many bytes, at least 16 MiB for its log: to the server that is a full disk. `None`
    /// ends that.
    pub fn limit_files(&mut self, bytes: Option<u64>) -> Result<()> {
        self.daemon.limit_files(bytes)
    }

    /// Stops its processes where they are: the system takes connections for it, and nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.daemon.pause()
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self) -> Result<()> {
        self.daemon.resume()
    }
}
