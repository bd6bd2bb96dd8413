//! One server.
//!
//! A token read has a lane or waits for one. Who finds a lane free asks for itself, at once. Who leaves a lane looks at the
//! queue: if somebody waits, a task takes the lane over, asks for all who wait in one pipeline, and does so again until
//! nobody waits. Nobody waits while a lane is free, and nothing waits for a clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, mem};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, PushInfo, RedisError, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::queue::{Answer, Queue, Turn};
use super::target::Target;
use super::wire::{Batch, Failure, Wire};
use super::{Limits, Replies};

/// How long nobody tries to make another connection after one was refused.
const REST: Duration = Duration::from_secs(1);

pub(super) struct Node {
    limits: Limits,
    /// One for each lane. The first carries all other calls too; the others are made while that one stands, by who needs
    /// one more.
    wires: Vec<Wire>,
    queue: Queue,
    refused_at: Mutex<Option<Instant>>,
}

impl Node {
    pub(super) fn new(limits: Limits, target: impl Fn() -> RedisResult<Target>) -> RedisResult<Self> {
        let lanes = limits.read_connections;
        let wires =
            (0..lanes.max(1)).map(|_| Ok(Wire::new(target()?, limits))).collect::<RedisResult<_>>()?;
        Ok(Self { limits, wires, queue: Queue::new(lanes), refused_at: Mutex::default() })
    }

    pub(super) async fn send(&self, batch: &Batch<'_>) -> Result<Replies, Failure> {
        self.wires[0].send(batch).await
    }

    /// Another connection, for what the server tells unasked.
    pub(super) async fn open(
        &self,
        pushed: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        self.wires[0].open(pushed).await
    }

    /// The credential of the hash `key`, asked for alone or with others.
    pub(super) async fn credential(self: &Arc<Self>, key: String) -> Answer {
        if self.limits.read_connections == 0 {
            return Ok(Box::pin(self.send(&Batch::One(&get_credential(&key)))).await?.reply);
        }
        match self.queue.turn(key, Handle::current()) {
            Turn::Now(lane, key) => {
                let _lead = Lead { node: Arc::clone(self), lane, by: By::Caller };
                // Boxed, so that those who wait are not as large as those who ask.
                Box::pin(self.ask(lane, &key)).await
            }
            Turn::Later(answer) => match timeout(self.patience(), answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => in_vain(io::Error::other("whoever was reading is gone")),
                Err(_) => in_vain(io::ErrorKind::TimedOut.into()),
            },
        }
    }

    /// How long to wait for a lane: enough to make a connection, for the reads under way and one's own.
    fn patience(&self) -> Duration {
        (self.limits.connect.saturating_add(self.limits.response)).saturating_mul(2)
    }

    async fn ask(&self, lane: usize, key: &str) -> Answer {
        let replies = self.wire(lane).await.send(&Batch::One(&get_credential(key))).await?;
        Ok(replies.reply)
    }

    async fn ask_all(&self, lane: usize, keys: &[String]) -> Result<Vec<Value>, Failure> {
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.add_command(get_credential(key));
        }
        self.wire(lane).await.send_all(&pipeline).await
    }

    /// The lane's own, or the first where that one cannot be had.
    async fn wire(&self, lane: usize) -> &Wire {
        let (first, own) = (&self.wires[0], &self.wires[lane]);
        if own.is_live() {
            return own;
        }
        if !first.is_live() || self.refused().is_some_and(|at| at.elapsed() < REST) {
            return first;
        }
        if own.live().await.is_err() {
            *self.refused() = Some(Instant::now());
            return first;
        }
        own
    }

    fn refused(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_vain(error: io::Error) -> Answer {
    Err(RedisError::from(error).into())
}

pub(super) fn get_credential(key: &str) -> Cmd {
    let mut get = Cmd::with_capacity(3, key.len() + 16);
    get.arg("HGET").arg(key).arg("credential");
    get
}

/// A lane in somebody's hands. Dropped, it goes back, or to a task for those who wait.
struct Lead {
    node: Arc<Node>,
    lane: usize,
    by: By,
}

enum By {
    Caller,
    Task,
    /// It went back.
    Nobody,
}

impl Lead {
    /// Answers those who wait, until nobody does.
    async fn serve(mut self) {
        loop {
            // Whoever is ready to run comes first, and may have something to ask.
            tokio::task::yield_now().await;
            if self.node.queue.give_back(self.lane).is_ok() {
                self.by = By::Nobody;
                return;
            }
            let (keys, waiting) = self.node.queue.batch();
            if keys.is_empty() {
                continue;
            }
            match self.node.ask_all(self.lane, &keys).await {
                // Their callers may be gone.
                Ok(replies) => waiting.into_iter().zip(replies).for_each(|(answer, reply)| {
                    let _ = answer.send(reply.extract_error().map_err(Failure::from));
                }),
                Err(failure) => waiting.into_iter().for_each(|answer| {
                    let _ = answer.send(Err(failure.clone()));
                }),
            }
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        match mem::replace(&mut self.by, By::Nobody) {
            // This caller's runtime may not run any more. That of one who waits does.
            By::Caller => {
                if let Err(runtime) = self.node.queue.give_back(self.lane) {
                    let lead = Self { node: Arc::clone(&self.node), lane: self.lane, by: By::Task };
                    runtime.spawn(lead.serve());
                }
            }
            // The runtime ends, or it panicked.
            By::Task => self.node.queue.abandon(self.lane),
            By::Nobody => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use redis::IntoConnectionInfo as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_without_end_for_a_server_that_is_silent() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        let server = ("127.0.0.1", port).into_connection_info().expect("an address");
        let (connect, response) = (Duration::from_secs(2), Duration::from_secs(3));
        let limits = Limits { connect, response, wait: None, read_connections: 4 };
        let node = Node::new(limits, || Target::address(server.clone())).expect("an address");
        let (node, began) = (Arc::new(node), Instant::now());
        let callers: Vec<_> = (0..1000)
            .map(|_| Arc::clone(&node))
            .map(|node| tokio::spawn(async move { node.credential("key".to_owned()).await }))
            .collect();
        for caller in callers {
            assert!(caller.await.expect("no panic").is_err(), "nobody answers");
        }
        assert!(began.elapsed() <= node.patience() + response, "{:?}", began.elapsed());
    }
}
