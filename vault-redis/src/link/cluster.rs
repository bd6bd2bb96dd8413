//! A cluster: which node to ask, and what to do when it is the wrong one.
//!
//! The driver has a cluster client of its own. It sends a command again whose connection broke, which may then run twice
//! (a flow that was taken would seem never to have been there), and it hung under slots that moved.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::node::{Node, get_credential};
use super::slots::{Address, Slots, slot};
use super::target::Target;
use super::wire::{Batch, Failure};
use super::{Limits, Replies, Wait, with_wait};
use crate::join::first;

/// The pause before a command that did not run is sent again; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How many redirections to follow without a pause.
const HOPS: u32 = 4;

pub(super) struct Cluster {
    /// Nodes to start from. The others are reached by their address and, for the rest, as the first of these is.
    seeds: Vec<ConnectionInfo>,
    limits: Limits,
    map: RwLock<Map>,
    /// Whether the masters are to be asked for.
    stale: AtomicBool,
    /// Held while they are: why that failed the last time.
    asking: Mutex<Option<RedisError>>,
    /// How often it has failed.
    failures: AtomicU64,
}

struct Map {
    slots: Slots,
    nodes: HashMap<Address, Arc<Node>>,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<ConnectionInfo>, limits: Limits) -> RedisResult<Self> {
        let map = RwLock::new(Map { slots: Slots::unknown(), nodes: HashMap::new() });
        let (stale, asking, failures) = (AtomicBool::new(true), Mutex::default(), AtomicU64::new(0));
        let cluster = Self { seeds, limits, map, stale, asking, failures };
        for seed in cluster.seeds.iter().map(address) {
            cluster.node(&seed?)?;
        }
        Ok(cluster)
    }

    /// Sends a command to the master that has `key`, and again for a while if it certainly did not run: the slot has
    /// moved or is moving, or there is no master for it yet.
    pub(super) async fn send(&self, key: &str, cmd: &Cmd, wait: Option<Wait>) -> RedisResult<Replies> {
        let (slot, give_up) = (slot(key), Instant::now().checked_add(self.limits.response));
        let (mut asked_to, mut hops, mut pause) = (None, 0, FIRST_PAUSE);
        loop {
            let failure = match self.attempt(slot, asked_to.take(), cmd, wait).await {
                Ok(replies) => return Ok(replies),
                Err(failure) => failure,
            };
            if failure.error.kind() == ErrorKind::Server(ServerErrorKind::Ask) {
                asked_to = redirection(&failure.error);
            }
            let redirected = self.learn(slot, &failure.error) || asked_to.is_some();
            let is_late = give_up.is_some_and(|at| Instant::now() + pause > at);
            if !failure.did_not_run() || is_late {
                return Err(failure.error);
            }
            hops += 1;
            if !redirected || hops > HOPS {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Asks the master that has `key` for a credential; where that one has not, as any other command is sent.
    pub(super) async fn credential(&self, key: &str) -> RedisResult<Value> {
        let master =
            if self.stale.load(Ordering::Acquire) { None } else { self.known_master(slot(key)).ok() };
        if let Some(master) = master {
            match master.credential(key.to_owned()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    self.learn(slot(key), &failure.error);
                    if !failure.did_not_run() {
                        return Err(failure.error);
                    }
                }
            }
        }
        // Boxed, since it is as rare as it is large.
        Box::pin(self.send(key, &get_credential(key), None)).await.map(|replies| replies.reply)
    }

    /// What an error says of where the slot is. Whether it has moved to a node that is known now.
    fn learn(&self, slot: u16, error: &RedisError) -> bool {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                redirection(error).map(|node| self.write().slots.learn(slot, node)).is_some()
            }
            ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain) => false,
            // It may have another master by now.
            _ => {
                self.stale.store(true, Ordering::Release);
                false
            }
        }
    }

    async fn attempt(
        &self,
        slot: u16,
        asked_to: Option<Address>,
        cmd: &Cmd,
        wait: Option<Wait>,
    ) -> Result<Replies, Failure> {
        let node = match &asked_to {
            Some(address) => self.node(address),
            None => self.master(slot).await,
        };
        let node = node.map_err(|error| Failure { error, unsent: true })?;
        let batch = match (asked_to, wait) {
            (None, None) => Batch::One(cmd),
            (None, Some(wait)) => Batch::Several(with_wait(redis::pipe(), cmd, Some(wait)), 0, 2),
            // ASKING holds for the next command on the connection, so both go in one piece.
            (Some(_), wait) => {
                let mut pipeline = redis::pipe();
                pipeline.cmd("ASKING");
                Batch::Several(with_wait(pipeline, cmd, wait), 1, 1 + usize::from(wait.is_some()))
            }
        };
        node.send(&batch).await
    }

    /// What every master answers.
    pub(super) async fn ask_masters(&self, cmd: &Cmd) -> RedisResult<Vec<Value>> {
        self.refresh().await?;
        let masters = self.read().slots.masters();
        let mut answers = Vec::with_capacity(masters.len());
        for master in masters {
            let answer = self.node(&master)?.send(&Batch::One(cmd)).await;
            answers.push(answer.map_err(|failure| failure.error)?.reply);
        }
        Ok(answers)
    }

    /// The masters, asked for anew, with the keys that each has.
    pub(super) async fn masters_of(&self, keys: Vec<String>) -> RedisResult<Vec<(Arc<Node>, Vec<String>)>> {
        self.stale.store(true, Ordering::Release);
        let mut masters: Vec<(Arc<Node>, Vec<String>)> = Vec::new();
        for key in keys {
            let master = self.master(slot(&key)).await?;
            match masters.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &master)) {
                Some((_, its)) => its.push(key),
                None => masters.push((master, vec![key])),
            }
        }
        Ok(masters)
    }

    async fn master(&self, slot: u16) -> RedisResult<Arc<Node>> {
        self.refresh().await?;
        self.known_master(slot)
    }

    fn known_master(&self, slot: u16) -> RedisResult<Arc<Node>> {
        let master = self.read().slots.master(slot);
        let none = (ErrorKind::ClusterConnectionNotFound, "no master has the slot");
        self.node(&*master.ok_or_else(|| RedisError::from(none))?)
    }

    /// The node of that address, known or new.
    fn node(&self, address: &Address) -> RedisResult<Arc<Node>> {
        if let Some(node) = self.read().nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let like_seed = self.like_seed(address)?;
        let node = Arc::new(Node::new(self.limits, || Target::address(like_seed.clone()))?);
        Ok(Arc::clone(self.write().nodes.entry(address.clone()).or_insert(node)))
    }

    fn like_seed(&self, (host, port): &Address) -> RedisResult<ConnectionInfo> {
        let none = (ErrorKind::InvalidClientConfig, "no node of the cluster is given");
        let seed = self.seeds.first().ok_or_else(|| RedisError::from(none))?;
        let mut addr = seed.addr().clone();
        match &mut addr {
            ConnectionAddr::Tcp(seeds_host, seeds_port)
            | ConnectionAddr::TcpTls { host: seeds_host, port: seeds_port, .. } => {
                (*seeds_host, *seeds_port) = (host.clone(), *port);
            }
            _ => return Err(no_tcp()),
        }
        Ok(seed.clone().set_addr(addr))
    }

    /// Learns the masters, if that is needed. One caller asks and the others wait; when that fails, those who waited fail
    /// with it instead of asking one after another.
    async fn refresh(&self) -> RedisResult<()> {
        if !self.stale.load(Ordering::Acquire) {
            return Ok(());
        }
        let before = self.failures.load(Ordering::Acquire);
        let mut failure = self.asking.lock().await;
        if !self.stale.load(Ordering::Acquire) {
            return Ok(());
        }
        let failed_meanwhile = self.failures.load(Ordering::Acquire) != before;
        if let Some(error) = failure.as_ref().filter(|_| failed_meanwhile) {
            return Err(error.clone());
        }
        self.ask_for_masters().await.inspect_err(|error| {
            *failure = Some(error.clone());
            self.failures.fetch_add(1, Ordering::Release);
        })
    }

    /// Asks all nodes and takes the first answer.
    async fn ask_for_masters(&self) -> RedisResult<()> {
        let nodes: Vec<_> = {
            let map = self.read();
            map.nodes.iter().map(|(address, node)| (address.clone(), Arc::clone(node))).collect()
        };
        let mut ask = redis::cmd("CLUSTER");
        ask.arg("SLOTS");
        let answers = nodes.iter().map(async |((host, _), node)| {
            let answer = node.send(&Batch::One(&ask)).await.map_err(|failure| failure.error)?;
            let unreadable = (ErrorKind::UnexpectedReturnType, "not an answer to CLUSTER SLOTS");
            Slots::read(answer.reply, host).ok_or_else(|| RedisError::from(unreadable))
        });
        let slots = first(answers).await.unwrap_or_else(|| Err(no_tcp()))?;
        let seeds = self.seeds.iter().map(address).collect::<RedisResult<Vec<_>>>()?;
        let masters = slots.masters();
        let mut map = self.write();
        map.slots = slots;
        map.nodes.retain(|node, _| seeds.contains(node) || masters.iter().any(|master| **master == *node));
        self.stale.store(false, Ordering::Release);
        Ok(())
    }

    /// No critical section panics half way.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    /// Whether the server, or we before it, refused the command.
    fn did_not_run(&self) -> bool {
        self.unsent
            || matches!(
                self.error.kind(),
                ErrorKind::Server(
                    ServerErrorKind::Ask
                        | ServerErrorKind::BusyLoading
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::Moved
                        | ServerErrorKind::ReadOnly
                        | ServerErrorKind::TryAgain
                )
            )
    }
}

