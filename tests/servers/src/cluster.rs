//! Redis Cluster: three masters, each with a replica.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use crate::redis::{Options, Redis};
use crate::resp::Reply;
use crate::{Result, poll};

const MASTERS: usize = 3;
const NODES: usize = 2 * MASTERS;
const SLOTS: usize = 16_384;
const WHOLE_WITHIN: Duration = Duration::from_secs(30);

/// A cluster. Its nodes are numbered from 0; nodes 0 to 2 begin as masters, and node `n + 3` as the replica of node `n`.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl Drop for RedisCluster {
    /// Replicas first: a master that stops waits for those that it has.
    fn drop(&mut self) {
        while self.nodes.pop().is_some() {}
    }
}

impl RedisCluster {
    /// Starts a cluster of empty nodes. Returns when every slot is served and every replica follows.
    pub fn start(options: &Options) -> Result<Self> {
        let options = options
            .clone()
            .with("cluster-enabled", "yes")
            .with("cluster-node-timeout", &options.dead_after.as_millis().to_string())
            .with("repl-diskless-sync-delay", "0");
        let nodes = thread::scope(|scope| {
            let start = |n| Redis::start(&options.clone().with_name(&format!("redis-cluster-{n}")));
            let starting: Vec<_> = (0..NODES).map(|n| scope.spawn(move || start(n))).collect();
            let started = starting.into_iter().map(|node| node.join().map_err(|_| "a thread panicked")?);
            started.collect::<Result<_>>()
        })?;
        let cluster = Self { nodes };
        cluster.join()?;
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// Makes one cluster of the nodes.
    fn join(&self) -> Result<()> {
        for (n, node) in self.nodes.iter().enumerate() {
            // Else all have the same, and settle that one by one.
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()])?;
        }
        for (n, node) in self.nodes[..MASTERS].iter().enumerate() {
            let slots = (n * SLOTS / MASTERS..(n + 1) * SLOTS / MASTERS).map(|slot| slot.to_string());
            let command = ["CLUSTER", "ADDSLOTS"].map(str::to_owned).into_iter().chain(slots);
            node.command(&command.collect::<Vec<_>>())?;
        }
        for (n, node) in self.nodes.iter().enumerate() {
            // Each meets each: faster than to wait for gossip.
            for other in &self.nodes[n + 1..] {
                node.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()])?;
            }
        }
        poll::until("cluster in which all nodes know all", WHOLE_WITHIN, || {
            let views = self.nodes.iter().map(view).collect::<Result<Vec<_>>>()?;
            let complete = |view: &Vec<Known>| view.len() == NODES && view.iter().all(|known| known.is_well);
            Ok(views.iter().all(complete).then_some(()))
        })?;
        let (masters, replicas) = self.nodes.split_at(MASTERS);
        for (master, replica) in masters.iter().zip(replicas) {
            replica.command(&["CLUSTER", "REPLICATE", &id(master)?])?;
        }
        Ok(())
    }

    /// Where each node is, masters and replicas, running or not.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// One of the nodes.
    ///
    /// # Panics
    /// There are nodes 0 to 5.
    #[must_use]
    pub fn node(&self, n: usize) -> &Redis {
        &self.nodes[n]
    }

    /// The master that serves a slot, by its own account.
    pub fn master_of(&self, slot: u16) -> Result<usize> {
        for (n, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()) {
            if view(node)?.iter().any(|known| known.is_self && known.serves(slot)) {
                return Ok(n);
            }
        }
        Err(format!("no running node serves slot {slot}").into())
    }

    /// Waits until every slot is served by a running node, all running nodes agree on which, and all running replicas
    /// follow. After [`kill`](Self::kill) of a master that is when its replica has replaced it.
    pub fn wait_until_whole(&self) -> Result<()> {
        poll::until("whole cluster", WHOLE_WITHIN, || Ok(self.is_whole()?.then_some(())))
    }

    fn is_whole(&self) -> Result<bool> {
        let running = || self.nodes.iter().filter(|node| node.is_running());
        let mut agreed = None;
        for node in running() {
            let view = view(node)?;
            let well = |port| view.iter().any(|known| known.port == port && known.is_well);
            let slots = served(&view);
            let alive = |port: &u16| running().any(|node| node.port() == *port);
            if !running().all(|node| well(node.port())) || !slots.keys().all(alive) {
                return Ok(false);
            }
            if *agreed.get_or_insert_with(|| slots.clone()) != slots {
                return Ok(false);
            }
            let state = node.command(&["CLUSTER", "INFO"])?.text();
            let replication = node.command(&["INFO", "replication"])?.text();
            let follows =
                replication.contains("role:master") || replication.contains("master_link_status:up");
            if !state.contains("cluster_state:ok") || !follows {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Moves a slot with its keys to the master `to`. Clients meet `ASK` on the way, and then `MOVED`.
    pub fn move_slot(&self, slot: u16, to: usize) -> Result<()> {
        self.begin_move(slot, to)?;
        self.finish_move(slot, to)
    }

    /// Begins to move a slot to the master `to`: from now on clients meet `ASK` for a key that is not there yet.
    pub fn begin_move(&self, slot: u16, to: usize) -> Result<()> {
        let (from, to) = (&self.nodes[self.master_of(slot)?], &self.nodes[to]);
        if from.port() == to.port() {
            return Err(format!("slot {slot} is there already").into());
        }
        let slot = slot.to_string();
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)?])?;
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)?])?;
        Ok(())
    }

    /// Moves the keys after [`begin_move`](Self::begin_move), and then the slot itself.
    pub fn finish_move(&self, slot: u16, to: usize) -> Result<()> {
        let (from, to) = (&self.nodes[self.master_of(slot)?], &self.nodes[to]);
        let (slot, port) = (slot.to_string(), to.port().to_string());
        loop {
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"])?.list();
            if keys.is_empty() {
                break;
            }
            let keys =
                keys.into_iter().filter_map(|key| if let Reply::Bytes(key) = key { Some(key) } else { None });
            let migrate =
                ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"].map(|arg| arg.as_bytes().to_vec());
            from.command(&migrate.into_iter().chain(keys).collect::<Vec<_>>())?;
        }
        let to_id = id(to)?;
        // The new one first: were the old one first, the two would point at each other for a while.
        for node in [to, from] {
            node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])?;
        }
        Ok(())
    }

    /// Ends a node at once, as a crash would.
    pub fn kill(&mut self, n: usize) -> Result<()> {
        self.nodes[n].kill()
    }

    /// Starts a killed node again, with the same data on the same port. See [`wait_until_whole`](Self::wait_until_whole).
    pub fn restart(&mut self, n: usize) -> Result<()> {
        self.nodes[n].restart()
    }

    /// Stops a node where it is: the system takes connections for it, and nothing answers.
    pub fn pause(&mut self, n: usize) -> Result<()> {
        self.nodes[n].pause()
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self, n: usize) -> Result<()> {
        self.nodes[n].resume()
    }
}

