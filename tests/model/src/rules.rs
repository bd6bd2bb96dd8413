//! The decisions that the modelled processes take: production's, or mutations of them.

use std::time::Duration;

use vault_core::ReauthReason;
use vault_core::clock::Timestamp;
use vault_core::decide::{self, AfterRefusal, AfterSuccess, Attempt, BeforeSend, Spent, Stored};
use vault_core::id::{AttemptId, Incarnation};

/// One function for each decision.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "mutations replace one field")]
pub struct Rules {
    /// Steps 4 and 5.
    pub before_send: fn((Incarnation, u64), Option<&Stored>, Duration, Timestamp) -> BeforeSend,
    /// Step 6.
    pub mark: fn(&Stored, AttemptId, u64, Timestamp) -> Option<Attempt>,
    /// Step 7.
    pub may_send: fn(Duration, Duration, Duration, Duration) -> bool,
    /// Step 9.
    pub after_success: fn(&Spent, Option<&Stored>) -> AfterSuccess,
    /// Step 9.
    pub in_doubt: fn(&Spent, &Stored) -> bool,
    /// Step 10.
    pub after_refusal: fn(&Spent, Option<&Stored>, ReauthReason, Duration, Timestamp) -> AfterRefusal,
    /// Step 11.
    pub unmark: fn(&Stored, &Spent, Option<Attempt>) -> Option<Attempt>,
    /// Step 10 reads the record again; otherwise it judges by the record as it was sent.
    pub reads_again: bool,
}

impl Rules {
    /// What the vault does.
    pub const PRODUCTION: Self = Self {
        before_send: decide::before_send,
        mark: decide::mark,
        may_send: decide::may_send,
        after_success: decide::after_success,
        in_doubt: decide::in_doubt,
        after_refusal: decide::after_refusal,
        unmark: decide::unmark,
        reads_again: true,
    };
}
