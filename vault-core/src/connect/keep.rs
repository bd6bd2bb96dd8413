//! A connection's way into the store: where nothing stands, or in the place of what does.

use std::mem;
use std::sync::Arc;

use super::judge::New;
use super::redeem::{cancelled, disconnected};
use super::standing::{Fate, Standing};
use crate::connector::Registered;
use crate::core::Core;
use crate::disconnect::withdraw;
use crate::ending::Grant;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation};
use crate::provider::spec::Spec;
use crate::refresh::schedule;
use crate::revocation;
use crate::store::{
    Condition, ConnectionRecord, ConnectionStatus, Finish, FlowRecord, Put, RevocationRecord, StoreError,
    Version,
};

const TRIES: usize = 8;

/// A connection that is on its way into the store.
pub(super) struct Candidate {
    pub(super) key: ConnectionKey,
    pub(super) new: New,
    /// Drawn before the first write: even one that seems to have failed may have to be taken back.
    incarnation: Option<Incarnation>,
    state: State,
}

enum State {
    Waiting,
    /// A write may have stored it, in another's place or not: nobody knows.
    InDoubt {
        replacing: bool,
    },
    /// Another stands in its place, and may be replaced at this version; the revocation is then owed for it.
    InTheWay(Version, Option<RevocationRecord>),
    Stored,
}

impl Candidate {
    pub(super) const fn new(key: ConnectionKey, new: New) -> Self {
        Self { key, new, incarnation: None, state: State::Waiting }
    }

    /// Writes it where nothing stands. If something does, decides whether that may go, which is for later: it could not
    /// be brought back. An account that is not to replace another goes to a slot of its own.
    pub(super) async fn place(
        &mut self,
        core: &Core,
        registered: &Registered,
        taken: &FlowRecord,
    ) -> Result<(), Error> {
        let incarnation = self.incarnate(core)?;
        for _ in 0..TRIES {
            let record = self.record(core, registered.provider.spec(), taken, incarnation).await?;
            if self.put(core, &record, Condition::Absent, None).await? {
                return Ok(());
            }
            let Some(old) = Standing::load(core, &self.key).await? else { continue };
            match self.fate_of(core, registered, &old).await? {
                Fate::Goes(owed) => {
                    self.state = State::InTheWay(old.version(), owed);
                    return Ok(());
                }
                Fate::Stays(own_slot) => self.key.slot = own_slot,
            }
        }
        Err(contended(&self.key))
    }

    /// Writes it where nothing stands, or in the place of what may go, and ends the flow in the same step. Answers whether
    /// the store can do that.
    ///
    /// # Errors
    /// [`ErrorKind::FlowCancelled`] when the flow is gone: the user has disconnected, and nothing was written.
    pub(super) async fn place_and_finish(
        &mut self,
        core: &Arc<Core>,
        registered: &Registered,
        taken: &FlowRecord,
    ) -> Result<bool, Error> {
        let incarnation = self.incarnate(core)?;
        let (mut condition, mut owed) = (Condition::Absent, None);
        for _ in 0..TRIES {
            let record = self.record(core, registered.provider.spec(), taken, incarnation).await?;
            match core.put_and_finish(&record, condition, owed.as_ref(), taken).await {
                Ok(None) => return Ok(false),
                Ok(Some(Finish::Gone)) => return Err(disconnected()),
                Ok(Some(Finish::Conflict(_))) => {}
                Err(error) => {
                    if !error.wrote_nothing() {
                        self.state = State::InDoubt { replacing: condition != Condition::Absent };
                    }
                    return Err(error.into());
                }
                Ok(Some(Finish::Written)) => {
                    self.state = State::Stored;
                    owed.into_iter().for_each(|owed| revocation::settle_soon(core, owed));
                    return Ok(true);
                }
            }
            (condition, owed) = (Condition::Absent, None);
            if let Some(old) = Standing::load(core, &self.key).await? {
                match self.fate_of(core, registered, &old).await? {
                    Fate::Goes(owes) => (condition, owed) = (Condition::Version(old.version()), owes),
                    Fate::Stays(own_slot) => self.key.slot = own_slot,
                }
            }
        }
        Err(contended(&self.key))
    }

