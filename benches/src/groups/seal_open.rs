//! Sealing and opening, beside the cipher alone on as many bytes.
//!
//! What comes on top is there in every call: the commitment's comparison, the context as associated data, and, when
//! sealing, random bytes and a salt made of everything.

use std::hint::black_box;
use std::sync::Arc;

use vault_core::id::ConnectionKey;
use vault_core::seal::Sealer;
use vault_core::store::ConnectionRecord;

use super::Bench;
use crate::backend::memory;
use crate::cipher;
use crate::group::{Case, Group, names};
use crate::operation::Operation;
use crate::setup::{Size, credential_context};

const KEY: [u8; 32] = [7; 32];

pub(super) fn run(bench: &mut Bench<'_>) {
    for &token_bytes in bench.plan.tokens {
        let size = Size { rows: 1, token_bytes };
        let (sealer, record) = bench.runtime.block_on(async {
            let setup = memory::seed(size).await;
            (setup.sealer().await, setup.record)
        });
        let vault = Vault { key: record.key.clone(), record, sealer };
        let plain = vec![b'x'; token_bytes];
        let sealed = bench.runtime.block_on(vault.seal(&plain));
        let case = |name| Case::new(name, "memory").size(Size { rows: 0, ..size });
        let vault = Arc::new(vault);

        let seal = Seal { vault: Arc::clone(&vault), plain: plain.clone() };
        let bare = BareSeal(plain.clone());
        bench.measure(Group::latency(case("seal"), Arc::new(seal)).versus(names::BARE, Arc::new(bare)));

        let bare = BareOpen(cipher::seal(&KEY, 1, &plain));
        let open = Open { vault, sealed };
        bench.measure(Group::latency(case("open"), Arc::new(open)).versus(names::BARE, Arc::new(bare)));
    }
}

struct Vault {
    key: ConnectionKey,
    record: ConnectionRecord,
    sealer: Sealer,
}

impl Vault {
    async fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let sealed = self.sealer.seal(&credential_context(&self.key, &self.record), plain).await;
        sealed.expect("it seals")
    }
}

struct Seal {
    vault: Arc<Vault>,
    plain: Vec<u8>,
}

impl Operation for Seal {
    async fn run(&self, _: u64) {
        black_box(self.vault.seal(black_box(&self.plain)).await);
    }
}

struct Open {
    vault: Arc<Vault>,
    sealed: Vec<u8>,
}

impl Operation for Open {
    async fn run(&self, _: u64) {
        let Vault { key, record, sealer } = &*self.vault;
        let opened = sealer.open(&credential_context(key, record), black_box(&self.sealed)).await;
        black_box(opened.expect("it opens"));
    }
}

struct BareSeal(Vec<u8>);

impl Operation for BareSeal {
    async fn run(&self, n: u64) {
        black_box(cipher::seal(&KEY, n, black_box(&self.0)));
    }
}

struct BareOpen(Vec<u8>);

impl Operation for BareOpen {
    async fn run(&self, _: u64) {
        black_box(cipher::open(&KEY, black_box(&self.0)));
    }
}
