//! Time in ticks. A tick passes only when every process that is not paused waits for something: a process that is slow
//! between two steps is a paused one.
//!
//! What `settle` rests on stands here: a request leaves in the very tick of its marker ([`PROMPT`]), and reaches the
//! provider in fewer than [`REQUEST_LIFETIME`] ticks or never; [`SETTLE`] is no less. The client gives up earlier, after
//! [`HTTP_TIMEOUT`].

use std::time::Duration;

/// The moment that is always now, by the store's clock.
pub(crate) const NOW: i64 = 1_000;
pub(crate) const LEASE: u8 = 3;
pub(crate) const HTTP_TIMEOUT: u8 = 1;
pub(crate) const REQUEST_LIFETIME: u8 = 2;
pub(crate) const PROMPT: u8 = 1;
pub(crate) const SETTLE: u8 = 2;

pub(crate) fn span(ticks: u8) -> Duration {
    Duration::from_millis(ticks.into())
}
