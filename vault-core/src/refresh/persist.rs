//! Step 9: the provider has issued new tokens, and has perhaps already forgotten the old ones. From here on the only way
//! to lose the grant is to lose these.

use std::time::Duration;

use super::decide::Spent;
use super::driver::Driver;
use super::flight::Landing;
use super::import;
use super::keep::{Issued, Kept, end_orphan};
use super::lease::Held;
use super::merge::{Terms, merged};
use super::read::not_connected;
use super::schedule;
use super::state::At;
use crate::connection::Opened;
use crate::connector::Registered;
use crate::error::Error;
use crate::event::Event;
use crate::oauth::TokenReply;
use crate::provider::spec::OldAccess;
use crate::store::ConnectionStatus;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Tries against a store that says that waiting will not help: about ten minutes, in which somebody may mend it.
const PATIENCE: u32 = 120;

impl Driver {
    /// Writes until it is durable. A store that is down is waited for; the tokens are spilled and published meanwhile,
    /// after the host was told.
    pub(super) async fn persist(
        &self,
        lease: &Held<'_>,
        registered: &Registered,
        at: At,
        spent: Spent,
        reply: TokenReply,
    ) -> Result<Landing, Error> {
        let now = self.core.now();
        let spec = registered.provider.spec();
        let terms = Terms {
            audience: &self.goal.audience,
            now,
            refresh_after: schedule::refresh_after(&self.core, spec, reply.earliest_refresh_at, now),
            old_access_dies: spec.refresh_policy.old_access == OldAccess::Dies,
        };
        let tokens = merged(at.tokens(), &reply, &terms);
        drop(reply);
        // Nothing may fail between the reply and the first write: without random bytes it comes due unspread.
        let due_at = schedule::due_at(&self.core, spec, &tokens, now)
            .unwrap_or_else(|_| tokens.default_access().and_then(|access| access.expires_at));
        let (key, release) = (self.goal.key.clone(), Some(lease.holder()));
        let issued = Issued { key, spent, tokens, due_at, release };
        let kept = self.keep(&issued, at).await?;
        if matches!(kept, Kept::Current { .. } | Kept::Alternate(_)) {
            lease.freed();
        }
        if let Kept::Applied(at) = &kept {
            issued.refreshed(&self.core, at).await?;
        }
        issued.report(&self.core, &kept).await?;
        if matches!(kept, Kept::Orphan(None)) {
            self.publish(Err(not_connected(&self.goal.key)));
            end_orphan(&self.core, registered, &issued).await;
        }
        Ok(self.landing(kept))
    }

    async fn keep(&self, issued: &Issued, at: At) -> Result<Kept, Error> {
        let mut known = Some(at);
        let (mut pause, mut hopeless) = (FIRST_PAUSE, 0);
        let mut spilled = None;
        let kept = loop {
            let error = match issued.try_keep(&self.core, known.take()).await {
                Ok(Some(kept)) => break kept,
                Ok(None) => continue,
                Err(error) => error,
            };
            if spilled.is_none() {
                spilled = Some(import::put(&self.core, issued).await);
                self.announce_pending(issued);
            }
            hopeless += u32::from(!error.is_retryable());
            if hopeless == PATIENCE {
                tracing::error!(%error, "refreshed tokens cannot be stored");
                return Err(error);
            }
            self.core.clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        if let Some(Some(name)) = spilled {
            import::remove(&self.core, &name).await;
        }
        Ok(kept)
    }

    fn landing(&self, kept: Kept) -> Landing {
        match kept {
            Kept::Current { now: at, .. } | Kept::Alternate(at) | Kept::Applied(at) => at.landing(),
            Kept::Superseded(at) | Kept::Orphan(Some(at)) => self.what_is_there(Some(at)),
            Kept::Orphan(None) => Err(not_connected(&self.goal.key)),
        }
    }

    /// Tells the host once, then lets those who wait have the tokens.
    fn announce_pending(&self, issued: &Issued) {
        let generation = issued.spent.generation + 1;
        self.core.report(&Event::PersistPending { key: self.goal.key.clone(), generation });
        let (key, incarnation) = (&self.goal.key, issued.spent.incarnation);
        let opened = Opened::of(key, ConnectionStatus::Active, incarnation, generation, &issued.tokens);
        self.publish(opened.map(Opened::shared));
    }
}
