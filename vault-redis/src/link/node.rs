use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::Mutex;

use super::target::Target;
use super::{Limits, Replies};

/// One server and the connection to it: made when needed, shared by all calls, replaced when it breaks.
pub(super) struct Node {
    limits: Limits,
    seat: Mutex<Seat>,
    /// How many attempts to connect have failed.
    failures: AtomicU64,
}

struct Seat {
    target: Target,
    live: Option<Live>,
    failure: Option<RedisError>,
}

#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: MultiplexedConnection,
    pub(super) lost: Arc<AtomicBool>,
}

/// Why a command has no answer.
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

impl Node {
    pub(super) fn new(target: Target, limits: Limits) -> Self {
        let seat = Seat { target, live: None, failure: None };
        Self { limits, seat: Mutex::new(seat), failures: AtomicU64::new(0) }
    }

    pub(super) async fn send(&self, batch: &Batch<'_>) -> Result<Replies, Failure> {
        let mut live = self.live().await.map_err(|error| Failure { error, unsent: true })?;
        let connection = &mut live.connection;
        let values = match batch {
            Batch::One(cmd) => connection.req_packed_command(cmd).await.map(|value| vec![value]),
            Batch::Several(pipeline, skip, keep) => {
                connection.req_packed_commands(pipeline, *skip, *keep).await
            }
        };
        let replies = values.and_then(Replies::of);
        if replies.as_ref().is_err_and(spoils) {
            live.lost.store(true, Ordering::Release);
        }
        Ok(replies?)
    }

    /// The connection, made anew when there is none. One caller makes it and the others wait; when that fails, those who
    /// waited fail with it instead of trying one after another.
    async fn live(&self) -> RedisResult<Live> {
        let before = self.failures.load(Ordering::Acquire);
        let mut seat = self.seat.lock().await;
        if let Some(live) = seat.live.as_ref().filter(|live| !live.lost.load(Ordering::Acquire)) {
            return Ok(live.clone());
        }
        let tried_meanwhile = self.failures.load(Ordering::Acquire) != before;
        if let Some(failure) = seat.failure.as_ref().filter(|_| tried_meanwhile) {
            return Err(failure.clone());
        }
        // Finding a master takes several steps, each of which has its own limit too.
        let connecting = tokio::time::timeout(self.limits.connect * 2, seat.target.connect(&self.limits));
        match connecting.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())) {
            Ok(live) => {
                seat.live = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                seat.failure = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }
}

/// Whether the next call needs another connection: this one broke, or leads to what is no longer the master.
fn spoils(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly))
}
