//! What the model's world consists of. Small numbers stand for everything: incarnations, generations, fences and
//! attempts are counted, times are ages in ticks.

use vault_core::ReauthReason;
use vault_core::clock::Timestamp;
use vault_core::decide::{self, AfterSuccess};
use vault_core::id::{AttemptId, Incarnation};
use vault_core::store::ConnectionStatus;

use crate::faults::Faults;
use crate::provider::{Provider, Token};
use crate::time::NOW;

/// All of it, between two steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) store: Store,
    pub(crate) provider: Provider,
    pub(crate) processes: Vec<Process>,
    /// Sent, and not yet at the provider.
    pub(crate) requests: Vec<Request>,
    pub(crate) faults: Faults,
    pub(crate) past: Past,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) up: bool,
    pub(crate) record: Option<Record>,
    pub(crate) lease: Lease,
    /// How often a user connected.
    pub(crate) connects: u8,
    /// The newest incarnation that a disconnect removed.
    pub(crate) disconnected: u8,
    /// The incarnation whose revocation is owed to the provider.
    pub(crate) owed: Option<u8>,
}

/// Held while `left` is not zero, by the process that has its fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) fence: u8,
    pub(crate) left: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) incarnation: u8,
    pub(crate) generation: u8,
    pub(crate) parent: Option<u8>,
    pub(crate) token_fence: u8,
    pub(crate) obtained_by: Option<u8>,
    pub(crate) max_fence: u8,
    pub(crate) status: ConnectionStatus,
    pub(crate) attempt: Option<Attempt>,
    pub(crate) current: Token,
    /// Newest last.
    pub(crate) alternates: Vec<Token>,
    pub(crate) promotions: u8,
    pub(crate) doubt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) id: u8,
    pub(crate) fence: u8,
    pub(crate) generation: u8,
    pub(crate) age: u8,
    pub(crate) sends: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Spent {
    pub(crate) incarnation: u8,
    pub(crate) generation: u8,
    pub(crate) attempt: u8,
    pub(crate) fence: u8,
    pub(crate) promotions: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) at: At,
    /// Stopped, without knowing: it neither steps nor renews its lease.
    pub(crate) paused: bool,
    /// The incarnation and generation that it found due.
    pub(crate) goal: (u8, u8),
    /// Of the lease that it believes to hold, or zero.
    pub(crate) fence: u8,
    /// How long that is certainly its own, as far as it knows.
    pub(crate) deadline: u8,
    /// How long ago it wrote its marker, until the gate.
    pub(crate) marker_age: u8,
    /// Nobody has written the record since this process read it: a conditional write would succeed.
    pub(crate) fresh: bool,
    pub(crate) spent: Option<Spent>,
    /// The marker that stood there before its own.
    pub(crate) before: Option<Attempt>,
    /// The refresh token that it is about to send.
    pub(crate) marked: Option<Token>,
    /// Sends in this run.
    pub(crate) sends: u8,
    /// It was stopped between the gate and the send.
    pub(crate) late: bool,
    /// What it put aside while the store was down. Survives a crash.
    pub(crate) spill: Option<(Spent, Token)>,
    /// The record as it was when it was sent; only for a mutation that judges by it.
    pub(crate) sent: Option<Box<Record>>,
}

/// What a process does next. Each is one access to the store or the network, with what is decided on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Down,
    Idle,
    /// Step 3.
    Acquire,
    /// Steps 4 and 5.
    Look,
    /// Step 6.
    Mark,
    /// Step 7.
    Gate,
    /// The gate is shut, or the provider did not spend the token: takes the marker back.
    Unmark,
    /// Step 8.
    Send,
    /// For a reply, for that many ticks.
    Await(u8),
    /// Step 9, read and decide: it has these tokens.
    Keep(Token),
    /// Step 9, write.
    Write(Token, AfterSuccess),
    /// Step 10, read and decide.
    Judge,
    /// Step 10, write.
    Promote,
    /// Step 10, write.
    GiveUp(ReauthReason),
    /// Step 12.
    Release,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Request {
    pub(crate) spent: Spent,
    pub(crate) token: Token,
    pub(crate) age: u8,
    pub(crate) late: bool,
}

