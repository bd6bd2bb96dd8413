use std::io;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::mpsc::UnboundedSender;

use super::node::Node;

pub(crate) const LISTENING: &str = "listening for changes";

/// Where it goes what was published, and that no more will come.
pub(crate) type Heard = UnboundedSender<RedisResult<Value>>;

/// A connection on which a server passes on what is published to it.
pub(crate) struct Line {
    connection: MultiplexedConnection,
    /// Writes that write nothing.
    check: Pipeline,
}

impl Line {
    /// Listens to a server, on the channels that are called as keys of its own.
    pub(super) async fn open(node: &Node, keys: Vec<String>, heard: Heard) -> RedisResult<Self> {
        let mut connection = node.open(move |push| pass_on(&heard, push)).await?;
        connection.subscribe(&keys).await?;
        let mut check = redis::pipe();
        for key in keys {
            check.cmd("PERSIST").arg(key).ignore();
        }
        let mut line = Self { connection, check };
        line.check().await?;
        Ok(line)
    }

    /// Fails unless the server would take writes to all of the keys, so that nobody makes them elsewhere.
    pub(crate) async fn check(&mut self) -> RedisResult<()> {
        self.check.exec_async(&mut self.connection).await
    }
}

fn pass_on(heard: &Heard, mut push: PushInfo) {
    let message = match push.kind {
        PushKind::Message => Ok(push.data.pop().unwrap_or(Value::Nil)),
        PushKind::Disconnection => Err(lost()),
        _ => return,
    };
    // An error says that nobody listens any more.
    let _ = heard.send(message);
}

pub(crate) fn lost() -> RedisError {
    io::Error::new(io::ErrorKind::BrokenPipe, "the channel of changes broke").into()
}
