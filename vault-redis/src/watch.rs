//! Changes that other processes make, by pub/sub.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use redis::{RedisResult, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use vault_core::store::{Change, Changes, ConnectionWatch, StoreError};

use crate::RedisStore;
use crate::error::fault;
use crate::link::{Heard, LISTENING, Line, lost};
use crate::names::id_digest;

/// How often a server is asked for a sign of life.
const INTERVAL: Duration = Duration::from_secs(4);
/// How long it may take to give one. Together with [`INTERVAL`] less than the ten seconds that the contract allows.
const PATIENCE: Duration = Duration::from_secs(5);

#[async_trait]
impl ConnectionWatch for RedisStore {
    /// On a connection of its own, in a cluster on one to each master: a master's own word does not depend on what its
    /// nodes pass on to each other. It fails when any of these ends, or its server takes no more writes to one of the
    /// shards, because that has moved, a replica has taken over, or otherwise.
    ///
    /// Only the store's own writes are told. What is removed behind its back (`FLUSHALL`, `DEL`) is not.
    ///
    /// What changes must be asked for again and again while it is listened to: what nobody takes is kept in memory.
    async fn watch(&self) -> Result<Box<dyn Changes>, StoreError> {
        let (heard, changes) = unbounded_channel();
        let lines = self.shared.link.listen(self.shared.names.indexes(), &heard).await?;
        let mut checks = JoinSet::new();
        for line in lines {
            checks.spawn(check(line, heard.clone()));
        }
        Ok(Box::new(Listening { channel: Some(Channel { changes, _checks: checks }) }))
    }
}

/// Until the line fails.
async fn check(mut line: Line, heard: Heard) {
    let failure = loop {
        sleep(INTERVAL).await;
        match timeout(PATIENCE, line.check()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => break error,
            Err(_) => break io::Error::from(io::ErrorKind::TimedOut).into(),
        }
    };
    // An error says that nobody listens any more.
    let _ = heard.send(Err(failure));
}

#[derive(Debug)]
struct Listening {
    /// `None` once it broke.
    channel: Option<Channel>,
}

#[derive(Debug)]
struct Channel {
    changes: UnboundedReceiver<RedisResult<Value>>,
    /// They hold the connections, and end with this.
    _checks: JoinSet<()>,
}

#[async_trait]
impl Changes for Listening {
    async fn next(&mut self) -> Result<Change, StoreError> {
        let next = match &mut self.channel {
            Some(channel) => channel.changes.recv().await.unwrap_or_else(|| Err(lost())),
            None => Err(lost()),
        };
        if next.is_err() {
            self.channel = None;
        }
        next.map(change).map_err(fault(LISTENING))
    }
}

/// What a script told: the id of a connection.
fn change(message: Value) -> Change {
    let digest = match message {
        Value::BulkString(id) => id_digest(&id),
        _ => None,
    };
    digest.map_or(Change::Any, Change::Connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::text;

    #[test]
    fn what_is_no_id_may_be_anything() {
        let id = text(&[7; 32]);
        assert_eq!(change(Value::BulkString(id.clone().into())), Change::Connection([7; 32]));
        for message in ["", &id[1..], &format!("{id}A"), &id.replace('B', "*")] {
            assert_eq!(change(Value::BulkString(message.into())), Change::Any, "{message}");
        }
        assert_eq!(change(Value::Nil), Change::Any);
    }
}