/// What happened, where a property needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Past {
    /// Properties that a step violated.
    pub(crate) violated: u16,
    /// The provider spent a token, and whom it told is gone or has stopped listening.
    pub(crate) unheard: bool,
    /// A process that had sent, or was about to, lost its lease without knowing. Told in the modes
    /// where that excuses something.
    pub(crate) lapsed: bool,
    /// By the user, at the provider.
    pub(crate) revoked: bool,
    /// The provider ended the grant because a spent token came again.
    pub(crate) reused: bool,
}

pub(crate) fn incarnation(n: u8) -> Incarnation {
    Incarnation::from_bytes([n; 16])
}

pub(crate) fn attempt_id(n: u8) -> AttemptId {
    AttemptId::from_bytes([n; 16])
}

impl Record {
    pub(crate) fn stored(&self) -> decide::Stored {
        decide::Stored {
            incarnation: incarnation(self.incarnation),
            generation: self.generation.into(),
            parent: self.parent.map(u64::from),
            token_fence: self.token_fence.into(),
            obtained_by: self.obtained_by.map(attempt_id),
            max_fence: self.max_fence.into(),
            status: self.status,
            attempt: self.attempt.map(Attempt::marker),
            alternates: self.alternates.len(),
            promotions: self.promotions.into(),
            doubt: self.doubt,
        }
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        self.alternates.iter().copied().chain([self.current])
    }

    pub(crate) fn is_active(&self) -> bool {
        self.status == ConnectionStatus::Active
    }
}

impl Attempt {
    pub(crate) fn marker(self) -> decide::Attempt {
        decide::Attempt {
            id: attempt_id(self.id),
            fence: self.fence.into(),
            generation: self.generation.into(),
            started_at: Timestamp::from_millis(NOW - i64::from(self.age)),
            sends: self.sends.into(),
        }
    }

    pub(crate) fn of(marker: decide::Attempt) -> Self {
        let small = |n: u64| u8::try_from(n).unwrap_or(u8::MAX);
        Self {
            id: marker.id.as_bytes()[0],
            fence: small(marker.fence),
            generation: small(marker.generation),
            age: u8::try_from(NOW - marker.started_at.as_millis()).unwrap_or(u8::MAX),
            sends: small(marker.sends.into()),
        }
    }
}

impl Spent {
    pub(crate) fn decided(self) -> decide::Spent {
        decide::Spent {
            incarnation: incarnation(self.incarnation),
            generation: self.generation.into(),
            attempt: attempt_id(self.attempt),
            fence: self.fence.into(),
            promotions: self.promotions.into(),
        }
    }
}

impl Process {
    pub(crate) const IDLE: Self = Self {
        at: At::Idle,
        paused: false,
        goal: (0, 0),
        fence: 0,
        deadline: 0,
        marker_age: 0,
        fresh: false,
        spent: None,
        before: None,
        marked: None,
        sends: 0,
        late: false,
        spill: None,
        sent: None,
    };

    pub(crate) fn is_up(&self) -> bool {
        self.at != At::Down
    }

    /// The tokens that it has in memory.
    pub(crate) fn token(&self) -> Option<Token> {
        match self.at {
            At::Keep(token) | At::Write(token, _) => Some(token),
            _ => None,
        }
    }
}

impl State {
    /// Everything of every process is over, though something may be due again.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.store.up
            && self.requests.is_empty()
            && self.processes.iter().all(|process| process.at == At::Idle && process.spill.is_none())
    }

    /// The tokens in the memory of processes, and in what they spilled.
    pub(crate) fn held(&self) -> impl Iterator<Item = Token> + '_ {
        let spilled = |process: &Process| process.spill.map(|(_, token)| token);
        self.processes.iter().flat_map(move |process| process.token().into_iter().chain(spilled(process)))
    }
}
