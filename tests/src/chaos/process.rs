//! The test's side of a worker.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Program};
use tokio::sync::{Mutex as AsyncMutex, oneshot, watch};
use tokio::time::timeout;

use super::protocol::{Answer, Command, Line, Order, Outcome, Read, Setup, Side, Signal};

/// For whatever must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// The worker was killed before it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Died;

/// A process with a vault. It ends with this value, and with the test.
#[derive(Debug)]
pub struct Worker {
    child: AsyncMutex<Child>,
    pid: u32,
    stdin: AsyncMutex<ChildStdin>,
    post: Arc<Post>,
}

/// What the worker says, and who waits for it.
#[derive(Debug, Default)]
struct Post {
    waiting: Mutex<Waiting>,
    lines: watch::Sender<Vec<Line>>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    gone: bool,
    answers: HashMap<u64, oneshot::Sender<Vec<Answer>>>,
}

impl Post {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(&self, stdout: ChildStdout) {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // A line that the process did not live to finish is none.
            match serde_json::from_str(&line) {
                Ok(Line::Answer { id, answers }) => {
                    if let Some(waiting) = self.waiting().answers.remove(&id) {
                        let _ = waiting.send(answers);
                    }
                }
                Ok(line) => self.lines.send_modify(|lines| lines.push(line)),
                Err(_) => break,
            }
        }
        let mut waiting = self.waiting();
        waiting.gone = true;
        waiting.answers.clear();
    }
}

impl Worker {
    /// Starts the program, and waits until its vault is there.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(program: &Path, setup: &Setup) -> Self {
        let mut child = Program::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the worker starts");
        let pid = child.id().expect("it runs");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = child.stdout.take().expect("a pipe");
        let post = Arc::new(Post::default());
        let listener = Arc::clone(&post);
        tokio::spawn(async move { listener.listen(stdout).await });
        let worker = Self { child: AsyncMutex::new(child), pid, stdin: AsyncMutex::new(stdin), post };
        worker.write(setup).await;
        worker.until("a start", |line| matches!(line, Line::Ready)).await;
        worker
    }

    async fn write(&self, value: &(impl serde::Serialize + Sync)) {
        let mut line = serde_json::to_vec(value).expect("plain data");
        line.push(b'\n');
        // A process that is gone is found out by its silence.
        let _ = self.stdin.lock().await.write_all(&line).await;
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When the worker dies before it has answered.
    pub async fn ask(&self, command: Command) -> Result<Vec<Answer>, Died> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut waiting = self.post.waiting();
            if waiting.gone {
                return Err(Died);
            }
            waiting.last += 1;
            let id = waiting.last;
            waiting.answers.insert(id, answer);
            id
        };
        let asked = format!("{command:?}");
        self.write(&Order { id, command }).await;
        let answered = timeout(PATIENCE, answered).await;
        answered.unwrap_or_else(|_| panic!("worker {}: no answer to {asked}", self.pid)).map_err(|_| Died)
    }

    /// The same for what has one answer, from a worker that nobody kills.
    pub async fn tell(&self, command: Command) -> Outcome {
        let asked = format!("{command:?}");
        let answers = self.ask(command).await;
        let mut answers = answers.unwrap_or_else(|_| panic!("worker {} died of {asked}", self.pid));
        answers.swap_remove(0).outcome
    }

    /// Reads a token.
    pub async fn read(&self, read: Read) -> Outcome {
        self.tell(Command::Read(read)).await
    }

    /// Has it die or stop at a step.
    pub async fn arm(&self, step: &str, side: Side, signal: Signal) {
        self.tell(Command::Arm { step: step.to_owned(), side, signal }).await;
    }

    /// Ends it by SIGKILL. Returns when all that it said is here.
    pub async fn kill(&self) {
        self.child.lock().await.kill().await.expect("a process of ours");
        eventually("an end of its lines", || self.post.waiting().gone).await;
    }

    /// The step that it came to last, of a worker that traces them.
    #[must_use]
    pub fn last_step(&self) -> Option<(String, Side)> {
        self.lines().into_iter().rev().find_map(|line| match line {
            Line::Step { step, side } => Some((step, side)),
            _ => None,
        })
    }

    /// SIGSTOP. Returns when it stands still.
    pub async fn stop(&self) {
        self.signal("STOP").await;
        self.stopped().await;
    }

    /// Waits until it stands still.
    pub async fn stopped(&self) {
        let stands = || {
            fs::read_to_string(format!("/proc/{}/stat", self.pid))
                .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
        };
        eventually("a stopped worker", stands).await;
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let mut shell = Program::new("sh");
        shell.args(["-c", r#"kill -s "$0" "$1""#, name, &self.pid.to_string()]);
        assert!(shell.status().await.is_ok_and(|status| status.success()), "a process of ours");
    }

    /// All that it has said so far, answers apart.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.post.lines.borrow().clone()
    }

    /// Its events so far that contain all these words.
    #[must_use]
    pub fn events(&self, words: &[&str]) -> Vec<String> {
        let events = self.lines().into_iter().filter_map(|line| match line {
            Line::Event(event) => Some(event),
            _ => None,
        });
        events.filter(|event| words.iter().all(|word| event.contains(word))).collect()
    }

    /// Whether it came to the step that it was armed for.
    #[must_use]
    pub fn was_struck(&self) -> bool {
        self.lines().iter().any(|line| matches!(line, Line::Struck { .. }))
    }

    /// Waits for a line.
    pub async fn until(&self, what: &str, such: impl Fn(&Line) -> bool + Send + Sync) {
        let mut lines = self.post.lines.subscribe();
        let found = timeout(PATIENCE, lines.wait_for(|lines| lines.iter().any(&such))).await;
        assert!(found.is_ok(), "worker {}: never {what}", self.pid);
    }

    /// Waits for an event that contains all these words.
    pub async fn until_event(&self, words: &[&str]) {
        let has =
            |line: &Line| matches!(line, Line::Event(event) if words.iter().all(|word| event.contains(word)));
        self.until(&format!("an event with {words:?}"), has).await;
    }
}

/// Looks until it is so.
async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
