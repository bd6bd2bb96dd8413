//! `PgBouncer`, a pool of connections in front of PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};

use crate::daemon::Daemon;
use crate::folder::Account;
use crate::{Result, packages, port, sql};

const READY: &str = "process up: ";
/// An immediate shutdown; the polite one waits for the clients.
const STOP: &str = "TERM";

/// How `PgBouncer` is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    settings: Vec<(String, String)>,
    logs: Option<PathBuf>,
}

impl Options {
    /// Sets a parameter of the section `[pgbouncer]`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the log into `folder`, which must exist; else it goes with the server.
    #[must_use]
    pub fn with_logs(mut self, folder: &Path) -> Self {
        self.logs = Some(folder.to_owned());
        self
    }

    /// Every client becomes user postgres, in whatever database it names. A later line overrides an earlier one.
    fn file(&self, port: u16, postgres: u16) -> String {
        let own: String = self.settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        format!(
            "[databases]\n\
             * = host=127.0.0.1 port={postgres} user=postgres\n\
             [pgbouncer]\n\
             listen_addr=127.0.0.1\n\
             listen_port={port}\n\
             unix_socket_dir=\n\
             auth_type=any\n\
             pool_mode=transaction\n\
             default_pool_size=10\n\
             max_client_conn=1000\n\
             ignore_startup_parameters=extra_float_digits\n\
             {own}"
        )
    }
}

/// A `PgBouncer`, by default in transaction mode with 10 server connections.
#[derive(Debug)]
pub struct PgBouncer {
    daemon: Daemon,
    port: u16,
}

impl PgBouncer {
    /// Starts it in front of the PostgreSQL server on port `postgres`. Returns when a query gets through.
    pub fn start(postgres: u16, options: &Options) -> Result<Self> {
        let user = Account::unprivileged()?;
        let logs = options.logs.as_deref();
        let mut daemon = Daemon::new("pgbouncer", packages::pgbouncer()?, (READY, STOP), user, logs)?;
        let port = port::on_a_free_one(|port| {
            fs::write(daemon.folder().join("pgbouncer.ini"), options.file(port, postgres))?;
            daemon.start(vec!["pgbouncer.ini".to_owned()]).map(|()| port)
        })?;
        sql::query(port, "select 1").map_err(|error| format!("no query gets through pgbouncer: {error}"))?;
        Ok(Self { daemon, port })
    }

    /// Where it is, for the database postgres.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it at once. PostgreSQL keeps running.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Starts it again on the same port.
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
