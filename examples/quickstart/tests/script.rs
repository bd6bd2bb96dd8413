//! `--script`, and the data folder.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::program::{assert_sealed, assert_unmarked, run};

fn script(folder: &Path) -> String {
    let output = run(folder, &["--script"]);
    let shown = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert_unmarked(&shown);
    shown
}

fn refusal(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn the_second_run_finds_the_database_of_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = script(folder.path());
    for said in [
        "vault.db   made",
        "Register the connector \"calendar\"",
        "alice@example.com",
        "Lunch with Alice Martin",
        "generation 1 -> 2",
        "Revoked",
        "NotConnected",
        "bob@example.com",
        "found      none",
    ] {
        assert!(first.contains(said), "no `{said}` in\n{first}");
    }
    assert_sealed(folder.path(), &[]);

    let second = script(folder.path());
    for said in [
        "vault.db   found",
        "vault.key  found",
        "Find the connector \"calendar\"",
        "Find Bob's connection",
        "needs reauthorization: the provider ended the grant",
        "Bob connects again",
        "found      none",
    ] {
        assert!(second.contains(said), "no `{said}` in\n{second}");
    }
    assert_sealed(folder.path(), &[]);
}

#[cfg(unix)]
#[test]
fn l04_a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    script(folder.path());
    let key = folder.path().join("vault.key");
    let mode = fs::metadata(&key).expect("a key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("our own file");
    assert!(refusal(folder.path(), &["--script"]).contains("vault.key is open to others"));
}

#[test]
fn l05_a_lost_key_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    script(folder.path());
    let key = folder.path().join("vault.key");
    fs::remove_file(&key).expect("our own file");
    assert!(refusal(folder.path(), &["--script"]).contains("vault.key cannot be read"));
    assert!(!key.exists());
}

#[test]
fn a_provider_that_cannot_have_its_port_again_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("an address").port().to_string();
    fs::write(folder.path().join("provider.port"), &port).expect("our own folder");
    assert!(refusal(folder.path(), &["--script"]).contains(&format!("needs its port {port}")));
}

#[test]
fn arguments_that_mean_nothing_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(refusal(folder.path(), &["--scirpt"]).contains("`--scirpt`"));
    assert!(refusal(folder.path(), &["--port", "70000"]).contains("--port needs a number"));
    assert!(refusal(folder.path(), &["--port"]).contains("--port needs a value"));
    assert!(refusal(folder.path(), &["--script", "--port", "1"]).contains("no --port"));
    let help = run(folder.path(), &["--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("--script"));
}
