//! Starting with the right keys and the wrong ones, rotating them, destroying them, and racing for them.

use std::sync::atomic::AtomicBool;

use tokio::sync::Barrier;

use super::*;
use crate::seal::DataKeyScope;

#[tokio::test]
async fn e05_a_wrong_key_refuses_to_start_and_writes_nothing() {
    let (_, store) = started(ring("k1", 1)).await;
    let before = store.records();
    let message = "key \"k1\" is not the key of that id";
    refused(start(ring("k1", 2), &store).await, ErrorKind::InvalidConfig, message);
    let newer = KeyRing::new(raw_kek("k2", 3)).with_decrypt_only(raw_kek("k1", 2));
    refused(start(newer, &store).await, ErrorKind::InvalidConfig, message);
    assert_eq!(store.records(), before);
}

#[tokio::test]
async fn e06_an_unknown_key_id_refuses_to_start_and_writes_nothing() {
    let (_, store) = started(ring("k1", 1)).await;
    let before = store.records();
    let refusal = start(ring("k2", 2), &store).await.expect_err("k1 is missing");
    assert_eq!(*refusal.kind(), ErrorKind::KeyUnavailable);
    assert!(refusal.is_retryable());
    assert!(refusal.to_string().contains("not in the key ring: \"k1\""), "{refusal}");
    assert_eq!(store.records(), before);
}

#[tokio::test]
async fn e07_two_keys_of_one_id_refuse_to_start() {
    let store = Arc::new(MemoryKeys::default());
    let doubled = ring("k1", 1).with_decrypt_only(raw_kek("k1", 2));
    let message = "two keys of the key ring have the id \"k1\"";
    refused(start(doubled, &store).await, ErrorKind::InvalidConfig, message);
    assert!(store.records().is_empty());
}

#[tokio::test]
async fn e06_data_under_a_key_that_left_the_ring_is_unavailable_until_it_returns() {
    let (sealer, store) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    let sealed = sealer.seal(&credential(&key), b"token").await.expect("seals");
    let both = || KeyRing::new(raw_kek("k2", 2)).with_decrypt_only(raw_kek("k1", 1));
    start(both(), &store).await.expect("promoted");

    let without = start(ring("k2", 2), &store).await.expect("the canary knows k2");
    let before = store.records();
    let message = "data keys of tenant acme need a key that is not in the key ring: \"k1\"";
    refused(without.open(&credential(&key), &sealed).await, ErrorKind::KeyUnavailable, message);
    refused(without.seal(&credential(&key), b"new").await, ErrorKind::KeyUnavailable, message);
    assert_eq!(store.records(), before);

    let with = start(both(), &store).await.expect("both keys");
    with.open(&credential(&key), &sealed).await.expect("opens");
}

#[tokio::test]
async fn e05_the_canary_checks_a_promoted_key_as_well() {
    let (_, store) = started(ring("k1", 1)).await;
    let promoted = |seed| KeyRing::new(raw_kek("k2", seed)).with_decrypt_only(raw_kek("k1", 1));
    start(promoted(2), &store).await.expect("promoted");
    let before = store.records();
    let message = "key \"k2\" is not the key of that id";
    refused(start(promoted(3), &store).await, ErrorKind::InvalidConfig, message);
    start(promoted(2), &store).await.expect("the right one");
    assert_eq!(store.records(), before);
}

#[tokio::test]
async fn e03_data_keys_do_not_open_for_another_scope() {
    let (sealer, store) = started(ring("k1", 1)).await;
    let (acme, evil) = (connection("acme", "alice"), connection("evil", "alice"));
    let sealed = sealer.seal(&credential(&acme), b"token").await.expect("seals");
    sealer.seal(&credential(&evil), b"own").await.expect("seals");
    let scope = |id: &str| KeyScope::Tenant(tenant(id));
    let records = store.records();
    for (from, to) in [("acme", "evil"), ("evil", "acme")] {
        store.set(KeyRecord { scope: scope(to), ..records[&scope(from)].clone() });
    }
    let fresh = start(ring("k1", 1), &store).await.expect("the canary is whole");
    let message = "data key of tenant evil under key \"k1\": tampered or moved";
    refused(fresh.open(&credential(&evil), &sealed).await, ErrorKind::CorruptRecord, message);
    refused(fresh.seal(&credential(&evil), b"new").await, ErrorKind::CorruptRecord, message);
}

