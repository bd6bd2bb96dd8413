//! Floor: a map, a key derivation, a cipher, a decoder that borrows.

mod ordered;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, RwLock};

use serde::Deserialize;
use vault_core::id::ConnectionKey;
use vault_core::store::{Bytes, Stores};
use vault_memory::MemoryStore;

pub use self::ordered::{DueSet, MapList};
use crate::cipher;
use crate::operation::{Operation, pick};
use crate::setup::{CLEAR_BYTES, Loader, Setup, Size, credential_context};

pub async fn seed(size: Size) -> Setup {
    let stores = Stores::from_backend(MemoryStore::new());
    let loader = Arc::clone(&stores.connections);
    Setup::seed(stores, &loader as &dyn Loader, size).await
}

/// As many records of the same plaintext, under keys of their own.
pub struct MapRead {
    map: RwLock<HashMap<ConnectionKey, Bytes>>,
    keys: Arc<[ConnectionKey]>,
    data_key: [u8; 32],
}

impl MapRead {
    pub async fn of(setup: &Setup) -> Self {
        let (sealer, record) = (setup.sealer().await, &setup.record);
        let context = credential_context(&record.key, record);
        let plain = sealer.open(&context, &record.credential[CLEAR_BYTES..]).await.expect("it opens");
        let data_key = [7; 32];
        let keys: Arc<[ConnectionKey]> = (0..setup.users.len()).map(|n| setup.key(n)).collect();
        let sealed = keys.iter().zip(0u64..);
        let sealed = sealed
            .map(|(key, salt)| (key.clone(), cipher::seal(&data_key, salt, plain.expose_secret()).into()));
        Self { map: RwLock::new(sealed.collect()), keys, data_key }
    }
}

impl Operation for MapRead {
    async fn run(&self, n: u64) {
        let key = &self.keys[pick(n, self.keys.len())];
        let sealed =
            self.map.read().expect("nobody panics").get(black_box(key)).cloned().expect("it is there");
        let plain = cipher::open(&self.data_key, &sealed);
        let Credential::OAuth(tokens) = postcard::from_bytes(&plain).expect("it decodes");
        black_box(tokens.access[0].token);
    }
}

/// What the vault seals, in its stored form, borrowed.
#[derive(Deserialize)]
enum Credential<'a> {
    #[serde(borrow)]
    OAuth(TokenSet<'a>),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded all the same")]
struct TokenSet<'a> {
    #[serde(borrow)]
    access: Vec<Access<'a>>,
    config: Vec<(&'a str, &'a str)>,
    refreshed_at: i64,
    refresh_token: Option<&'a str>,
    refresh_expires_at: Option<i64>,
    earliest_refresh_at: Option<i64>,
    alternates: Vec<&'a str>,
    grant: Grant<'a>,
    secrets: Vec<(&'a str, &'a str)>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded all the same")]
struct Access<'a> {
    audience: &'a str,
    token: &'a str,
    expires_at: Option<i64>,
    obtained_at: i64,
    refresh_after: i64,
    scopes: Vec<&'a str>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded all the same")]
struct Grant<'a> {
    issuer: Option<&'a str>,
    token_origin: &'a str,
    client_id: &'a str,
    account: Option<&'a str>,
}
