//! Sealing and opening, beside the cipher alone on as many bytes.
//!
//! What comes on top is there in every call: deriving a key from the data key with BLAKE3, the commitment, the context as
//! associated data, and, when sealing, random bytes from the system.

use std::hint::black_box;
use std::sync::Arc;

use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, Tag};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use vault_core::KeyRing;
use vault_core::entropy::SystemEntropy;
use vault_core::id::{ConnectionKey, ConnectorId, Incarnation, Owner, Slot, TenantId, UserId};
use vault_core::seal::{Context, Purpose, Sealer};
use vault_memory::MemoryStore;

const SIZES: [usize; 3] = [512, 2048, 4096];

fn seal_open(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let sealer = runtime.block_on(sealer());
    let key = key();
    let context = Context {
        incarnation: Some(Incarnation::from_bytes([7; 16])),
        generation: Some(1),
        ..Context::of_connection(Purpose::Credential, &key)
    };

    let mut group = criterion.benchmark_group("seal");
    for size in SIZES {
        let plain = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::new("vault", size), &plain, |bencher, plain| {
            bencher
                .to_async(&runtime)
                .iter(|| async { sealer.seal(&context, black_box(plain)).await.expect("sealed") });
        });
        let mut buffer = plain.clone();
        group.bench_function(BenchmarkId::new("floor", size), |bencher| {
            bencher.iter(|| encrypt(black_box(&mut buffer)));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("open");
    for size in SIZES {
        let plain = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        let sealed = runtime.block_on(sealer.seal(&context, &plain)).expect("sealed");
        group.bench_with_input(BenchmarkId::new("vault", size), &sealed, |bencher, sealed| {
            bencher
                .to_async(&runtime)
                .iter(|| async { sealer.open(&context, black_box(sealed)).await.expect("opened") });
        });
        let mut sealed = plain;
        let tag = encrypt(&mut sealed);
        group.bench_function(BenchmarkId::new("floor", size), |bencher| {
            bencher.iter(|| decrypt(black_box(&sealed), &tag));
        });
    }
    group.finish();
}

/// With a new key each time, as every sealed value has its own.
fn cipher() -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(black_box(&[7; 32]).into())
}

fn encrypt(buffer: &mut [u8]) -> Tag {
    cipher().encrypt_inout_detached(&[0; 12].into(), &[], buffer.into()).expect("a short buffer")
}

/// Into a new buffer, which opening cannot do without.
fn decrypt(sealed: &[u8], tag: &Tag) -> Vec<u8> {
    let mut buffer = sealed.to_vec();
    let opened = cipher().decrypt_inout_detached(&[0; 12].into(), &[], buffer.as_mut_slice().into(), tag);
    opened.expect("genuine");
    buffer
}

async fn sealer() -> Sealer {
    let entropy = SystemEntropy::default();
    let keys = KeyRing::generate_key("bench", &entropy).expect("random bytes");
    let ring = KeyRing::from_text(keys.expose_secret()).expect("a key");
    Sealer::start(ring, Arc::new(MemoryStore::new()), Arc::new(entropy)).await.expect("an empty store")
}

fn key() -> ConnectionKey {
    ConnectionKey {
        tenant: TenantId::default(),
        owner: Owner::User(UserId::new("alice").expect("an id")),
        connector: ConnectorId::new("gmail").expect("an id"),
        slot: Slot::default(),
    }
}

criterion_group!(benches, seal_open);
criterion_main!(benches);
