//! The connection to the server or servers: made when needed, shared by all calls, replaced when it breaks.
//!
//! One multiplexed connection carries all calls; replies come in the order of the commands, and a reply whose caller is
//! gone is thrown away. The driver retries nothing here. A command whose connection broke is never sent again, since it
//! may have run: its caller learns that the store is unavailable. A command that the server refused to run (redirected,
//! loading, failing over) did not run and is sent again, for a while.

mod cluster;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Mutex;
use vault_core::store::{StoreError, StoreErrorKind};

pub(crate) use self::target::Target;
use crate::error::fault;
use crate::script::Lua;

/// How long things may take, and who must have a write before it counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
    pub(crate) wait: Option<Wait>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) replicas: u32,
    pub(crate) timeout: Duration,
}

/// Whether a command changes anything, so that replicas must be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

pub(crate) struct Link {
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
struct Live {
    connection: Connection,
    lost: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Connection {
    Cluster(ClusterConnection),
    Node(MultiplexedConnection),
}

impl Link {
    pub(crate) fn new(target: Target, limits: Limits) -> Self {
        let seat = Seat { target, live: None, failure: None };
        Self { limits, seat: Mutex::new(seat), failures: AtomicU64::new(0) }
    }

    /// Runs a command on the node that has `key`.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        doing: &'static str,
        key: &str,
        cmd: Cmd,
        effect: Effect,
    ) -> Result<T, StoreError> {
        let value = self.send(key, &cmd, effect).await.map_err(fault(doing))?;
        self.outcome(doing, value)
    }

    /// Runs a script on the node that has its keys.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        doing: &'static str,
        lua: &Lua,
        keys: &[String],
        args: &[impl AsRef<[u8]> + Sync],
        effect: Effect,
    ) -> Result<T, StoreError> {
        let key = keys.first().map_or("", String::as_str);
        let replies = match self.send(key, &lua.by_hash(keys, args), effect).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(key, &lua.by_text(keys, args), effect).await
            }
            replies => replies,
        };
        self.outcome(doing, replies.map_err(fault(doing))?)
    }

    fn outcome<T: FromRedisValue>(&self, doing: &'static str, replies: Replies) -> Result<T, StoreError> {
        let kept_by = replies.kept_by.map(i64::from_redis_value).transpose();
        let kept_by = kept_by.map_err(|error| fault(doing)(error.into()))?;
        if let (Some(kept_by), Some(wait)) = (kept_by, self.limits.wait)
            && kept_by < i64::from(wait.replicas)
        {
            let message = "too few replicas have the write: whether it is kept is unknown";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
        T::from_redis_value(replies.reply).map_err(|error| fault(doing)(error.into()))
    }

    async fn send(&self, key: &str, cmd: &Cmd, effect: Effect) -> RedisResult<Replies> {
        let live = self.live().await?;
        let wait = self.limits.wait.filter(|_| effect == Effect::Write);
        let replies = match live.connection.clone() {
            Connection::Cluster(cluster) => {
                cluster::send(cluster, key, cmd, wait, self.limits.response).await
            }
            Connection::Node(node) => send_to_node(node, cmd, wait).await,
        };
        if let Err(error) = &replies
            && live.is_spoilt_by(error)
        {
            live.lost.store(true, Ordering::Release);
        }
        replies
    }

    /// What every master says of itself.
    pub(crate) async fn info(&self) -> Result<Vec<String>, StoreError> {
        let doing = "asking the server about its settings";
        let live = self.live().await.map_err(fault(doing))?;
        let infos = match live.connection {
            Connection::Cluster(mut cluster) => cluster::info(&mut cluster).await,
            Connection::Node(mut node) => {
                redis::cmd("INFO").query_async(&mut node).await.map(|info| vec![info])
            }
        };
        infos.map_err(fault(doing))
    }

    /// The connection, made anew when there is none. One caller makes it and the others wait; when that fails, those who
    /// waited fail with it instead of trying one after another.
    async fn live(&self) -> RedisResult<Live> {
        let before = self.failures.load(Ordering::Acquire);
        let mut seat = self.seat.lock().await;
        if let Some(live) = seat.live.as_ref().filter(|live| !live.lost.load(Ordering::Acquire)) {
            return Ok(live.clone());
        }
        if let Some(failure) =
            seat.failure.as_ref().filter(|_| self.failures.load(Ordering::Acquire) != before)
        {
            return Err(failure.clone());
        }
        match seat.target.connect(&self.limits).await {
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

impl Live {
    /// Whether the next call needs another connection.
    fn is_spoilt_by(&self, error: &RedisError) -> bool {
        match self.connection {
            // The driver itself connects again to a node that hung up. One that does not answer it would wait for.
            Connection::Cluster(_) => {
                error.is_timeout() || error.kind() == ErrorKind::ClusterConnectionNotFound
            }
            // Read-only: no longer the master.
            Connection::Node(_) => {
                let kind = error.kind();
                matches!(
                    kind,
                    ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly)
                )
            }
        }
    }
}

/// The answer to a command and, where it was waited for, how many replicas have the write.
struct Replies {
    reply: Value,
    kept_by: Option<Value>,
}

impl Replies {
    fn of(values: Vec<Value>) -> RedisResult<Self> {
        let mut values = values.into_iter();
        let reply = values.next().unwrap_or(Value::Nil).extract_error()?;
        Ok(Self { reply, kept_by: values.next() })
    }
}

/// The command, with a `WAIT` behind it on the same connection, which is the only place where it means anything.
fn with_wait(cmd: &Cmd, wait: Wait) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.add_command(cmd.clone());
    let millis = u64::try_from(wait.timeout.as_millis()).unwrap_or(u64::MAX);
    pipeline.cmd("WAIT").arg(wait.replicas).arg(millis);
    pipeline
}

async fn send_to_node(
    mut node: MultiplexedConnection,
    cmd: &Cmd,
    wait: Option<Wait>,
) -> RedisResult<Replies> {
    let values = match wait {
        None => vec![node.req_packed_command(cmd).await?],
        Some(wait) => node.req_packed_commands(&with_wait(cmd, wait), 0, 2).await?,
    };
    Replies::of(values)
}
