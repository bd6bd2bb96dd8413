//! The way to the server or servers.
//!
//! One multiplexed connection to each carries all calls, and another those writes that wait for replicas; a few more are
//! made when many read tokens at once (`node.rs`). Replies come in the order of the commands, and a reply whose caller is
//! gone is thrown away. A command whose connection broke is never sent again, since it may have run: its caller learns
//! that the store is unavailable. The next call goes over a new connection, to whoever is the master then.

mod cluster;
mod line;
mod node;
mod queue;
mod slots;
mod target;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use redis::sentinel::SentinelNodeConnectionInfo;
use redis::{
    Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError,
    RedisResult, ServerErrorKind, Value,
};
use vault_core::store::{StoreError, StoreErrorKind};

use self::cluster::Cluster;
pub(crate) use self::line::{Heard, LISTENING, Line, lost};
use self::node::Node;
use self::target::{Target, infos};
use self::wire::{Batch, Failure};
use crate::error::fault;
use crate::join::all;
use crate::script::Lua;

/// How long things may take, who must have a write before it counts, and how many connections read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
    pub(crate) wait: Option<Wait>,
    pub(crate) read_connections: usize,
}

impl Limits {
    /// Finding a master takes several steps, each of which has its own limit too.
    fn connecting(&self) -> Duration {
        self.connect.saturating_mul(2)
    }

    /// Over a connection that may have to be made.
    fn one_command(&self) -> Duration {
        self.connecting().saturating_add(self.response)
    }
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
    servers: Servers,
    /// Other connections to the same, for writes that wait for replicas: `WAIT` holds up all that is behind it.
    waiting: Option<Servers>,
    /// The same again, so that looking for somebody to listen to holds up no calls.
    listened: Servers,
}

enum Servers {
    Cluster(Box<Cluster>),
    One(Arc<Node>),
}

impl Link {
    pub(crate) fn to_node(node: impl IntoConnectionInfo, limits: Limits) -> RedisResult<Self> {
        let node = node.into_connection_info()?;
        Self::new(limits, |limits| {
            Ok(Servers::One(Arc::new(Node::new(limits, || Target::address(node.clone()))?)))
        })
    }

    pub(crate) fn to_cluster<N: IntoConnectionInfo>(
        nodes: impl IntoIterator<Item = N>,
        limits: Limits,
    ) -> RedisResult<Self> {
        let nodes = infos(nodes)?;
        Self::new(limits, |limits| Ok(Servers::Cluster(Box::new(Cluster::new(nodes.clone(), limits)?))))
    }

    pub(crate) fn by_sentinels<N: IntoConnectionInfo>(
        sentinels: impl IntoIterator<Item = N>,
        service: &str,
        master: &SentinelNodeConnectionInfo,
        login: &RedisConnectionInfo,
        limits: Limits,
    ) -> RedisResult<Self> {
        let sentinels = infos(sentinels)?;
        Self::new(limits, |limits| {
            let target =
                || Target::sentinel(sentinels.clone(), service.to_owned(), master.clone(), login.clone());
            Ok(Servers::One(Arc::new(Node::new(limits, target)?)))
        })
    }

    fn new(limits: Limits, servers: impl Fn(Limits) -> RedisResult<Servers>) -> RedisResult<Self> {
        let no_reads = Limits { read_connections: 0, ..limits };
        let waiting = limits.wait.map(|_| servers(no_reads)).transpose()?;
        Ok(Self { limits, servers: servers(limits)?, waiting, listened: servers(no_reads)? })
    }

