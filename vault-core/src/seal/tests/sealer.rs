use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use async_trait::async_trait;

use super::*;
use crate::seal::{DataKeyScope, KekError, KekErrorKind};

#[tokio::test]
async fn e01_any_flipped_bit_and_any_cut_is_an_error() {
    let (sealer, _) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    let sealed = sealer.seal(&credential(&key), b"token").await.expect("seals");
    for bit in 0..sealed.len() * 8 {
        let mut edited = sealed.clone();
        edited[bit / 8] ^= 1 << (bit % 8);
        refused(sealer.open(&credential(&key), &edited).await, ErrorKind::CorruptRecord, "");
    }
    for len in 0..sealed.len() {
        let cut = sealer.open(&credential(&key), &sealed[..len]).await;
        refused(cut, ErrorKind::CorruptRecord, "credential of user alice");
    }
    let longer = [&sealed[..], &[0]].concat();
    refused(sealer.open(&credential(&key), &longer).await, ErrorKind::CorruptRecord, "");
    let opened = sealer.open(&credential(&key), &sealed).await.expect("opens");
    assert_eq!(opened.expose_secret(), b"token");
}

#[tokio::test]
async fn e02_a_value_opens_for_no_other_record() {
    let (sealer, _) = started(ring("k1", 1)).await;
    let (alice, bob, evil) =
        (connection("acme", "alice"), connection("acme", "bob"), connection("evil", "alice"));
    for key in [&alice, &bob, &evil] {
        sealer.seal(&credential(key), b"own").await.expect("seals");
    }
    let sealed = sealer.seal(&credential(&alice), b"token").await.expect("seals");
    let here = credential(&alice);
    let connector = ConnectorId::new("slack").expect("a short id");
    let moved = [
        credential(&bob),
        credential(&evil),
        Context { connector: Some(&connector), ..here },
        Context { slot: None, ..here },
        Context { owner: Some(&Owner::Shared), ..here },
        Context { incarnation: Some(Incarnation::from_bytes([8; 16])), ..here },
        Context { subject: Some(b""), ..here },
    ];
    for context in moved {
        refused(sealer.open(&context, &sealed).await, ErrorKind::CorruptRecord, "tampered or moved");
    }
    let summary = Context { purpose: Purpose::Summary, ..here };
    let message = "moved from another purpose";
    refused(sealer.open(&summary, &sealed).await, ErrorKind::CorruptRecord, message);
}

#[tokio::test]
async fn e02_a_value_of_another_tenant_opens_for_no_process_that_never_met_it() {
    let (sealer, store) = started(ring("k1", 1)).await;
    let (acme, evil) = (connection("acme", "alice"), connection("evil", "alice"));
    let sealed = sealer.seal(&credential(&acme), b"token").await.expect("seals");
    sealer.seal(&credential(&evil), b"own").await.expect("seals");
    let fresh = start(ring("k1", 1), &store).await.expect("the same key");
    let message = "tenant evil has no data key";
    refused(fresh.open(&credential(&evil), &sealed).await, ErrorKind::CorruptRecord, message);
    fresh.open(&credential(&acme), &sealed).await.expect("opens where it belongs");
}

#[tokio::test]
async fn e04_an_older_generation_does_not_open_as_the_current_one() {
    let (sealer, _) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    let sealed = sealer.seal(&credential(&key), b"token").await.expect("seals");
    let next = Context { generation: Some(43), ..credential(&key) };
    refused(sealer.open(&next, &sealed).await, ErrorKind::CorruptRecord, "tampered or moved");
}

/// Polled once, with a store that would be asked if the key were not in memory.
#[tokio::test]
async fn opening_with_the_data_key_in_memory_neither_waits_nor_asks_the_store() {
    let (sealer, store) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    let context = credential(&key);
    let sealed = sealer.seal(&context, b"token").await.expect("seals");
    let reads = store.reads();
    let mut context_of_task = std::task::Context::from_waker(Waker::noop());
    let Poll::Ready(opened) = pin!(sealer.open(&context, &sealed)).poll(&mut context_of_task) else {
        panic!("it waits")
    };
    assert_eq!(opened.expect("opens").expose_secret(), b"token");
    assert_eq!(store.reads(), reads);
}

/// Counts, and lets others run before it answers, as a key service would.
#[derive(Debug)]
struct SlowKek {
    inner: Arc<dyn Kek>,
    unwraps: Arc<AtomicUsize>,
}

#[async_trait]
impl Kek for SlowKek {
    fn id(&self) -> &str {
        self.inner.id()
    }
    async fn wrap(&self, key: &SecretBytes, context: &[u8]) -> Result<Vec<u8>, KekError> {
        self.inner.wrap(key, context).await
    }
    async fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretBytes, KekError> {
        self.unwraps.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.inner.unwrap(wrapped, context).await
    }
}

