//! Contestants that are programs of their own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;

use crate::backend::postgres::Postgres;
use crate::operation::{Contestant, pick};
use crate::setup::Size;

/// Rows that `pgbench` reads: each takes a script, and each script is prepared on each connection.
const SCRIPTS: u64 = 16;

/// Of each number of clients, one after the other.
const TRIES: usize = 3;

/// `pgbench` with prepared point selects of the vault's own table, at the number of clients that is its best here.
pub struct PgBench {
    command: Vec<String>,
    clients: u64,
    _scripts: TempDir,
}

impl PgBench {
    pub fn new(program: &Path, postgres: &Postgres) -> Self {
        let scripts = tempfile::tempdir().expect("a temporary folder");
        let mut command = vec![program.display().to_string()];
        command.extend(["--no-vacuum", "--protocol=prepared", "--jobs=2"].map(str::to_owned));
        let ids = postgres.ids();
        for n in 0..SCRIPTS {
            let id: String = ids[pick(n, ids.len())].iter().map(|byte| format!("{byte:02x}")).collect();
            let script = scripts.path().join(format!("{n}.sql"));
            let select = format!(r"SELECT credential FROM {} WHERE id = '\x{id}'::bytea;", postgres.table);
            std::fs::write(&script, select).expect("it can be written");
            command.push(format!("--file={}", script.display()));
        }
        command.push(libpq_url(&postgres.url));
        let mut bench = Self { command, clients: 1, _scripts: scripts };
        let mut rates = [2, 4, 8, 16, 32].map(|clients| (0.0, clients));
        for _ in 0..TRIES {
            for (best, clients) in &mut rates {
                *best = bench.rate(*clients, 4_000).max(*best);
            }
        }
        bench.clients = rates.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("some").1;
        bench
    }

    /// Transactions per second.
    fn rate(&self, clients: u64, transactions: u64) -> f64 {
        let each = transactions.div_ceil(clients).max(1);
        let (program, args) = self.command.split_first().expect("a program");
        let args = [format!("--client={clients}"), format!("--transactions={each}")]
            .into_iter()
            .chain(args.to_vec());
        let said = output(Command::new(program).args(args));
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench said no rate: {said}"))
    }
}

#[async_trait]
impl Contestant for PgBench {
    async fn time(&self, tasks: u64, _: u64, each: u64) -> Duration {
        let count = tasks * each;
        Duration::from_secs_f64(count as f64 / self.rate(self.clients, count))
    }

    fn starts_anew(&self) -> bool {
        true
    }
}

/// sqlx takes the folder of a socket as a parameter `host`; so does libpq, without a host before it.
fn libpq_url(url: &str) -> String {
    if url.contains("?host=") { url.replace("@localhost:", "@:") } else { url.to_owned() }
}

/// `redis-benchmark` with the command that the vault sends, from as many clients as there are tasks.
pub struct RedisBenchmark {
    server: Vec<String>,
    key: String,
}

impl RedisBenchmark {
    /// `url` is `redis://host:port` or `unix:path`.
    pub fn new(url: &str, key: &str) -> Self {
        let server = match url.strip_prefix("unix:") {
            Some(path) => vec!["-s".to_owned(), path.trim_start_matches("//").to_owned()],
            None => vec!["-p".to_owned(), url.rsplit(':').next().unwrap_or_default().to_owned()],
        };
        Self { server, key: key.to_owned() }
    }
}

#[async_trait]
impl Contestant for RedisBenchmark {
    async fn time(&self, tasks: u64, _: u64, each: u64) -> Duration {
        let count = tasks * each;
        let mut command = Command::new("redis-benchmark");
        command.args(&self.server).args(["--csv", "-c", &tasks.to_string(), "-n", &count.to_string()]);
        let said = output(command.args(["HGET", &self.key, "credential"]));
        // A line of headings, then "test","rps",...
        let rate = said.lines().last().and_then(|line| line.rsplit("\",\"").nth(6)?.parse::<f64>().ok());
        let rate = rate.unwrap_or_else(|| panic!("redis-benchmark said no rate: {said}"));
        Duration::from_secs_f64(count as f64 / rate)
    }

    fn starts_anew(&self) -> bool {
        true
    }
}

/// `benches/peers`: tower-sessions, which is on an older sqlx and has a process to itself. Clones are the same process.
#[derive(Clone)]
pub struct Peer(Arc<Running>);

struct Running {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Peer {
    pub fn start(program: &Path, server: &str, url: &str, size: Size) -> Self {
        let mut command = Command::new(program);
        command.args([server, url, &size.rows.to_string(), &size.token_bytes.to_string()]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program is built");
        let pipes = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        let peer = Running { child, pipes: Mutex::new(pipes) };
        assert_eq!(peer.line(None), "ready");
        Self(Arc::new(peer))
    }
}

impl Running {
    fn line(&self, ask: Option<String>) -> String {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ask) = ask {
            writeln!(pipes.0, "{ask}").expect("it runs");
        }
        let mut answer = String::new();
        pipes.1.read_line(&mut answer).expect("it answers");
        answer.trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is of no use any more, whatever it does.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[async_trait]
impl Contestant for Peer {
    async fn time(&self, tasks: u64, first: u64, each: u64) -> Duration {
        let nanos = self.0.line(Some(format!("{tasks} {first} {each}")));
        Duration::from_nanos(nanos.parse().unwrap_or_else(|_| panic!("tower-sessions said: {nanos}")))
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