fn address(node: &ConnectionInfo) -> RedisResult<Address> {
    match node.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Ok((host.clone(), *port))
        }
        _ => Err(no_tcp()),
    }
}

fn no_tcp() -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, "a cluster needs nodes at TCP addresses"))
}

/// Where the answer says that the key is, or may be by now.
fn redirection(error: &RedisError) -> Option<Address> {
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use redis::IntoConnectionInfo as _;

    use super::*;

    /// A server that takes connections and never says a word.
    fn silent() -> (TcpListener, ConnectionInfo) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("bound").port();
        (socket, ("127.0.0.1", port).into_connection_info().expect("an address"))
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_wait_for_silent_nodes_nobody_waits_for_the_others() {
        let (_sockets, seeds): (Vec<_>, Vec<_>) = [(); 3].map(|()| silent()).into_iter().unzip();
        let (connect, response) = (Duration::from_secs(2), Duration::from_secs(3));
        let limits = Limits { connect, response, wait: None, read_connections: 4 };
        let cluster = Arc::new(Cluster::new(seeds, limits).expect("addresses"));
        let began = Instant::now();
        let callers: Vec<_> = (0..20)
            .map(|_| Arc::clone(&cluster))
            .map(|cluster| tokio::spawn(async move { cluster.send("key", &redis::cmd("PING"), None).await }))
            .collect();
        for caller in callers {
            assert!(caller.await.expect("no panic").is_err(), "nobody answers");
        }
        assert!(began.elapsed() < response + connect * 3, "{:?}", began.elapsed());
    }
}
