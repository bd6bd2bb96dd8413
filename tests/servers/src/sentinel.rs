//! Redis Sentinel: a master, its replica, and three sentinels that watch them.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use crate::redis::{Options, Redis};
use crate::resp::Reply;
use crate::{Result, poll, port};

/// The name under which the sentinels watch the master.
pub const SERVICE: &str = "mymaster";
const SENTINELS: usize = 3;
const READY: &str = "+monitor master";
const WHOLE_WITHIN: Duration = Duration::from_secs(30);

/// Two data servers and their sentinels. Data server 0 begins as the master.
#[derive(Debug)]
pub struct Sentinel {
    sentinels: Vec<Redis>,
    servers: Vec<Redis>,
}

impl Drop for Sentinel {
    /// The sentinels first, which would replace a master that stops; then the replica, for which it would wait.
    fn drop(&mut self) {
        self.sentinels.clear();
        while self.servers.pop().is_some() {}
    }
}

impl Sentinel {
    /// Starts all five. Returns when the replica follows and every sentinel knows every server.
    pub fn start(options: &Options) -> Result<Self> {
        let options = options.clone().with("repl-diskless-sync-delay", "0");
        let master = Redis::start(&options.clone().with_name("redis-master"))?;
        let following = options
            .clone()
            .with_name("redis-replica")
            .with("replicaof", &format!("127.0.0.1 {}", master.port()));
        let replica = Redis::start(&following)?;
        let servers = vec![master, replica];
        let sentinels = port::on_a_free_one(|first| {
            let mut ports = vec![first];
            ports.extend((1..SENTINELS).map(|_| port::free()).collect::<Result<Vec<_>>>()?);
            ports.iter().map(|port| start_one(&options, *port, &ports, &servers)).collect::<Result<_>>()
        })?;
        let sentinel = Self { sentinels, servers };
        sentinel.wait_until_whole()?;
        Ok(sentinel)
    }

    /// Where each sentinel is.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    /// One of the two data servers.
    ///
    /// # Panics
    /// There are servers 0 and 1.
    #[must_use]
    pub fn server(&self, n: usize) -> &Redis {
        &self.servers[n]
    }

    /// The data server that all sentinels call the master, if that one agrees.
    pub fn master(&self) -> Result<usize> {
        let mut named = None;
        for sentinel in &self.sentinels {
            let address = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE])?.list();
            let port = address.last().map(Reply::text);
            if *named.get_or_insert_with(|| port.clone()) != port {
                return Err("the sentinels disagree".into());
            }
        }
        let named = named.flatten();
        let is_named = |server: &Redis| named.as_ref().is_some_and(|port| server.port().to_string() == *port);
        let master = self.servers.iter().position(is_named).ok_or("the sentinels name no server of ours")?;
        let role = self.servers[master].command(&["ROLE"])?.list();
        match role.first().map(Reply::text).as_deref() {
            Some("master") => Ok(master),
            _ => Err(format!("server {master} is not a master").into()),
        }
    }

    /// Kills the master, and waits until the replica has been promoted and all sentinels say so. Returns the killed one:
    /// [`restart`](Self::restart) makes it a replica.
    pub fn failover(&mut self) -> Result<usize> {
        let old = self.master()?;
        self.servers[old].kill()?;
        poll::until("new master", WHOLE_WITHIN, || Ok((self.master()? != old).then_some(())))?;
        Ok(old)
    }

    /// Ends a data server at once, as a crash would.
    pub fn kill(&mut self, n: usize) -> Result<()> {
        self.servers[n].kill()
    }

    /// Starts a killed data server again, with the same data on the same port; as a replica if the other one is the
    /// master now, which the sentinels would see to 10 s later. See [`wait_until_whole`](Self::wait_until_whole).
    pub fn restart(&mut self, n: usize) -> Result<()> {
        self.servers[n].restart()?;
        if self.master().is_ok_and(|master| master != n) {
            let port = self.servers[1 - n].port().to_string();
            self.servers[n].command(&["REPLICAOF", "127.0.0.1", &port])?;
        }
        Ok(())
    }

    /// Stops a data server where it is: the system takes connections for it, and nothing answers.
    pub fn pause(&mut self, n: usize) -> Result<()> {
        self.servers[n].pause()
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self, n: usize) -> Result<()> {
        self.servers[n].resume()
    }

    /// Waits until there is a master that a replica follows, and the sentinels would replace it.
    pub fn wait_until_whole(&self) -> Result<()> {
        poll::until("master with a replica and a quorum", WHOLE_WITHIN, || {
            let master = self.master()?;
            let link = self.servers[1 - master].command(&["INFO", "replication"])?.text();
            if !link.contains("master_link_status:up") {
                return Ok(None);
            }
            for sentinel in &self.sentinels {
                let quorum = sentinel.command(&["SENTINEL", "CKQUORUM", SERVICE])?.text();
                let replicas = sentinel.command(&["SENTINEL", "REPLICAS", SERVICE])?.list();
                if !quorum.contains(&format!("OK {SENTINELS} usable")) || !replicas.into_iter().all(is_well) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }
}

/// Whether a sentinel has nothing to say against a replica: names and values, in turns.
fn is_well(replica: Reply) -> bool {
    let words: Vec<String> = replica.list().iter().map(Reply::text).collect();
    words.chunks(2).any(|pair| pair == ["flags", "slave"])
}

fn start_one(options: &Options, port: u16, ports: &[u16], servers: &[Redis]) -> Result<Redis> {
    let mut daemon = options.clone().with_name(&format!("redis-sentinel-{port}")).daemon(READY)?;
    fs::write(daemon.folder().join("sentinel.conf"), file(options.dead_after, port, ports, servers)?)?;
    daemon.start(vec!["sentinel.conf".to_owned(), "--sentinel".to_owned()])?;
    Ok(Redis::running(daemon, port))
}

/// It names all that a sentinel would find out by itself, several seconds later.
fn file(dead_after: Duration, port: u16, ports: &[u16], servers: &[Redis]) -> Result<String> {
    let id = |port: u16| format!("{port:040x}");
    let mut file = format!(
        "port {port}\n\
         bind 127.0.0.1\n\
         sentinel myid {}\n\
         sentinel monitor {SERVICE} 127.0.0.1 {} 2\n\
         sentinel down-after-milliseconds {SERVICE} {}\n\
         sentinel failover-timeout {SERVICE} 5000\n\
         sentinel known-replica {SERVICE} 127.0.0.1 {}\n",
        id(port),
        servers[0].port(),
        dead_after.as_millis(),
        servers[1].port(),
    );
    for other in ports.iter().filter(|other| **other != port) {
        writeln!(file, "sentinel known-sentinel {SERVICE} 127.0.0.1 {other} {}", id(*other))?;
    }
    Ok(file)
}
