//! Free ports.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::Result;

/// Below the range from which systems give ports to outgoing connections: none of those can take a port while its
/// server is down.
const PORTS: Range<u16> = 12_000..22_000;
/// From a Redis Cluster node's port to that of its bus. Kept free for every port, so that any will do.
const BUS: u16 = 10_000;
const ATTEMPTS: usize = 5;

/// A port that nobody listens on, and that this program has not had before.
pub(crate) fn free() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let random = RandomState::new();
    let ports = (0..2 * PORTS.len())
        .map(|n| PORTS.start + (random.hash_one(n) % u64::from(PORTS.end - PORTS.start)) as u16);
    for port in ports {
        if is_free(port) && is_free(port + BUS) && given.insert(port) {
            return Ok(port);
        }
    }
    Err(format!("no port is free in {PORTS:?}").into())
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Starts a server on a free port; on another when somebody took that one in between.
pub(crate) fn on_a_free_one<T>(mut start: impl FnMut(u16) -> Result<T>) -> Result<T> {
    let mut attempts = 1;
    loop {
        match start(free()?) {
            Err(error) if attempts < ATTEMPTS && error.to_string().contains("Address already in use") => {
                attempts += 1;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_tried_once_and_another_taken() {
        let mut tried = Vec::new();
        let port = on_a_free_one(|port| {
            tried.push(port);
            if tried.len() < 3 { Err("bind: Address already in use".into()) } else { Ok(port) }
        });
        assert_eq!(port.expect("the third one is good"), tried[2]);
        assert_eq!(tried.iter().collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn another_failure_is_not_tried_again() {
        let mut calls = 0;
        let outcome = on_a_free_one(|_| {
            calls += 1;
            Err::<(), _>("no space left".into())
        });
        assert_eq!((outcome.expect_err("it fails").to_string().as_str(), calls), ("no space left", 1));
    }
}
