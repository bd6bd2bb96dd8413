//! Step 9, one try: where issued tokens belong in the record as it is now, and writing them there.

use super::decide::{AfterSuccess, Spent, after_success, in_doubt};
use super::merge::{changed, keep_alternate};
use super::state::{At, Past};
use crate::clock::Timestamp;
use crate::connection::{Loaded, Summary, TokenSet};
use crate::connector::Registered;
use crate::core::Core;
use crate::ending::{Grant, revoke_unstored};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::ConnectionKey;
use crate::store::{Condition, ConnectionRecord, ConnectionStatus, LeaseHolder, Put, Version};

/// What a provider issued, and all that storing it takes.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) key: ConnectionKey,
    pub(super) spent: Spent,
    pub(super) tokens: TokenSet,
    pub(super) due_at: Option<Timestamp>,
    /// The lease under which they were asked for, if it is still held: the write frees it.
    pub(super) release: Option<LeaseHolder>,
}

/// Where issued tokens ended up.
pub(super) enum Kept {
    /// Current. What was there before may have been marked.
    Current { now: At, healed: bool, sibling: bool },
    /// Kept beside the current ones, which came of the same refresh token.
    Alternate(At),
    /// Already there, by an earlier try.
    Applied(At),
    /// Newer ones are there.
    Superseded(At),
    /// Their connection is gone.
    Orphan(Option<At>),
}

impl Issued {
    /// One try. `known` is the record as last written by us; without it, it is read. `None`: somebody else wrote first.
    pub(super) async fn try_keep(&self, core: &Core, known: Option<At>) -> Result<Option<Kept>, Error> {
        let current = match known {
            Some(at) => Some(at),
            None => core.load(&self.key).await?.map(At::new).transpose()?,
        };
        let stored = current.as_ref().map(At::view);
        let kept = match (after_success(&self.spent, stored.as_ref()), current) {
            (decision @ (AfterSuccess::Next | AfterSuccess::Replace), Some(at)) => {
                self.make_current(core, at, decision == AfterSuccess::Replace).await
            }
            (AfterSuccess::Alternate, Some(at)) => self.make_alternate(core, at).await,
            (AfterSuccess::Applied, Some(at)) => Ok(Some(Kept::Applied(at))),
            (AfterSuccess::Discard, Some(at)) => Ok(Some(Kept::Superseded(at))),
            (_, at) => Ok(Some(Kept::Orphan(at))),
        };
        match kept {
            // The user was erased after it was read.
            Err(error) if *error.kind() == ErrorKind::Shredded && self.is_gone(core).await? => {
                Ok(Some(Kept::Orphan(None)))
            }
            kept => kept,
        }
    }

    async fn is_gone(&self, core: &Core) -> Result<bool, Error> {
        Ok(core.stores.connections.get(&self.key).await?.is_none())
    }

    async fn make_current(&self, core: &Core, at: At, sibling: bool) -> Result<Option<Kept>, Error> {
        let doubt = in_doubt(&self.spent, &at.view());
        let At { loaded, mut state } = at;
        let (mut record, old) = (loaded.record, loaded.tokens);
        let mut tokens = self.tokens.clone();
        if sibling {
            // The marker stays as well: theirs may be under way.
            tokens.alternates.clone_from(&old.alternates);
            keep_alternate(&mut tokens, old.refresh_token.as_deref());
            state.promotions += 1;
        } else {
            state.parent = Some(self.spent.generation);
            record.generation += 1;
            (state.attempt, state.promotions, state.doubt) = (None, 0, doubt);
        }
        let healed = record.status != ConnectionStatus::Active;
        record.status = ConnectionStatus::Active;
        record.expires_at = tokens.default_access().and_then(|access| access.expires_at);
        record.due_at = self.due_at;
        record.updated_at = tokens.refreshed_at;
        let past = Past { generation: record.generation, at: tokens.refreshed_at, fence: self.spent.fence };
        state.remember(past);
        state.token_fence = self.spent.fence;
        state.max_fence = state.max_fence.max(self.spent.fence);
        state.obtained_by = Some(self.spent.attempt);
        (state.failures, state.not_before) = (0, None);
        if changed(&old, &tokens) {
            renew_summary(core, &mut record, &tokens).await?;
        }
        let now = At { loaded: Loaded { record, tokens }, state };
        let written = self.write(core, now).await?;
        Ok(written.map(|now| Kept::Current { now, healed, sibling }))
    }

    /// Theirs came later: ours wait beside them, should theirs turn out to be dead.
    async fn make_alternate(&self, core: &Core, mut at: At) -> Result<Option<Kept>, Error> {
        keep_alternate(&mut at.loaded.tokens, self.tokens.refresh_token.as_deref());
        Ok(self.write(core, at).await?.map(Kept::Alternate))
    }

    /// Seals and writes; `None` when somebody else wrote since `at` was read.
    async fn write(&self, core: &Core, mut at: At) -> Result<Option<At>, Error> {
        let before = at.loaded.record.version;
        at.loaded.record.version = Version::random(&*core.entropy)?;
        at.state.store_in(&mut at.loaded.record)?;
        let Loaded { record, tokens } = &mut at.loaded;
        core.reseal_tokens(record, tokens).await?;
        let put = core.stores.connections.put(record, Condition::Version(before), None, self.release).await?;
        Ok((put == Put::Written).then_some(at))
    }

    /// Tells the host where the tokens ended up.
    pub(super) async fn report(&self, core: &Core, kept: &Kept) -> Result<(), Error> {
        let key = || self.key.clone();
        match kept {
            Kept::Current { now, healed, sibling } => {
                if *healed {
                    core.report(&Event::Healed { key: key() });
                }
                if *sibling {
                    core.report(&Event::SiblingKept { key: key() });
                }
                self.refreshed(core, now).await?;
            }
            Kept::Alternate(_) => core.report(&Event::SiblingKept { key: key() }),
            Kept::Orphan(_) => core.report(&Event::OrphanedTokens { key: key() }),
            Kept::Applied(_) | Kept::Superseded(_) => {}
        }
        Ok(())
    }

    pub(super) async fn refreshed(&self, core: &Core, at: &At) -> Result<(), Error> {
        let generation = at.loaded.record.generation;
        core.audit(Event::Refreshed { key: self.key.clone(), generation }).await
    }
}

/// The user has disconnected meanwhile: what the provider gave since then ends too. Tokens of a connection that was made
/// anew are left to die, for ending them might end the new grant.
pub(super) async fn end_orphan(core: &Core, registered: &Registered, issued: &Issued) {
    revoke_unstored(core, &issued.key, registered, Grant::of(&issued.tokens)).await;
}

/// A summary that does not open stays as it is: it is only what listings show, and no reason to lose tokens.
async fn renew_summary(core: &Core, record: &mut ConnectionRecord, tokens: &TokenSet) -> Result<(), Error> {
    let before = match core.open_summary(&record.key, record.incarnation, &record.summary).await {
        Ok(before) => before,
        Err(error) if error.is_retryable() => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "a summary does not open");
            return Ok(());
        }
    };
    let scopes = tokens.default_access().map(|access| access.scopes.clone()).unwrap_or_default();
    let summary = Summary { scopes, config: tokens.config.clone(), ..before };
    record.summary = core.seal_summary(&record.summary, &record.key, record.incarnation, &summary).await?;
    Ok(())
}
