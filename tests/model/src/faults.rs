//! What can happen, and how often it may go wrong.

/// What happens next, to the process or the request of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the model's own")]
pub enum Action {
    /// A process finds a refresh due.
    Start(usize),
    /// A process does what comes next.
    Step(usize),
    /// A step whose write is applied, and seems to have failed.
    StepUnheard(usize),
    /// A request reaches the provider, and its reply the sender, if that still listens.
    Deliver(usize),
    /// A request reaches the provider, and its reply nobody.
    LoseReply(usize),
    /// A request reaches nobody.
    LoseRequest(usize),
    /// A request whose sender is gone gets lost as well.
    Forget(usize),
    /// A tick that is too long for a client that waits for a reply.
    Delay,
    /// The provider turns a request away.
    Throttle(usize),
    /// A process ends.
    Crash(usize),
    /// It starts again, and brings in what it spilled.
    Restart(usize),
    /// A process stops, unknowing.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// The store stops answering.
    StoreDown,
    /// It answers again.
    StoreUp,
    /// Time passes.
    Tick,
    /// Spent tokens give nothing any more.
    EndLeeway,
    /// An owed revocation reaches the provider.
    Pay,
    /// The user ends the grant at the provider.
    Revoke,
    /// The user disconnects.
    Disconnect,
    /// The user connects, again or over what is there.
    Reconnect,
}

/// How many faults of each kind may still happen, and of all kinds together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "checks name all of them")]
pub struct Faults {
    /// Of all kinds together.
    pub total: u8,
    /// A process ends, and loses all but what it spilled.
    pub crash: u8,
    /// A process stops for any time, and does not know.
    pub pause: u8,
    /// The provider's reply does not arrive.
    pub reply: u8,
    /// A write is applied, and its writer hears that it failed.
    pub write: u8,
    /// The store is down while somebody has new tokens to write.
    pub outage: u8,
    /// The provider turns a request away, the token unspent.
    pub throttle: u8,
    /// The user ends the grant at the provider.
    pub revoke: u8,
    /// The user disconnects.
    pub disconnect: u8,
    /// The user connects again.
    pub reconnect: u8,
}

impl Faults {
    /// How many of this kind are left; `None` for what is no fault.
    pub(crate) fn of(&mut self, action: Action) -> Option<&mut u8> {
        match action {
            Action::Crash(_) => Some(&mut self.crash),
            Action::Pause(_) => Some(&mut self.pause),
            Action::LoseReply(_) | Action::LoseRequest(_) | Action::Delay => Some(&mut self.reply),
            Action::StepUnheard(_) => Some(&mut self.write),
            Action::StoreDown => Some(&mut self.outage),
            Action::Throttle(_) => Some(&mut self.throttle),
            Action::Revoke => Some(&mut self.revoke),
            Action::Disconnect => Some(&mut self.disconnect),
            Action::Reconnect => Some(&mut self.reconnect),
            _ => None,
        }
    }

    /// No total left: none of any kind.
    pub(crate) fn exhaust(&mut self) {
        if self.total == 0 {
            *self = Self::NONE;
        }
    }

    /// At most so many faults, and of a kind no more than the protocol promises to stand.
    #[must_use]
    pub const fn up_to(total: u8) -> Self {
        Self {
            total,
            crash: 2,
            pause: 2,
            reply: 1,
            write: 1,
            outage: 1,
            throttle: 1,
            revoke: 1,
            disconnect: 1,
            reconnect: 1,
        }
    }

    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        total: 0,
        crash: 0,
        pause: 0,
        reply: 0,
        write: 0,
        outage: 0,
        throttle: 0,
        revoke: 0,
        disconnect: 0,
        reconnect: 0,
    };
}
