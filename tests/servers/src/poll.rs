//! Waiting for what other processes do.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;

const PAUSE: Duration = Duration::from_millis(10);

/// Tries until there is an answer. An error of `attempt` is a reason to try again, and is told when time is over.
pub(crate) fn until<T>(
    what: &str,
    within: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let failed = match attempt() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => String::new(),
            Err(error) => format!(": {error}"),
        };
        if Instant::now() > deadline {
            return Err(format!("after {} s there is no {what}{failed}", within.as_secs()).into());
        }
        sleep(PAUSE);
    }
}