#[tokio::test]
async fn e01_a_damaged_list_of_data_keys_is_an_error() {
    let (sealer, store) = started(ring("k1", 1)).await;
    let key = connection("acme", "alice");
    let sealed = sealer.seal(&credential(&key), b"token").await.expect("seals");
    let scope = KeyScope::Tenant(tenant("acme"));
    let record = store.records()[&scope].clone();
    let context = credential(&key);
    let damaged = |wrapped: Vec<u8>| {
        sealer.forget(&scope);
        store.set(KeyRecord { wrapped, ..record.clone() });
        sealer.open(&context, &sealed)
    };
    for len in 0..record.wrapped.len() {
        refused(damaged(record.wrapped[..len].to_vec()).await, ErrorKind::CorruptRecord, "tenant acme");
    }
    for bit in 0..record.wrapped.len() * 8 {
        let mut wrapped = record.wrapped.clone();
        wrapped[bit / 8] ^= 1 << (bit % 8);
        match damaged(wrapped).await {
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::CorruptRecord | ErrorKind::KeyUnavailable),
                "{error}"
            ),
            // Whether a key is active is not part of opening.
            Ok(opened) => assert_eq!(opened.expose_secret(), b"token"),
        }
    }
    let mut newer = record.wrapped.clone();
    newer[0] = 9;
    refused(damaged(newer).await, ErrorKind::CorruptRecord, "data keys of tenant acme: unsupported format 9");
    let longer = [&record.wrapped[..], &[0]].concat();
    refused(damaged(longer).await, ErrorKind::CorruptRecord, "malformed");
    refused(damaged(vec![1, 0]).await, ErrorKind::CorruptRecord, "malformed");
    damaged(record.wrapped.clone()).await.expect("mended");
}

#[tokio::test]
async fn e19_what_a_destroyed_key_sealed_is_gone_for_good() {
    for (policy, scope) in [
        (DataKeyScope::Tenant, KeyScope::Tenant(tenant("acme"))),
        (DataKeyScope::User, KeyScope::User(tenant("acme"), user("alice"))),
    ] {
        let (sealer, store) = started(ring("k1", 1)).await;
        let sealer = sealer.with_data_key_scope(policy);
        let key = connection("acme", "alice");
        let shared = ConnectionKey { owner: Owner::Shared, ..key.clone() };
        sealer.seal(&credential(&shared), b"others").await.expect("seals");
        let sealed = sealer.seal(&credential(&key), b"token").await.expect("seals");
        assert!(store.delete(&scope).await.expect("a store in memory"));
        sealer.forget(&scope);
        refused(sealer.open(&credential(&key), &sealed).await, ErrorKind::Shredded, "were destroyed");

        // A reconnect makes a new key, which does not bring the old bytes back.
        let again = sealer.seal(&credential(&key), b"again").await.expect("seals");
        sealer.open(&credential(&key), &again).await.expect("opens");
        refused(
            sealer.open(&credential(&key), &sealed).await,
            ErrorKind::CorruptRecord,
            "it was destroyed, or the record was moved here",
        );
    }
}

/// The first two readers of an absent record go on together, as two processes may.
#[derive(Debug)]
struct Racing {
    inner: Arc<MemoryKeys>,
    both: Barrier,
    armed: AtomicBool,
}

#[async_trait]
impl KeyStore for Racing {
    async fn get(&self, scope: &KeyScope) -> Result<Option<KeyRecord>, StoreError> {
        let found = self.inner.get(scope).await?;
        if found.is_none() && self.armed.load(Ordering::Relaxed) {
            self.both.wait().await;
        }
        Ok(found)
    }
    async fn put(&self, record: &KeyRecord, condition: Condition) -> Result<Put, StoreError> {
        self.inner.put(record, condition).await
    }
    async fn delete(&self, scope: &KeyScope) -> Result<bool, StoreError> {
        self.inner.delete(scope).await
    }
    async fn list(&self, page: &Page) -> Result<Paged<KeyRecord>, StoreError> {
        self.inner.list(page).await
    }
}

#[tokio::test]
async fn two_processes_that_need_the_first_data_key_at_once_agree_on_one() {
    let inner = Arc::new(MemoryKeys::default());
    let store =
        Arc::new(Racing { inner: Arc::clone(&inner), both: Barrier::new(2), armed: AtomicBool::new(true) });
    let process = || Sealer::start(ring("k1", 1), Arc::<Racing>::clone(&store), Arc::new(SystemEntropy));
    let (one, two) = tokio::join!(process(), process());
    let (one, two) = (one.expect("starts"), two.expect("starts"));
    assert_eq!(inner.writes(), 1, "one canary");

    let key = connection("acme", "alice");
    let context = credential(&key);
    let (by_one, by_two) = tokio::join!(one.seal(&context, b"one"), two.seal(&context, b"two"));
    let (by_one, by_two) = (by_one.expect("seals"), by_two.expect("seals"));
    assert_eq!(inner.writes(), 2, "and one data key");
    assert_eq!(by_one[5..21], by_two[5..21]);
    assert_eq!(one.open(&context, &by_two).await.expect("opens").expose_secret(), b"two");
    assert_eq!(two.open(&context, &by_one).await.expect("opens").expose_secret(), b"one");
}