fn id(node: &Redis) -> Result<String> {
    Ok(node.command(&["CLUSTER", "MYID"])?.text())
}

/// What a node knows of the cluster.
fn view(node: &Redis) -> Result<Vec<Known>> {
    let lines = node.command(&["CLUSTER", "NODES"])?.text();
    lines
        .lines()
        .map(|line| Known::parse(line).ok_or_else(|| format!("cannot read `{line}`").into()))
        .collect()
}

/// The slots of each port that has some.
fn served(view: &[Known]) -> BTreeMap<u16, Vec<RangeInclusive<u16>>> {
    let masters = view.iter().filter(|known| !known.slots.is_empty());
    masters.map(|known| (known.port, known.slots.clone())).collect()
}

/// A node, as one of them knows it.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    port: u16,
    is_self: bool,
    is_well: bool,
    slots: Vec<RangeInclusive<u16>>,
}

impl Known {
    /// `ID IP:PORT@BUS FLAGS MASTER PING PONG EPOCH LINK [SLOTS...]`; a slot that moves is in brackets besides.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let (_, address) = words.get(1)?.split_once(':')?;
        let flags: Vec<&str> = words.get(2)?.split(',').collect();
        let slots = words.get(8..).unwrap_or_default().iter().filter(|slots| !slots.starts_with('['));
        let slots = slots.map(|slots| {
            let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
            Some(first.parse().ok()?..=last.parse().ok()?)
        });
        Some(Self {
            port: address.split('@').next()?.parse().ok()?,
            is_self: flags.contains(&"myself"),
            is_well: ["fail", "fail?", "handshake", "noaddr"].iter().all(|bad| !flags.contains(bad)),
            slots: slots.collect::<Option<_>>()?,
        })
    }

    fn serves(&self, slot: u16) -> bool {
        self.slots.iter().any(|slots| slots.contains(&slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cluster_nodes_is_read() {
        let line = "07c3 127.0.0.1:12004@22004,host myself,master - 0 1426238317239 4 connected 0-5460 9000 [9-<-e7d1]";
        let known = Known::parse(line).expect("the line is good");
        assert_eq!(
            known,
            Known { port: 12_004, is_self: true, is_well: true, slots: vec![0..=5460, 9000..=9000] }
        );
        assert!(known.serves(5460) && known.serves(9000) && !known.serves(5461));
    }

    #[test]
    fn a_failing_node_is_not_well() {
        let line = "07c3 127.0.0.1:12004@22004 slave,fail? 07c4 0 0 4 disconnected";
        assert!(!Known::parse(line).expect("the line is good").is_well);
    }
}
