use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Mutex;

use super::target::Target;
use super::{Limits, Replies};

/// A connection to a server: made when needed, shared by all calls, replaced when it breaks.
pub(super) struct Wire {
    limits: Limits,
    /// Apart from the seat, whose lock callers would queue for.
    live: RwLock<Option<Live>>,
    seat: Mutex<Seat>,
    /// How many attempts to connect have failed.
    failures: AtomicU64,
}

struct Seat {
    target: Target,
    failure: Option<RedisError>,
}

#[derive(Clone)]
pub(super) struct Live {
    connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
}

impl Live {
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
        Self { limits, live: RwLock::default(), seat: Mutex::new(seat), failures: AtomicU64::new(0) }
    }

    pub(super) async fn send(&self, batch: &Batch<'_>) -> Result<Replies, Failure> {
        let mut live = self.live().await.map_err(|error| Failure { error, unsent: true })?;
        let connection = &mut live.connection;
        let replies = match batch {
            Batch::One(cmd) => connection.send_packed_command(cmd).await.and_then(Replies::of_one),
            Batch::Several(pipeline, skip, keep) => {
                connection.send_packed_commands(pipeline, *skip, *keep).await.and_then(Replies::of)
            }
        };
        live.judge(replies)
    }

    /// Sends several commands at once. Each has a reply, which may be an error of its own.
    pub(super) async fn send_all(&self, cmds: &Pipeline) -> Result<Vec<Value>, Failure> {
        let mut live = self.live().await.map_err(|error| Failure { error, unsent: true })?;
        let replies = live.connection.send_packed_commands(cmds, 0, cmds.len()).await;
        live.judge(replies)
    }

    /// Whether it is made, as far as anybody knows.
    pub(super) fn is_live(&self) -> bool {
        self.live_as_known(|_| ()).is_some()
    }

    fn current(&self) -> Option<Live> {
        self.live_as_known(Live::clone)
    }

    fn live_as_known<T>(&self, take: impl FnOnce(&Live) -> T) -> Option<T> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| !live.lost.load(Ordering::Acquire)).map(take)
    }

    /// The connection, made anew when there is none. One caller makes it and the others wait; when that fails, those who
    /// waited fail with it instead of trying one after another.
    pub(super) async fn live(&self) -> RedisResult<Live> {
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
        let lost = Arc::new(AtomicBool::new(false));
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
        // Finding a master takes several steps, each of which has its own limit too.
        let limit = self.limits.connect.saturating_mul(2);
        let connecting = tokio::time::timeout(limit, target.connect(&self.limits, pushed));
        connecting.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }
}

/// Whether the next call needs another connection: this one broke, or leads to what is no longer the master.
fn spoils(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly))
}