    fn incarnate(&mut self, core: &Core) -> Result<Incarnation, Error> {
        Ok(*self.incarnation.insert(Incarnation::random(&*core.entropy)?))
    }

    /// Whether a write that seemed to fail may have stored it.
    pub(super) const fn may_stand(&self) -> bool {
        matches!(self.state, State::InDoubt { .. })
    }

    /// Whether it may have done so in another's place, which cannot be brought back.
    pub(super) const fn may_replace(&self) -> bool {
        matches!(self.state, State::InDoubt { replacing: true })
    }

    /// Writes it in the place of the other, which goes in the same step; if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::FlowCancelled`] when the other is gone: the user has disconnected.
    pub(super) async fn replace(
        &mut self,
        core: &Arc<Core>,
        registered: &Registered,
        taken: &FlowRecord,
    ) -> Result<(), Error> {
        for _ in 0..TRIES {
            let state = mem::replace(&mut self.state, State::Waiting);
            let (State::InTheWay(version, owed), Some(incarnation)) = (state, self.incarnation) else {
                self.state = State::Stored;
                return Ok(());
            };
            let condition = Condition::Version(version);
            let record = self.record(core, registered.provider.spec(), taken, incarnation).await?;
            if self.put(core, &record, condition, owed.as_ref()).await? {
                if let Some(owed) = owed {
                    revocation::settle_soon(core, owed);
                }
                return Ok(());
            }
            let Some(old) = Standing::load(core, &self.key).await? else {
                return Err(cancelled("the connection to be replaced is gone: disconnected meanwhile"));
            };
            match self.fate_of(core, registered, &old).await? {
                Fate::Goes(owed) => self.state = State::InTheWay(old.version(), owed),
                // Nothing new is written from here on, where no disconnect would see it.
                Fate::Stays(_) => break,
            }
        }
        Err(contended(&self.key))
    }

    /// As it is ended at the provider.
    pub(super) fn grant(&self) -> Grant<'_> {
        Grant::of(&self.new.tokens)
    }

    /// Sees to it that the store does not have it, unless another may have gone for it. Answers whether its revocation is
    /// owed.
    pub(super) async fn take_back(&self, core: &Arc<Core>, disconnected: bool) -> Result<bool, Error> {
        match self.incarnation {
            Some(incarnation) if !self.may_replace() => {
                withdraw(core, &self.key, incarnation, disconnected).await
            }
            _ => Ok(false),
        }
    }

    /// Whether the store has it, after a write that may have failed.
    pub(super) async fn stands(&self, core: &Core) -> Result<bool, StoreError> {
        let found = core.stores.connections.get(&self.key).await?;
        Ok(found.is_some_and(|found| Some(found.incarnation) == self.incarnation))
    }

    /// Whether it was written.
    async fn put(
        &mut self,
        core: &Core,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
    ) -> Result<bool, Error> {
        let is_written = core.put(record, condition, owed).await? == Put::Written;
        if is_written {
            self.state = State::Stored;
        }
        Ok(is_written)
    }

    async fn fate_of(&self, core: &Core, registered: &Registered, old: &Standing) -> Result<Fate, Error> {
        old.fate(core, registered, &self.key, self.new.summary.account.as_ref()).await
    }

    async fn record(
        &self,
        core: &Core,
        spec: &Spec,
        taken: &FlowRecord,
        incarnation: Incarnation,
    ) -> Result<ConnectionRecord, Error> {
        let New { tokens, summary } = &self.new;
        let now = core.now();
        let expires_at = tokens.default_access().and_then(|access| access.expires_at);
        let mut record = ConnectionRecord {
            key: self.key.clone(),
            version: Version::random(&*core.entropy)?,
            incarnation,
            generation: 1,
            status: ConnectionStatus::Active,
            due_at: schedule::due_at(core, spec, tokens, now)?,
            expires_at,
            created_at: now,
            updated_at: now,
            summary: core.seal_summary(&taken.sealed, &self.key, incarnation, summary).await?,
            credential: bytes::Bytes::new(),
            refresh: Vec::new(),
        };
        core.seal_tokens(&taken.sealed, &mut record, tokens).await?;
        Ok(record)
    }
}

fn contended(key: &ConnectionKey) -> Error {
    Error::new(ErrorKind::Contended, format!("{key} kept changing"))
}
