use super::{NoEntropy, raw_kek};
use crate::error::ErrorKind;
use crate::id::DataKeyId;
use crate::seal::key_list::wrap_context;
use crate::seal::{Kek, KekErrorKind, PassphraseKek, RawKek};
use crate::secret::{SecretBytes, SecretString};
use crate::store::KeyScope;

const ID: DataKeyId = DataKeyId::from_bytes([4; 16]);
const FRONT: usize = 29;

fn context(tenant: &str) -> Vec<u8> {
    wrap_context(&KeyScope::Tenant(super::tenant(tenant)), ID)
}

fn data_key() -> SecretBytes {
    SecretBytes::new((0..32).collect())
}

/// As cheap as argon2 allows.
fn passphrase(text: &str) -> PassphraseKek {
    PassphraseKek::new("p1", SecretString::new(text))
        .and_then(|kek| kek.with_cost(8, 1, 1))
        .expect("long enough, within bounds")
}

async fn opens_only_for_its_context(kek: &dyn Kek) {
    let wrapped = kek.wrap(&data_key(), &context("acme")).await.expect("wraps");
    let opened = kek.unwrap(&wrapped, &context("acme")).await.expect("unwraps");
    assert_eq!(opened.expose_secret(), data_key().expose_secret());

    let other_id = wrap_context(&KeyScope::Tenant(super::tenant("acme")), DataKeyId::from_bytes([5; 16]));
    for moved in [context("evil"), wrap_context(&KeyScope::Vault, ID), other_id] {
        let error = kek.unwrap(&wrapped, &moved).await.expect_err("moved");
        assert_eq!(error.kind(), KekErrorKind::Corrupt);
        assert_eq!(error.to_string(), "tampered or moved");
        assert!(!error.is_retryable());
    }
    for len in 0..wrapped.len() {
        let cut = kek.unwrap(&wrapped[..len], &context("acme")).await;
        assert_eq!(cut.expect_err("cut").kind(), KekErrorKind::Corrupt);
    }
    let nonsense = kek.unwrap(&wrapped, b"short").await.expect_err("no context");
    assert_eq!(nonsense.kind(), KekErrorKind::Corrupt);
}

#[tokio::test]
async fn e03_a_wrapped_key_opens_only_for_its_scope_and_id() {
    opens_only_for_its_context(&*raw_kek("k1", 1)).await;
    opens_only_for_its_context(&passphrase("correct horse battery")).await;
}

#[tokio::test]
async fn e05_another_key_of_the_same_id_is_told_apart_from_tampering() {
    let wrapped = raw_kek("k1", 1).wrap(&data_key(), &context("acme")).await.expect("wraps");
    let error = raw_kek("k1", 2).unwrap(&wrapped, &context("acme")).await.expect_err("wrong");
    assert_eq!(error.kind(), KekErrorKind::WrongKey);

    let wrapped =
        passphrase("correct horse battery").wrap(&data_key(), &context("acme")).await.expect("wraps");
    let error =
        passphrase("incorrect horse battery").unwrap(&wrapped, &context("acme")).await.expect_err("wrong");
    assert_eq!(error.kind(), KekErrorKind::WrongKey);
}

#[tokio::test]
async fn e09_a_wrap_without_randomness_fails() {
    let raw = RawKek::new("k1", data_key()).expect("a good key").with_entropy(std::sync::Arc::new(NoEntropy));
    let derived = passphrase("correct horse battery").with_entropy(std::sync::Arc::new(NoEntropy));
    for kek in [&raw as &dyn Kek, &derived] {
        let error = kek.wrap(&data_key(), &context("acme")).await.expect_err("no random bytes");
        assert_eq!(error.kind(), KekErrorKind::RandomUnavailable);
    }
}

#[tokio::test]
async fn e14_stored_argon2_parameters_out_of_bounds_are_refused() {
    let kek = passphrase("correct horse battery");
    let wrapped = kek.wrap(&data_key(), &context("acme")).await.expect("wraps");
    let gib_64 = 64 * 1024 * 1024;
    for (memory, passes, lanes) in [
        (gib_64, 1, 1),
        (u32::MAX, 1, 1),
        (8, 1_000_000, 1),
        (8, 0, 1),
        (8, 1, 0),
        (8, 1, 2),
        (0, 1, 1),
        (256 * 1024, 1, u32::MAX),
    ] {
        let mut edited = wrapped.clone();
        for (at, number) in [(1, memory), (5, passes), (9, lanes)] {
            edited[at..at + 4].copy_from_slice(&u32::to_be_bytes(number));
        }
        let error = kek.unwrap(&edited, &context("acme")).await.expect_err("refused");
        assert_eq!(error.kind(), KekErrorKind::KdfParamsRefused);
        let named = format!("m={memory} KiB, t={passes}, p={lanes}");
        assert!(error.to_string().contains(&named), "{error}");
    }
    super::refused(
        passphrase("correct horse battery").with_cost(gib_64, 1, 1),
        ErrorKind::InvalidConfig,
        "argon2 cost of key \"p1\" is out of bounds",
    );
}

/// One derivation for a process that reads what is there and then writes.
#[tokio::test]
async fn a_passphrase_key_goes_on_with_the_salt_that_it_found() {
    let first = passphrase("correct horse battery");
    let wrapped = first.wrap(&data_key(), &context("acme")).await.expect("wraps");
    let second = passphrase("correct horse battery");
    second.unwrap(&wrapped, &context("acme")).await.expect("unwraps");
    let again = second.wrap(&data_key(), &context("acme")).await.expect("wraps");
    assert_eq!(again[..FRONT], wrapped[..FRONT]);

    // A salt that opened nothing is not adopted.
    let third = passphrase("correct horse battery");
    let mut edited = wrapped.clone();
    edited[FRONT - 1] ^= 1;
    let error = third.unwrap(&edited, &context("acme")).await.expect_err("another salt");
    assert_eq!(error.kind(), KekErrorKind::WrongKey);
    let fresh = third.wrap(&data_key(), &context("acme")).await.expect("wraps");
    assert_ne!(fresh[..FRONT], edited[..FRONT]);
    assert_ne!(fresh[..FRONT], wrapped[..FRONT]);
}

#[tokio::test]
async fn a_passphrase_key_of_another_cost_still_opens_what_it_wrapped() {
    let cheap = passphrase("correct horse battery");
    let wrapped = cheap.wrap(&data_key(), &context("acme")).await.expect("wraps");
    let dearer = passphrase("correct horse battery").with_cost(16, 2, 2).expect("in bounds");
    dearer.unwrap(&wrapped, &context("acme")).await.expect("unwraps");
    let again = dearer.wrap(&data_key(), &context("acme")).await.expect("wraps");
    assert_eq!(again[1..13], [0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 2]);
    cheap.unwrap(&again, &context("acme")).await.expect("unwraps");
}
