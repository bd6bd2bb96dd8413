use std::ffi::OsString;
use std::io::Write as _;

use super::refused;
use crate::entropy::SystemEntropy;
use crate::error::ErrorKind::{InvalidConfig, RandomUnavailable};
use crate::seal::{KeyRing, PassphraseKek};
use crate::secret::SecretString;

const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TWO: &str = "/+7dzLuqmYh3ZlVEMyIRAP/u3cy7qpmId2ZVRDMiEQA";

fn ids(ring: &KeyRing) -> Vec<&str> {
    ring.ids().collect()
}

#[test]
fn the_text_form_is_read_with_commas_newlines_and_without_padding() {
    let ring = KeyRing::from_text(&format!("old:{ONE}, *new:{TWO}\n")).expect("a good ring");
    assert_eq!(ids(&ring), ["new", "old"]);
    let ring = KeyRing::from_text(&format!("\n*a.b_c-1:{ONE}\r\n\r\nk2:{TWO}\r\n")).expect("a good ring");
    assert_eq!(ids(&ring), ["a.b_c-1", "k2"]);
    let ring = KeyRing::from_text(&format!("only:{ONE}")).expect("a single key is primary");
    assert_eq!(ring.primary().id(), "only");
}

#[test]
fn e07_two_keys_of_one_id_no_primary_and_two_primaries_are_refused_by_name() {
    let refuse = |text: &str, message| refused(KeyRing::from_text(text), InvalidConfig, message);
    refuse(&format!("*k1:{ONE},k1:{TWO}"), "two keys of the key ring have the id \"k1\"");
    refuse(&format!("k1:{ONE},k2:{TWO}"), "key text marks no primary key with '*': k1, k2");
    refuse(&format!("*k1:{ONE},*k2:{TWO}"), "key text marks two primary keys, \"k1\" and \"k2\"");
}

#[test]
fn e08_a_bad_key_is_refused_by_name_and_never_shown() {
    for (value, message) in [
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", "31 bytes"),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", "33 bytes"),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8!", "not base64"),
        ("", "0 bytes"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "one byte repeated"),
        ("qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=", "one byte repeated"),
    ] {
        let var = KeyRing::from_var("VAULT_KEYS", Some(OsString::from(format!("*k1:{value}"))));
        let error = var.expect_err("a bad key");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(message), "{shown}");
        assert!(error.to_string().starts_with("key \"k1\" in environment variable VAULT_KEYS"));
        assert!(value.is_empty() || !shown.contains(value), "{shown}");
    }
}

#[test]
fn e08_a_key_in_the_place_of_its_id_is_not_shown_either() {
    let swapped = ONE.trim_end_matches('=');
    for text in [format!("{swapped}:k1"), format!("{swapped}:"), ONE.to_owned(), format!("{TWO}:k1")] {
        let error = KeyRing::from_text(&text).expect_err("not an entry");
        assert!(error.to_string().starts_with("entry 1 of key text"), "{error}");
        let shown = format!("{error:?}");
        assert!(!shown.contains(swapped) && !shown.contains(TWO), "{shown}");
    }
}

#[test]
fn l03_a_missing_variable_is_named() {
    refused(
        KeyRing::from_env("VAULT_KEYS_THAT_NOBODY_SETS"),
        InvalidConfig,
        "environment variable VAULT_KEYS_THAT_NOBODY_SETS is not set",
    );
}

#[test]
fn l05_no_key_at_all_is_refused() {
    for text in ["", "\n", " , "] {
        refused(KeyRing::from_text(text), InvalidConfig, "key text holds no key");
    }
}

#[cfg(unix)]
#[test]
fn l04_a_key_file_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    write!(file, "*k1:{ONE}\nk2:{TWO}\n").expect("room for a line");
    let set = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file.path(), mode).expect("our own file");
    };
    for mode in [0o640, 0o604, 0o644, 0o620] {
        set(mode);
        let error = KeyRing::from_file(file.path()).expect_err("open to others");
        assert_eq!(*error.kind(), InvalidConfig);
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
        assert!(error.to_string().contains(&format!("mode {mode:04o}")), "{error}");
    }
    set(0o600);
    let ring = KeyRing::from_file(file.path()).expect("our own file");
    assert_eq!(ids(&ring), ["k1", "k2"]);
    let missing = file.path().with_extension("missing");
    refused(KeyRing::from_file(missing), InvalidConfig, "cannot be read");
}

#[test]
fn e15_a_weak_passphrase_is_refused() {
    for weak in ["", "elevenchars", "            ", "äääääääääääääääää"] {
        let error = KeyRing::from_passphrase("k1", SecretString::new(weak)).expect_err("weak");
        assert_eq!(*error.kind(), InvalidConfig);
        assert!(error.to_string().contains("passphrase of key \"k1\" is weak"), "{error}");
    }
    KeyRing::from_passphrase("k1", SecretString::new("twelve chars")).expect("long enough");
}

#[test]
fn e09_a_generated_key_is_usable_and_needs_randomness() {
    let entry = KeyRing::generate_key("2026-08", &SystemEntropy).expect("random bytes");
    let ring = KeyRing::from_text(entry.expose_secret()).expect("what it made");
    assert_eq!(ring.primary().id(), "2026-08");
    let again = KeyRing::generate_key("2026-08", &SystemEntropy).expect("random bytes");
    assert_ne!(entry.expose_secret(), again.expose_secret());
    refused(KeyRing::generate_key("k", &super::NoEntropy), RandomUnavailable, "random");
    refused(KeyRing::generate_key("a b", &SystemEntropy), InvalidConfig, "key id");
}

#[test]
fn e17_debug_of_keys_shows_ids_only() {
    let ring = KeyRing::from_text(&format!("*k1:{ONE},k2:{TWO}")).expect("a good ring");
    let passphrase = PassphraseKek::new("k3", SecretString::new("canary passphrase")).expect("long enough");
    let shown = format!("{ring:?} {ring:#?} {passphrase:?}");
    for id in ["k1", "k2", "k3"] {
        assert!(shown.contains(id), "{shown}");
    }
    // The first bytes of both keys, as text and as numbers.
    for secret in ["AAEC", "/+7d", "canary", "1, 2, 3", "255, 238"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
