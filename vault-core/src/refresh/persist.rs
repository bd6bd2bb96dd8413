//! Step 9: the provider has issued new tokens, and has perhaps already forgotten the old ones. From here on the only way
//! to lose the grant is to lose these.

use std::sync::Arc;
use std::time::Duration;

use super::decide::{AfterSuccess, MAX_ALTERNATES, Spent, after_success};
use super::driver::{Driver, into_read};
use super::flight::Landing;
use super::read::not_connected;
use super::schedule;
use super::spill;
use super::state::{At, Past};
use crate::clock::Timestamp;
use crate::connection::{Access, Loaded, Read, Summary, TokenSet};
use crate::connector::Registered;
use crate::core::Core;
use crate::error::Error;
use crate::event::Event;
use crate::id::ConnectionKey;
use crate::oauth::TokenReply;
use crate::provider::spec::GrantConcurrency;
use crate::revocation::revoke_unstored;
use crate::store::{Condition, ConnectionRecord, ConnectionStatus, Put, Version};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a provider issued, and all that storing it takes.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) key: ConnectionKey,
    pub(super) spent: Spent,
    pub(super) tokens: TokenSet,
    pub(super) due_at: Option<Timestamp>,
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

impl Driver {
    /// Writes until it is durable. A store that is down is waited for; the tokens are spilled and published meanwhile,
    /// after the host was told.
    pub(super) async fn persist(
        &self,
        registered: &Registered,
        at: At,
        spent: Spent,
        reply: TokenReply,
    ) -> Result<Landing, Error> {
        let now = self.core.now();
        let tokens = merged(at.tokens(), &reply, now);
        drop(reply);
        // Nothing may fail between the reply and the first write: without random bytes it comes due unspread.
        let due_at = schedule::due_at(&self.core, registered.provider.spec(), &tokens, now)
            .unwrap_or_else(|_| tokens.default_access().and_then(|access| access.expires_at));
        let issued = Issued { key: self.goal.key.clone(), spent, tokens, due_at };
        let mut known = Some(at);
        let mut pause = FIRST_PAUSE;
        let (mut spilled, mut announced) = (None, false);
        let kept = loop {
            match issued.try_keep(&self.core, known.take()).await {
                Ok(Some(kept)) => break Ok(kept),
                Ok(None) => {}
                Err(error) => {
                    if spilled.is_none() {
                        spilled = Some(spill::put(&self.core, &issued).await);
                    }
                    if !error.is_retryable() {
                        tracing::error!(%error, "refreshed tokens cannot be stored");
                        break Err(error);
                    }
                    if !announced {
                        announced = true;
                        self.announce_pending(&issued);
                    }
                    self.core.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        if let (Ok(_), Some(Some(name))) = (&kept, spilled) {
            spill::remove(&self.core, &name).await;
        }
        let kept = kept?;
        if let Kept::Applied(at) = &kept {
            issued.refreshed(&self.core, at).await?;
        }
        issued.report(&self.core, &kept).await?;
        if matches!(kept, Kept::Orphan(None)) {
            self.publish(Err(not_connected(&self.goal.key)));
            self.end_orphan(registered, &issued).await;
        }
        Ok(self.landing(kept))
    }

    fn landing(&self, kept: Kept) -> Landing {
        match kept {
            Kept::Current { now: at, .. } | Kept::Alternate(at) | Kept::Applied(at) => {
                Ok(Arc::new(into_read(at.loaded)))
            }
            Kept::Superseded(at) | Kept::Orphan(Some(at)) => self.what_is_there(Some(at)),
            Kept::Orphan(None) => Err(not_connected(&self.goal.key)),
        }
    }

    /// The user has disconnected meanwhile: what the provider gave since then ends too. Tokens of a connection that was
    /// made anew are left to die, for ending them might end the new grant.
    async fn end_orphan(&self, registered: &Registered, issued: &Issued) {
        if registered.provider.spec().grants.concurrency != GrantConcurrency::Shared {
            revoke_unstored(&self.core, &issued.key, registered, &issued.tokens).await;
        }
    }

    /// Tells the host once, then lets those who wait have the tokens.
    fn announce_pending(&self, issued: &Issued) {
        let generation = issued.spent.generation + 1;
        self.core.report(&Event::PersistPending { key: self.goal.key.clone(), generation });
        self.publish(Ok(Arc::new(Read {
            status: ConnectionStatus::Active,
            incarnation: issued.spent.incarnation,
            generation,
            tokens: issued.tokens.clone(),
        })));
    }
}

impl Issued {
    /// One try. `known` is the record as last written by us; without it, it is read. `None`: somebody else wrote first.
    pub(super) async fn try_keep(&self, core: &Core, known: Option<At>) -> Result<Option<Kept>, Error> {
        let current = match known {
            Some(at) => Some(at),
            None => core.load(&self.key).await?.map(At::new).transpose()?,
        };
        let stored = current.as_ref().map(At::view);
        match (after_success(&self.spent, stored.as_ref()), current) {
            (decision @ (AfterSuccess::Next | AfterSuccess::Replace), Some(at)) => {
                self.make_current(core, at, decision == AfterSuccess::Replace).await
            }
            (AfterSuccess::Alternate, Some(at)) => self.make_alternate(core, at).await,
            (AfterSuccess::Applied, Some(at)) => Ok(Some(Kept::Applied(at))),
            (AfterSuccess::Discard, Some(at)) => Ok(Some(Kept::Superseded(at))),
            (_, at) => Ok(Some(Kept::Orphan(at))),
        }
    }

    async fn make_current(&self, core: &Core, at: At, sibling: bool) -> Result<Option<Kept>, Error> {
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
            (state.attempt, state.promotions) = (None, 0);
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
        let written = write(core, now).await?;
        Ok(written.map(|now| Kept::Current { now, healed, sibling }))
    }

    /// Theirs came later: ours wait beside them, should theirs turn out to be dead.
    async fn make_alternate(&self, core: &Core, mut at: At) -> Result<Option<Kept>, Error> {
        keep_alternate(&mut at.loaded.tokens, self.tokens.refresh_token.as_deref());
        Ok(write(core, at).await?.map(Kept::Alternate))
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

    async fn refreshed(&self, core: &Core, at: &At) -> Result<(), Error> {
        let generation = at.loaded.record.generation;
        core.audit(Event::Refreshed { key: self.key.clone(), generation }).await
    }
}

/// Seals and writes; `None` when somebody else wrote since `at` was read.
async fn write(core: &Core, mut at: At) -> Result<Option<At>, Error> {
    let before = at.loaded.record.version;
    at.loaded.record.version = Version::random(&*core.entropy)?;
    at.state.store_in(&mut at.loaded.record)?;
    let Loaded { record, tokens } = &mut at.loaded;
    core.seal_tokens(record, tokens).await?;
    let put = core.stores.connections.put(record, Condition::Version(before), None, None).await?;
    Ok((put == Put::Written).then_some(at))
}

/// The newest is last. Beyond the limit the oldest goes.
fn keep_alternate(tokens: &mut TokenSet, refresh_token: Option<&str>) {
    let Some(refresh_token) = refresh_token else { return };
    let known = tokens.refresh_token.as_deref() == Some(refresh_token)
        || tokens.alternates.iter().any(|alternate| alternate == refresh_token);
    if known {
        return;
    }
    if tokens.alternates.len() == MAX_ALTERNATES {
        zeroize::Zeroize::zeroize(&mut tokens.alternates.remove(0));
    }
    tokens.alternates.push(refresh_token.to_owned());
}

/// The new token set: what the reply does not say stays (RFC 6749 section 6).
fn merged(old: &TokenSet, reply: &TokenReply, now: Timestamp) -> TokenSet {
    let mut tokens = old.clone();
    let scopes = reply.scopes.clone().or_else(|| old.default_access().map(|access| access.scopes.clone()));
    tokens.access = vec![Access {
        audience: String::new(),
        token: reply.access_token.expose_secret().to_owned(),
        expires_at: reply.expires_at,
        scopes: scopes.unwrap_or_default(),
    }];
    if let Some(refresh_token) = &reply.refresh_token {
        tokens.refresh_token = Some(refresh_token.expose_secret().to_owned());
        tokens.refresh_expires_at = reply.refresh_expires_at;
    }
    tokens.refresh_expires_at = reply.refresh_expires_at.or(tokens.refresh_expires_at);
    tokens.earliest_refresh_at = reply.earliest_refresh_at;
    tokens.refreshed_at = now;
    tokens.alternates.clear();
    for (name, value) in &reply.config {
        tokens.config.retain(|(other, _)| other != name);
        tokens.config.push((name.clone(), value.clone()));
    }
    for (name, secret) in &reply.secrets {
        tokens.secrets.retain(|(other, _)| other != name);
        tokens.secrets.push((name.clone(), secret.expose_secret().to_owned()));
    }
    tokens
}

fn changed(old: &TokenSet, new: &TokenSet) -> bool {
    let scopes = |tokens: &TokenSet| tokens.default_access().map(|access| access.scopes.clone());
    old.config != new.config || scopes(old) != scopes(new)
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
    record.summary = core.seal_summary(&record.key, record.incarnation, &summary).await?;
    Ok(())
}
