//! Floors of what takes more than one record: the same fields of the same hashes, in a pipeline for each node that has some.

use std::collections::HashMap;
use std::hint::black_box;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;

use super::{CONNECTIONS, INDEXES, Redis};
use crate::operation::{Operation, pick};
use crate::setup::{DUE, Setup};

/// What ends an index entry, and a record's key: a digest in base64.
const ID: usize = 43;

/// Records that are known by name, so many at once.
pub struct Records {
    nodes: Vec<MultiplexedConnection>,
    /// With the node's place among them.
    names: Vec<(usize, String)>,
    count: usize,
}

impl Records {
    pub async fn of(redis: &Redis, count: usize) -> Self {
        let (nodes, names): (Vec<_>, Vec<_>) = redis.by_node(CONNECTIONS).await.into_iter().unzip();
        let names = names.into_iter().enumerate();
        let names = names.flat_map(|(node, names)| names.into_iter().map(move |name| (node, name)));
        Self { nodes, names: names.collect(), count }
    }
}

impl Operation for Records {
    async fn run(&self, n: u64) {
        let first = pick(n, self.names.len());
        let mut wanted = vec![Vec::new(); self.nodes.len()];
        for (node, name) in self.names.iter().cycle().skip(first).take(self.count) {
            wanted[*node].push(name.as_str());
        }
        let read = join_all(self.nodes.iter().zip(wanted).map(|(node, names)| records(node, names))).await;
        assert_eq!(read.into_iter().sum::<usize>(), self.count);
    }
}

/// How many there were.
async fn records(node: &MultiplexedConnection, names: Vec<impl AsRef<str>>) -> usize {
    if names.is_empty() {
        return 0;
    }
    let mut pipe = redis::pipe();
    for name in names {
        pipe.hget(name.as_ref(), "record");
    }
    let records: Vec<Vec<u8>> = pipe.query_async(&mut node.clone()).await.expect("they are there");
    black_box(records).len()
}

/// What is due, out of each shard's own index: first where the entries stand, then what they name.
pub struct DueRanges {
    nodes: Vec<(MultiplexedConnection, Vec<String>)>,
    before: String,
}

impl DueRanges {
    pub async fn on(redis: &Redis) -> Self {
        Self { nodes: redis.by_node(INDEXES).await, before: due_until(&redis.setup) }
    }

    /// The entries that are due, each with the place of its node and the index that has it.
    async fn entries(&self) -> Vec<(String, usize, &str)> {
        let ranges = self.nodes.iter().enumerate().map(async |(at, (node, indexes))| {
            let mut pipe = redis::pipe();
            for index in indexes {
                pipe.cmd("ZRANGEBYLEX").arg(index).arg("[d").arg(&self.before).arg("LIMIT").arg(0).arg(DUE);
            }
            let found: Vec<Vec<String>> =
                pipe.query_async(&mut node.clone()).await.expect("the server is up");
            let found = indexes.iter().zip(found);
            let found = found.flat_map(|(index, entries)| {
                entries.into_iter().map(move |entry| (entry, at, index.as_str()))
            });
            found.collect::<Vec<_>>()
        });
        join_all(ranges).await.into_iter().flatten().collect()
    }
}

impl Operation for DueRanges {
    async fn run(&self, _: u64) {
        let mut entries = self.entries().await;
        entries.sort_unstable();
        let mut wanted: HashMap<usize, Vec<String>> = HashMap::new();
        for (entry, node, index) in entries.into_iter().take(DUE) {
            // `{prefix:shard}:i`, and in the same shard `{prefix:shard}:c:ID`.
            let shard = index.strip_suffix('i').expect("an index");
            let id = &entry[entry.len() - ID..];
            wanted.entry(node).or_default().push(format!("{shard}c:{id}"));
        }
        let read = wanted.into_iter().map(|(node, names)| records(&self.nodes[node].0, names));
        assert_eq!(join_all(read).await.into_iter().sum::<usize>(), DUE);
    }
}

/// Where the entries end that are due: a time is sixteen digits that sort as the times do.
fn due_until(setup: &Setup) -> String {
    let before = setup.record.created_at.as_millis().cast_unsigned() ^ (1 << 63);
    format!("(d{before:016x}\x7f")
}
