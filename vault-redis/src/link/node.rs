//! One server.
//!
//! A token read has a lane or waits for one. Who finds a lane free asks for itself. Who leaves a lane looks at the queue: if
//! somebody waits, a task takes the lane over, asks for all who wait in one pipeline, and does so again until nobody waits.
//! A lane is only a turn: any connection will do, so whoever has waited too long, since those who have the lanes are not
//! run, asks for itself without one.

use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, PushInfo, RedisError, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::queue::{Answer, Queue, Request, Turn};
use super::target::Target;
use super::wire::{Batch, Failure, Live, Wire};
use super::{Limits, Replies};

/// How long to wait for a lane.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct Node {
    limits: Limits,
    /// One for each lane. The first carries all other calls too.
    wires: Vec<Arc<Wire>>,
    queue: Queue,
}

impl Node {
    pub(super) fn new(limits: Limits, target: impl Fn() -> RedisResult<Target>) -> RedisResult<Self> {
        let lanes = limits.read_connections;
        let wires = (0..lanes.max(1)).map(|_| Ok(Arc::new(Wire::new(target()?, limits))));
        Ok(Self { limits, wires: wires.collect::<RedisResult<_>>()?, queue: Queue::new(lanes) })
    }

    pub(super) async fn send(&self, batch: &Batch<'_>) -> Result<Replies, Failure> {
        self.wires[0].live().await?.send(batch).await
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
        // Who asks is boxed, so that those who wait are not as large.
        match self.queue.turn(key, Handle::current()) {
            Turn::Now(lane, key) => {
                let _lead = Lead { node: Arc::clone(self), lane, by: By::Caller };
                Box::pin(self.ask(lane, &key)).await
            }
            Turn::Alone(key) => Box::pin(self.ask(0, &key)).await,
            Turn::Later(number, mut answer) => match timeout(PATIENCE, &mut answer).await {
                Ok(answer) => answer.unwrap_or_else(gone),
                Err(_) => match self.queue.withdraw(number) {
                    Some(key) => Box::pin(self.ask(0, &key)).await,
                    None => match timeout(self.limits.one_command(), answer).await {
                        Ok(answer) => answer.unwrap_or_else(gone),
                        Err(_) => in_vain(io::ErrorKind::TimedOut.into()),
                    },
                },
            },
        }
    }

    async fn ask(&self, lane: usize, key: &str) -> Answer {
        Ok(self.live(lane).await?.send(&Batch::One(&get_credential(key))).await?.reply)
    }

    async fn ask_all(&self, lane: usize, keys: &[String]) -> Result<Vec<Value>, Failure> {
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.add_command(get_credential(key));
        }
        self.live(lane).await?.send_all(&pipeline).await
    }

    /// The lane's own connection. Until it is made, which nobody waits for, the first one; with that it is lost again, as it
    /// may lead to what is no longer the master.
    async fn live(&self, lane: usize) -> Result<Live, Failure> {
        let (first, own) = (&self.wires[0], &self.wires[lane]);
        if lane > 0 {
            if let Some(live) = own.recent() {
                return Ok(live);
            }
            if let Some(first) = first.current() {
                own.make_beside(first.clone());
                return Ok(first);
            }
        }
        first.live().await
    }
}

fn gone(_: oneshot::error::RecvError) -> Answer {
    in_vain(io::Error::other("whoever was reading is gone"))
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
    /// Answers this one and those who wait, until nobody does.
    async fn serve(mut self, mut first: Request) {
        loop {
            let (keys, waiting) = self.node.queue.batch(first);
            match self.node.ask_all(self.lane, &keys).await {
                // Their callers may be gone.
                Ok(replies) => waiting.into_iter().zip(replies).for_each(|(answer, reply)| {
                    let _ = answer.send(reply.extract_error().map_err(Failure::from));
                }),
                Err(failure) => waiting.into_iter().for_each(|answer| {
                    let _ = answer.send(Err(failure.clone()));
                }),
            }
            // Whoever is ready to run comes first, and may have something to ask.
            tokio::task::yield_now().await;
            match self.node.queue.give_back(self.lane) {
                Ok(()) => {
                    self.by = By::Nobody;
                    return;
                }
                Err(next) => first = next,
            }
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        match mem::replace(&mut self.by, By::Nobody) {
            // This caller's runtime may not run any more. That of one who waits most likely does.
            By::Caller => {
                if let Err(request) = self.node.queue.give_back(self.lane) {
                    let lead = Self { node: Arc::clone(&self.node), lane: self.lane, by: By::Task };
                    request.runtime.clone().spawn(lead.serve(request));
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
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_many_who_read_from_a_silent_server_nobody_waits_for_the_others() {
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
        assert!(began.elapsed() <= limits.one_command(), "{:?}", began.elapsed());
    }
}