#[tokio::test]
async fn a_key_service_is_asked_once_per_data_key() {
    let (sealer, store) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    let sealed = sealer.seal(&credential(&key), b"token").await.expect("seals");

    let unwraps = Arc::new(AtomicUsize::new(0));
    let slow = SlowKek { inner: raw_kek("k1", 1), unwraps: Arc::clone(&unwraps) };
    let fresh = start(KeyRing::new(Arc::new(slow)), &store).await.expect("the same key");
    let after_start = unwraps.load(Ordering::Relaxed);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (fresh, key, sealed) = (fresh.clone(), key.clone(), sealed.clone());
        tasks.spawn(async move { fresh.open(&credential(&key), &sealed).await.map(drop) });
    }
    while let Some(opened) = tasks.join_next().await {
        opened.expect("no panic").expect("opens");
    }
    assert_eq!(unwraps.load(Ordering::Relaxed) - after_start, 1);
}

#[derive(Debug)]
struct BrokenKek(KekErrorKind);

#[async_trait]
impl Kek for BrokenKek {
    fn id(&self) -> &'static str {
        "kms"
    }
    async fn wrap(&self, _: &SecretBytes, _: &[u8]) -> Result<Vec<u8>, KekError> {
        Err(KekError::new(self.0, "no answer"))
    }
    async fn unwrap(&self, _: &[u8], _: &[u8]) -> Result<SecretBytes, KekError> {
        Err(KekError::new(self.0, "no answer"))
    }
}

#[tokio::test]
async fn a_key_service_that_is_away_is_retryable_and_one_that_refuses_is_not() {
    for (fault, kind) in [
        (KekErrorKind::Unavailable, ErrorKind::KeyUnavailable),
        (KekErrorKind::RandomUnavailable, ErrorKind::RandomUnavailable),
        (KekErrorKind::Refused, ErrorKind::InvalidConfig),
        (KekErrorKind::Corrupt, ErrorKind::CorruptRecord),
    ] {
        let store = Arc::new(MemoryKeys::default());
        let broken = start(KeyRing::new(Arc::new(BrokenKek(fault))), &store).await;
        refused(broken, kind, "data key of the vault under key \"kms\": no answer");
        assert!(store.records().is_empty());
    }
}

#[tokio::test]
async fn e09_without_randomness_nothing_is_stored() {
    let store = Arc::new(MemoryKeys::default());
    let keys: Arc<dyn KeyStore> = Arc::<MemoryKeys>::clone(&store);
    let failed = Sealer::start(ring("k1", 1), keys, Arc::new(NoEntropy)).await;
    refused(failed, ErrorKind::RandomUnavailable, "random source failed");
    assert!(store.records().is_empty());

    start(ring("k1", 1), &store).await.expect("an empty store");
    let keys: Arc<dyn KeyStore> = Arc::<MemoryKeys>::clone(&store);
    let sealer = Sealer::start(ring("k1", 1), keys, Arc::new(NoEntropy)).await.expect("opens only");
    let key = connection("acme", "alice");
    let failed = sealer.seal(&credential(&key), b"token").await;
    refused(failed, ErrorKind::RandomUnavailable, "random source failed");
    assert_eq!(store.writes(), 1);
}

#[tokio::test]
async fn an_oversized_value_is_the_callers_mistake() {
    let (sealer, _) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    let huge = vec![0; crate::seal::MAX_PLAINTEXT_BYTES + 1];
    let refusal = sealer.seal(&credential(&key), &huge).await;
    refused(refusal, ErrorKind::InvalidInput, "more than 1048576 bytes");
}

#[tokio::test]
async fn each_user_has_a_key_where_asked_for_and_what_is_shared_is_the_tenants() {
    let (sealer, store) = started(ring("k1", 1)).await;
    let sealer = sealer.with_data_key_scope(DataKeyScope::User);
    let alice = connection("acme", "alice");
    let shared = ConnectionKey { owner: Owner::Shared, ..alice.clone() };
    let connector = Context::new(Purpose::Connector, &alice.tenant);
    for context in [credential(&alice), credential(&shared), connector] {
        let sealed = sealer.seal(&context, b"token").await.expect("seals");
        sealer.open(&context, &sealed).await.expect("opens");
    }
    let scopes: Vec<_> = store.records().into_keys().collect();
    let expected =
        [KeyScope::Tenant(tenant("acme")), KeyScope::User(tenant("acme"), user("alice")), KeyScope::Vault];
    assert_eq!(scopes, expected);
}

#[tokio::test]
async fn a_change_of_the_key_scope_loses_nothing() {
    let (sealer, store) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    let by_tenant = sealer.seal(&credential(&key), b"tenant").await.expect("seals");
    let per_user = sealer.with_data_key_scope(DataKeyScope::User);
    let by_user = per_user.seal(&credential(&key), b"user").await.expect("seals");

    for scope in [DataKeyScope::Tenant, DataKeyScope::User] {
        let fresh = start(ring("k1", 1), &store).await.expect("the same key").with_data_key_scope(scope);
        for (sealed, plaintext) in [(&by_tenant, "tenant"), (&by_user, "user")] {
            let opened = fresh.open(&credential(&key), sealed).await.expect("opens");
            assert_eq!(opened.expose_secret(), plaintext.as_bytes());
        }
    }
}

#[tokio::test]
async fn e17_debug_of_a_sealer_with_keys_in_memory_shows_none() {
    let (sealer, _) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    sealer.seal(&credential(&key), b"token").await.expect("seals");
    let shown = format!("{sealer:?} {sealer:#?}");
    assert!(shown.contains("k1") && !shown.contains("1, 2, 3"), "{shown}");
}
