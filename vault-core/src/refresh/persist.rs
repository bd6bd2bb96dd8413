//! Step 9: the provider has issued new tokens, and has perhaps already forgotten the old ones. From here on the only way
//! to lose the grant is to lose these.

use std::sync::Arc;
use std::time::Duration;

use super::driver::{Driver, into_read, position};
use super::flight::Landing;
use super::judge::{AfterSuccess, after_success};
use super::read::not_connected;
use super::schedule;
use crate::clock::Timestamp;
use crate::connection::{Access, Loaded, Read, Summary, TokenSet};
use crate::error::Error;
use crate::event::Event;
use crate::id::Incarnation;
use crate::oauth::TokenReply;
use crate::provider::spec::Spec;
use crate::store::{Condition, ConnectionRecord, ConnectionStatus, Put, Version};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Driver {
    /// Writes until it is durable. A store that is down is waited for; the tokens are published meanwhile, after the
    /// host was told.
    pub(super) async fn persist(&self, spec: &Spec, loaded: Loaded, reply: TokenReply) -> Landing {
        let spent = (loaded.record.incarnation, loaded.record.generation);
        let now = self.core.now();
        let tokens = merged(&loaded.tokens, &reply, now);
        drop(reply);
        let mut pause = FIRST_PAUSE;
        let mut attempt = Attempt { loaded, written: None };
        loop {
            match self.try_write(spec, &mut attempt, &tokens, spent, now).await {
                Ok(Some(landing)) => return landing,
                Ok(None) => {}
                Err(error) if error.is_retryable() => {
                    self.announce_pending(&attempt, &tokens, spent.1 + 1);
                    self.core.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One try. `None`: somebody else wrote first; look again.
    async fn try_write(
        &self,
        spec: &Spec,
        attempt: &mut Attempt,
        tokens: &TokenSet,
        spent: (Incarnation, u64),
        now: Timestamp,
    ) -> Result<Option<Landing>, Error> {
        if let Some(written) = attempt.written {
            // The last try failed or lost: what is there now decides.
            let current = self.core.load(&self.goal.key).await?;
            if current.as_ref().is_some_and(|current| current.record.version == written) {
                return Ok(current.map(|current| self.stored(current)));
            }
            match (after_success(spent, current.as_ref().map(position)), current) {
                (AfterSuccess::Write, Some(current)) => attempt.loaded = current,
                (AfterSuccess::Superseded, Some(current)) => {
                    return Ok(Some(Ok(Arc::new(into_read(current)))));
                }
                (_, current) => {
                    self.core.report(&Event::OrphanedTokens { key: self.goal.key.clone() });
                    let answer = current.map(|current| Arc::new(into_read(current)));
                    return Ok(Some(answer.ok_or_else(|| not_connected(&self.goal.key))));
                }
            }
        }
        let before = attempt.loaded.record.version;
        let mut record = attempt.loaded.record.clone();
        record.version = Version::random(&*self.core.entropy)?;
        record.generation = spent.1 + 1;
        record.status = ConnectionStatus::Active;
        record.expires_at = tokens.default_access().and_then(|access| access.expires_at);
        record.due_at = schedule::due_at(&self.core, spec, tokens, now)?;
        record.updated_at = now;
        self.core.seal_tokens(&mut record, tokens).await?;
        if changed(&attempt.loaded.tokens, tokens) {
            self.renew_summary(&mut record, tokens).await?;
        }
        attempt.written = Some(record.version);
        match self.core.stores.connections.put(&record, Condition::Version(before), None).await? {
            Put::Written => Ok(Some(self.stored(Loaded { record, tokens: tokens.clone() }))),
            Put::Conflict(_) => Ok(None),
        }
    }

    fn stored(&self, loaded: Loaded) -> Landing {
        let generation = loaded.record.generation;
        self.core.report(&Event::Refreshed { key: self.goal.key.clone(), generation });
        Ok(Arc::new(into_read(loaded)))
    }

    /// Tells the host once, then lets those who wait have the tokens.
    fn announce_pending(&self, attempt: &Attempt, tokens: &TokenSet, generation: u64) {
        if self.is_published() {
            return;
        }
        self.core.report(&Event::PersistPending { key: self.goal.key.clone(), generation });
        self.publish(Ok(Arc::new(Read {
            status: ConnectionStatus::Active,
            incarnation: attempt.loaded.record.incarnation,
            generation,
            tokens: tokens.clone(),
        })));
    }

    /// A summary that does not open stays as it is: it is only what listings show, and no reason to lose tokens.
    async fn renew_summary(&self, record: &mut ConnectionRecord, tokens: &TokenSet) -> Result<(), Error> {
        let before = match self.core.open_summary(&record.key, record.incarnation, &record.summary).await {
            Ok(before) => before,
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a summary does not open");
                return Ok(());
            }
        };
        let scopes = tokens.default_access().map(|access| access.scopes.clone()).unwrap_or_default();
        let summary = Summary { scopes, config: tokens.config.clone(), ..before };
        record.summary = self.core.seal_summary(&record.key, record.incarnation, &summary).await?;
        Ok(())
    }
}

struct Attempt {
    loaded: Loaded,
    /// The version that the last try meant to write: found in the store, that try succeeded after all.
    written: Option<Version>,
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