    /// Runs a command on the node that has `key`.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        doing: &'static str,
        key: &str,
        cmd: Cmd,
        effect: Effect,
    ) -> Result<T, StoreError> {
        let replies = self.send(key, &cmd, effect).await;
        self.outcome(doing, replies)
    }

    /// The credential of the hash `key`. Who reads one while others do may be answered together with them.
    pub(crate) async fn credential(
        &self,
        doing: &'static str,
        key: String,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let reply = match &self.servers {
            Servers::Cluster(cluster) => cluster.credential(&key).await,
            Servers::One(node) => node.credential(key).await.map_err(alone),
        };
        reply.and_then(|reply| Ok(Option::from_redis_value(reply)?)).map_err(fault(doing))
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
        self.outcome(doing, replies)
    }

    fn outcome<T: FromRedisValue>(
        &self,
        doing: &'static str,
        replies: RedisResult<Replies>,
    ) -> Result<T, StoreError> {
        let Replies { reply, kept_by } = replies.map_err(fault(doing))?;
        if let (Some(kept_by), Some(wait)) = (kept_by, self.limits.wait) {
            let kept_by = i64::from_redis_value(kept_by).map_err(|error| fault(doing)(error.into()))?;
            if kept_by < i64::from(wait.replicas) {
                let message = "too few replicas have the write: whether it is kept is unknown";
                return Err(StoreError::new(StoreErrorKind::Unavailable, message));
            }
        }
        T::from_redis_value(reply).map_err(|error| fault(doing)(error.into()))
    }

    async fn send(&self, key: &str, cmd: &Cmd, effect: Effect) -> RedisResult<Replies> {
        let wait = self.limits.wait.filter(|_| effect == Effect::Write);
        let waiting = self.waiting.as_ref().filter(|_| wait.is_some());
        match waiting.unwrap_or(&self.servers) {
            Servers::Cluster(cluster) => cluster.send(key, cmd, wait).await,
            Servers::One(node) => {
                let batch = match wait {
                    None => Batch::One(cmd),
                    Some(_) => Batch::Several(with_wait(redis::pipe(), cmd, wait), 0, 2),
                };
                node.send(&batch).await.map_err(alone)
            }
        }
    }

    /// Lets the nodes that have these keys pass on what is published on the channels that are called as they are.
    pub(crate) async fn listen(&self, keys: Vec<String>, heard: &Heard) -> Result<Vec<Line>, StoreError> {
        let lines = match &self.listened {
            Servers::One(node) => Line::open(node, keys, heard.clone()).await.map(|line| vec![line]),
            Servers::Cluster(cluster) => match cluster.masters_of(keys).await {
                Ok(masters) => {
                    let lines =
                        masters.iter().map(|(node, keys)| Line::open(node, keys.clone(), heard.clone()));
                    all(lines).await
                }
                Err(error) => Err(error),
            },
        };
        lines.map_err(fault(LISTENING))
    }

    /// What every master says of itself.
    pub(crate) async fn info(&self) -> Result<Vec<String>, StoreError> {
        let info = redis::cmd("INFO");
        let answers = match &self.servers {
            Servers::Cluster(cluster) => cluster.ask_masters(&info).await,
            Servers::One(node) => {
                let answer = node.send(&Batch::One(&info)).await;
                answer.map(|answer| vec![answer.reply]).map_err(|failure| failure.error)
            }
        };
        let doing = "asking the server about its settings";
        let answers = answers.map_err(fault(doing))?;
        let texts = answers.into_iter().map(String::from_redis_value);
        texts.map(|text| text.map_err(|error| fault(doing)(error.into()))).collect()
    }
}

/// The error of a server that is in no cluster.
fn alone(failure: Failure) -> RedisError {
    match failure.error.kind() {
        // Nobody will follow it.
        ErrorKind::Server(ServerErrorKind::Moved) => {
            (ErrorKind::InvalidClientConfig, "the server is a node of a cluster").into()
        }
        _ => failure.error,
    }
}

/// The answer to a command and, where they were waited for, how many replicas have the write.
struct Replies {
    reply: Value,
    kept_by: Option<Value>,
}

impl Replies {
    fn of_one(value: Value) -> RedisResult<Self> {
        Ok(Self { reply: value.extract_error()?, kept_by: None })
    }

    fn of(values: Vec<Value>) -> RedisResult<Self> {
        let mut values = values.into_iter();
        let reply = values.next().unwrap_or(Value::Nil).extract_error()?;
        let kept_by = values.next().map(Value::extract_error).transpose()?;
        Ok(Self { reply, kept_by })
    }
}

/// The command, with a `WAIT` behind it on the same connection, which is the only place where it means anything.
fn with_wait(mut pipeline: Pipeline, cmd: &Cmd, wait: Option<Wait>) -> Pipeline {
    pipeline.add_command(cmd.clone());
    if let Some(wait) = wait {
        let millis = u64::try_from(wait.timeout.as_millis()).unwrap_or(u64::MAX);
        pipeline.cmd("WAIT").arg(wait.replicas).arg(millis);
    }
    pipeline
}
