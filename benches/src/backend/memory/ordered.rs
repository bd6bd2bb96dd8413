//! Floors of what takes more than one record: the same from ordered maps, summaries opened and decoded by borrowing.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::RwLock;
use std::time::Duration;

use serde::Deserialize;
use vault_core::clock::Timestamp;
use vault_core::id::ConnectionKey;
use vault_core::store::Bytes;

use crate::cipher;
use crate::operation::{Operation, pick};
use crate::setup::{DUE, Setup, summary_context};

const DATA_KEY: [u8; 32] = [7; 32];

/// Summaries in the order of their keys.
pub struct MapList {
    map: RwLock<BTreeMap<ConnectionKey, Bytes>>,
    /// One of them, or so many from the first on.
    wanted: Wanted,
}

enum Wanted {
    One(Vec<ConnectionKey>),
    First(usize),
}

impl MapList {
    pub async fn of_user(setup: &Setup) -> Self {
        let keys = (0..setup.users.len()).map(|n| setup.key(n)).collect();
        Self { map: summaries(setup).await, wanted: Wanted::One(keys) }
    }

    pub async fn first(setup: &Setup, count: usize) -> Self {
        Self { map: summaries(setup).await, wanted: Wanted::First(count) }
    }
}

async fn summaries(setup: &Setup) -> RwLock<BTreeMap<ConnectionKey, Bytes>> {
    let (sealer, record) = (setup.sealer().await, &setup.record);
    let plain = sealer.open(&summary_context(&record.key, record), &record.summary).await.expect("it opens");
    let sealed = (0..setup.users.len()).zip(0u64..).map(|(n, salt)| {
        let sealed = cipher::seal(&DATA_KEY, salt, plain.expose_secret());
        (setup.key(n), sealed.into())
    });
    RwLock::new(sealed.collect())
}

impl Operation for MapList {
    async fn run(&self, n: u64) {
        let map = self.map.read().expect("nobody panics");
        let sealed: Vec<Bytes> = match &self.wanted {
            Wanted::One(keys) => {
                let key = &keys[pick(n, keys.len())];
                let listed = map.range(key..).take_while(|(other, _)| other.owner == key.owner);
                listed.map(|(_, sealed)| sealed.clone()).collect()
            }
            Wanted::First(count) => map.values().take(*count).cloned().collect(),
        };
        drop(map);
        for sealed in sealed {
            let plain = cipher::open(&DATA_KEY, &sealed);
            let summary: Summary<'_> = postcard::from_bytes(&plain).expect("it decodes");
            black_box(summary.provider);
        }
    }
}

/// What the vault seals for listings, in its stored form, borrowed.
#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded all the same")]
struct Summary<'a> {
    provider: &'a str,
    client_id: &'a str,
    #[serde(borrow)]
    account: Option<Account<'a>>,
    scopes: Vec<&'a str>,
    requested: Vec<&'a str>,
    config: Vec<(&'a str, &'a str)>,
    reconsent_due_at: Option<i64>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded all the same")]
struct Account<'a> {
    id: &'a str,
    email: Option<&'a str>,
    name: Option<&'a str>,
}

/// What is due, in order.
pub struct DueSet {
    due: RwLock<BTreeSet<(Timestamp, ConnectionKey)>>,
    before: Timestamp,
}

impl DueSet {
    /// As many that are due as in the vault's store, among as many that are not.
    pub fn of(setup: &Setup) -> Self {
        let before = setup.record.created_at;
        let at = |n: usize| match n {
            0..DUE => before.saturating_sub(Duration::from_millis(n as u64)),
            _ => before.saturating_add(Duration::from_millis(n as u64)),
        };
        let due = (0..setup.users.len()).map(|n| (at(n), setup.key(n))).collect();
        Self { due: RwLock::new(due), before }
    }
}

impl Operation for DueSet {
    async fn run(&self, _: u64) {
        let due = self.due.read().expect("nobody panics");
        let due = due.iter().take_while(|(at, _)| *at <= self.before).take(DUE);
        let due: Vec<ConnectionKey> = due.map(|(_, key)| key.clone()).collect();
        assert_eq!(due.len(), DUE);
        black_box(due);
    }
}
