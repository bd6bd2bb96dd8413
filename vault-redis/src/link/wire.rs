use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{self, Arc, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use std::{io, mem};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::target::Target;
use super::{Limits, Replies};

/// How long a connection that nobody used may still be there.
const IDLE: Duration = Duration::from_secs(60);
/// How long nobody tries again to make one beside another.
const REST: Duration = Duration::from_secs(1);

/// A connection to a server: made when needed, shared by all calls, replaced when it breaks.
pub(super) struct Wire {
    limits: Limits,
    /// Apart from the seat, whose lock callers would queue for.
    live: RwLock<Option<Live>>,
    seat: Mutex<Seat>,
    /// How many attempts to connect have failed.
    failures: AtomicU64,
    used_at: sync::Mutex<Instant>,
    tried_at: sync::Mutex<Option<Instant>>,
}

struct Seat {
    target: Target,
    failure: Option<RedisError>,
}

/// A connection that is made.
#[derive(Clone)]
pub(super) struct Live {
    connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
}

impl Live {
    pub(super) async fn send(mut self, batch: &Batch<'_>) -> Result<Replies, Failure> {
        let connection = &mut self.connection;
        let replies = match batch {
            Batch::One(cmd) => connection.send_packed_command(cmd).await.and_then(Replies::of_one),
            Batch::Several(pipeline, skip, keep) => {
                connection.send_packed_commands(pipeline, *skip, *keep).await.and_then(Replies::of)
            }
        };
        self.judge(replies)
    }

    /// Sends several commands at once. Each has a reply, which may be an error of its own.
    pub(super) async fn send_all(mut self, cmds: &Pipeline) -> Result<Vec<Value>, Failure> {
        let replies = self.connection.send_packed_commands(cmds, 0, cmds.len()).await;
        self.judge(replies)
    }

    /// Has it replaced after a failure that says so.
    fn judge<T>(&self, replies: RedisResult<T>) -> Result<T, Failure> {
        if replies.as_ref().is_err_and(spoils) {
            self.lost.store(true, Ordering::Release);
        }
        Ok(replies?)
    }
}

/// Why a command has no answer.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) error: RedisError,
    /// There was no connection to send it over, so it did not run.
    pub(super) unsent: bool,
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self { error, unsent: false }
    }
}

/// A command, with what must go before and after it on the same connection.
pub(super) enum Batch<'a> {
    One(&'a Cmd),
    /// And how many replies to skip, and how many to keep.
    Several(Pipeline, usize, usize),
}

impl Wire {
    pub(super) fn new(target: Target, limits: Limits) -> Self {
        let seat = Seat { target, failure: None };
        Self {
            limits,
            live: RwLock::default(),
            seat: Mutex::new(seat),
            failures: AtomicU64::new(0),
            used_at: sync::Mutex::new(Instant::now()),
            tried_at: sync::Mutex::default(),
        }
    }

    pub(super) fn current(&self) -> Option<Live> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| !live.lost.load(Ordering::Acquire)).cloned()
    }

    /// The same, if it was used a moment ago: others on the way drop what is idle without a word.
    pub(super) fn recent(&self) -> Option<Live> {
        let used_at = mem::replace(&mut *lock(&self.used_at), Instant::now());
        if used_at.elapsed() > IDLE {
            *self.live.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.current()
    }

    /// Has a task make the connection, unless that was tried a moment ago. It is lost when `other` is.
    pub(super) fn make_beside(self: &Arc<Self>, other: Live) {
        let mut tried_at = lock(&self.tried_at);
        if tried_at.is_none_or(|at| at.elapsed() > REST) {
            *tried_at = Some(Instant::now());
            let wire = Arc::clone(self);
            tokio::spawn(async move { wire.live_until(|| other.lost).await.map(drop) });
        }
    }

    /// The connection, made anew when there is none. One caller makes it and the others wait; when that fails, those who
    /// waited fail with it instead of trying one after another.
    pub(super) async fn live(&self) -> Result<Live, Failure> {
        self.live_until(Arc::default).await.map_err(|error| Failure { error, unsent: true })
    }

    async fn live_until(&self, lost: impl FnOnce() -> Arc<AtomicBool>) -> RedisResult<Live> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let before = self.failures.load(Ordering::Acquire);
        let mut seat = self.seat.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let tried_meanwhile = self.failures.load(Ordering::Acquire) != before;
        if let Some(failure) = seat.failure.as_ref().filter(|_| tried_meanwhile) {
            return Err(failure.clone());
        }
        // So that the next call need not fail to find out that the server has hung up.
        let lost = lost();
        let hung_up = Arc::clone(&lost);
        let pushed = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                hung_up.store(true, Ordering::Release);
            }
        };
        match self.connect(&mut seat.target, pushed).await {
            Ok(connection) => {
                let live = Live { connection, lost };
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                seat.failure = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Another connection, for what the server tells unasked.
    pub(super) async fn open(
        &self,
        pushed: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        self.connect(&mut self.seat.lock().await.target, pushed).await
    }

    async fn connect(
        &self,
        target: &mut Target,
        pushed: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let connecting = timeout(self.limits.connecting(), target.connect(&self.limits, pushed));
        connecting.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }
}

fn lock<T>(mutex: &sync::Mutex<T>) -> MutexGuard<'_, T> {
    // A plain value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the next call needs another connection: this one broke, or leads to what is no longer the master.
fn spoils(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly))
}
