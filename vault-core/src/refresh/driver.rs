use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::flight::{Goal, Landing};
use super::judge::{AfterRefusal, BeforeSend, Position, after_refusal, before_send};
use super::read::{lives_beyond, needs_reauthorization, not_connected};
use super::schedule;
use crate::connect::origin;
use crate::connection::{Loaded, Read, set_status};
use crate::core::Core;
use crate::error::{Error, ErrorKind, ReauthReason};
use crate::event::Event;
use crate::id::AttemptId;
use crate::oauth::{Failure, FailureClass, RefreshRequest, TokenReply};
use crate::provider::spec::Spec;
use crate::secret::SecretString;
use crate::store::{Condition, ConnectionRecord, ConnectionStatus, Lease, LeaseAcquire, Put, Version};

/// How often a waiting driver looks whether the holder of the lease is done.
const POLL: Duration = Duration::from_millis(200);

/// Steps 3 to 12, in a task of its own: whoever stops waiting, this goes on.
pub(super) struct Driver {
    pub(super) core: Arc<Core>,
    pub(super) goal: Goal,
    publish: watch::Sender<Option<Landing>>,
}

impl Driver {
    pub(super) const fn new(core: Arc<Core>, goal: Goal, publish: watch::Sender<Option<Landing>>) -> Self {
        Self { core, goal, publish }
    }

    #[tracing::instrument(name = "vault.refresh", skip_all, fields(connector = %self.goal.key.connector))]
    pub(super) async fn run(&self) -> Landing {
        let landing = self.drive().await;
        // Those two have events of their own, from where it was decided.
        let told = |kind| matches!(kind, &ErrorKind::NeedsReauthorization { .. } | &ErrorKind::NotConnected);
        if let Err(error) = &landing
            && !told(error.kind())
        {
            let kind = error.kind().clone();
            self.core.report(&Event::RefreshFailed { key: self.goal.key.clone(), kind });
        }
        landing
    }

    /// Step 12. The first answer counts.
    pub(super) fn publish(&self, landing: Landing) {
        self.publish.send_if_modified(|published| {
            let first = published.is_none();
            published.get_or_insert(landing);
            first
        });
    }

    pub(super) fn is_published(&self) -> bool {
        self.publish.borrow().is_some()
    }

    async fn drive(&self) -> Landing {
        let holder = AttemptId::random(&*self.core.entropy)?;
        let lease = match self.acquire(holder).await? {
            Ok(lease) => lease,
            Err(landing) => return landing,
        };
        let renewals = async {
            loop {
                self.core.clock.sleep(self.core.settings.lease_ttl / 4).await;
                self.renew(holder, lease).await;
            }
        };
        let landing = tokio::select! {
            biased;
            landing = self.refresh() => landing,
            () = renewals => unreachable!("renewing never ends by itself"),
        };
        // A lease that cannot be released lapses.
        let released = self.core.stores.connections.release_lease(&self.goal.key, holder, lease.fence).await;
        if let Err(error) = released {
            tracing::debug!(%error, "lease not released");
        }
        landing
    }

    /// Step 3: the lease, or the answer that another process's refresh gave.
    async fn acquire(&self, holder: AttemptId) -> Result<Result<Lease, Landing>, Error> {
        let Core { stores, clock, settings, .. } = &*self.core;
        let deadline = clock.monotonic() + 2 * settings.lease_ttl;
        loop {
            match stores.connections.acquire_lease(&self.goal.key, holder, settings.lease_ttl).await? {
                LeaseAcquire::Acquired(lease) => return Ok(Ok(lease)),
                LeaseAcquire::Absent => return Ok(Err(Err(not_connected(&self.goal.key)))),
                LeaseAcquire::Held { .. } if clock.monotonic() >= deadline => {
                    let message = format!("{}: another process is refreshing it", self.goal.key);
                    return Ok(Err(Err(Error::new(ErrorKind::RefreshInProgress, message))));
                }
                LeaseAcquire::Held { remaining } => {
                    let wait = schedule::jittered(&*self.core.entropy, POLL)?.min(remaining.max(POLL / 10));
                    clock.sleep(wait).await;
                    let loaded = self.core.load(&self.goal.key).await?;
                    if let Some(landing) = self.settled(loaded).1 {
                        return Ok(Err(landing));
                    }
                }
            }
        }
    }

    async fn renew(&self, holder: AttemptId, lease: Lease) {
        let ttl = self.core.settings.lease_ttl;
        match self.core.stores.connections.renew_lease(&self.goal.key, holder, lease.fence, ttl).await {
            Ok(true) => {}
            // A lost lease is no reason to drop what the provider may already have answered.
            Ok(false) => tracing::warn!("the refresh lease was lost"),
            Err(error) => tracing::warn!(%error, "the refresh lease was not renewed"),
        }
    }

    /// Steps 4 to 11, under the lease.
    async fn refresh(&self) -> Landing {
        let loaded = match self.settled(self.core.load(&self.goal.key).await?) {
            (_, Some(landing)) => return landing,
            (Some(loaded), None) => loaded,
            (None, None) => return Err(not_connected(&self.goal.key)),
        };
        let Some(refresh_token) = loaded.tokens.refresh_token.as_deref().map(SecretString::new) else {
            return self.without_refresh_token(loaded).await;
        };
        let registered = self.core.registered(&self.goal.key.tenant, &self.goal.key.connector).await?;
        registered.registration.check_owner(&self.goal.key.owner)?;
        let config: BTreeMap<String, String> = loaded.tokens.config.iter().cloned().collect();
        let endpoints = registered.endpoints(&self.core, &config).await?;
        self.check_grant(&loaded, &registered.registration.client_id, &origin(endpoints.refresh_or_token()))?;
        // Steps 5 to 7, the attempt marker, the settle wait and the send gate, belong here.
        let client = registered.client(&self.core, &endpoints);
        let scopes = loaded.tokens.default_access().map_or(&[][..], |access| &access.scopes);
        let request = RefreshRequest {
            token: Some(&refresh_token),
            scopes,
            redirect_uri: &registered.registration.redirect_uri,
            config: &config,
        };
        match client.refresh(&request).await {
            Ok(reply) => {
                self.check_account(registered.provider.spec(), &loaded, &reply)?;
                self.persist(registered.provider.spec(), loaded, reply).await
            }
            Err(failure) => self.failed(loaded, failure).await,
        }
    }

    /// Step 4, and every later look at the record: the answer, where the record already gives one.
    pub(super) fn settled(&self, loaded: Option<Loaded>) -> (Option<Loaded>, Option<Landing>) {
        let observed = (self.goal.incarnation, self.goal.generation);
        match before_send(observed, loaded.as_ref().map(position)) {
            BeforeSend::Send => (loaded, None),
            BeforeSend::Gone => (None, Some(Err(not_connected(&self.goal.key)))),
            BeforeSend::Marked(reason) => (None, Some(Err(needs_reauthorization(&self.goal.key, reason)))),
            BeforeSend::AlreadyMoved => (None, loaded.map(|loaded| Ok(Arc::new(into_read(loaded))))),
        }
    }

    /// Refresh tokens go to the origin that issued them, for the client that they were issued to, or nowhere.
    fn check_grant(&self, loaded: &Loaded, client_id: &str, origin: &str) -> Result<(), Error> {
        let grant = &loaded.tokens.grant;
        if grant.token_origin != origin {
            let message = format!(
                "{}: the token endpoint moved from {} to {origin}",
                self.goal.key, grant.token_origin
            );
            return Err(Error::new(ErrorKind::EndpointRefused, message));
        }
        if grant.client_id != client_id {
            let message = format!("{}: it was connected through another OAuth client", self.goal.key);
            return Err(Error::new(ErrorKind::ProviderMisconfigured, message));
        }
        Ok(())
    }

    /// A refresh that answers for somebody else is not stored, whatever the provider meant by it.
    fn check_account(&self, spec: &Spec, loaded: &Loaded, reply: &TokenReply) -> Result<(), Error> {
        match (&loaded.tokens.grant.account, reply.account_id(spec)) {
            (Some(before), Some(now)) if *before != now => {
                let message = format!("{}: the provider answered for another account", self.goal.key);
                Err(Error::new(ErrorKind::AccountMismatch, message))
            }
            _ => Ok(()),
        }
    }

    async fn without_refresh_token(&self, loaded: Loaded) -> Landing {
        if !self.goal.rejected && lives_beyond(&loaded.tokens, self.core.now()) {
            return Ok(Arc::new(into_read(loaded)));
        }
        self.mark(loaded, ReauthReason::NoRefreshToken).await
    }

    /// Steps 10 and 11.
    async fn failed(&self, loaded: Loaded, failure: Failure) -> Landing {
        match failure.class {
            FailureClass::InvalidGrant => return self.refused(ReauthReason::GrantRevoked).await,
            FailureClass::InteractionRequired => {
                return self.refused(ReauthReason::InteractionRequired).await;
            }
            FailureClass::ClientMisconfigured
            | FailureClass::Indeterminate
            | FailureClass::NotSent
            | FailureClass::Throttled(_) => {}
        }
        // An outage may name a wait as well as throttling does.
        back_off(&self.core, loaded.record, failure.error.retry_after()).await;
        Err(failure.error)
    }

    /// Step 10: a refusal counts only if the refused token is still the stored one.
    async fn refused(&self, reason: ReauthReason) -> Landing {
        let spent = (self.goal.incarnation, self.goal.generation);
        let loaded = self.core.load(&self.goal.key).await?;
        match (after_refusal(spent, loaded.as_ref().map(position)), loaded) {
            (AfterRefusal::Mark, Some(loaded)) => self.mark(loaded, reason).await,
            (AfterRefusal::Moved, Some(loaded)) => {
                self.settled(Some(loaded)).1.unwrap_or_else(|| Err(not_connected(&self.goal.key)))
            }
            _ => Err(not_connected(&self.goal.key)),
        }
    }

    async fn mark(&self, mut loaded: Loaded, reason: ReauthReason) -> Landing {
        let before = loaded.record.version;
        set_status(&mut loaded.record, ConnectionStatus::NeedsReauthorization(reason))?;
        loaded.record.version = Version::random(&*self.core.entropy)?;
        loaded.record.due_at = None;
        loaded.record.updated_at = self.core.now();
        match self.core.put(&loaded.record, Condition::Version(before), None).await? {
            Put::Written => {
                self.core.report(&Event::NeedsReauthorization { key: self.goal.key.clone(), reason });
                Err(needs_reauthorization(&self.goal.key, reason))
            }
            Put::Conflict(_) => {
                let landing = self.settled(self.core.load(&self.goal.key).await?).1;
                landing.unwrap_or_else(|| {
                    let message = format!("{} kept changing", self.goal.key);
                    Err(Error::new(ErrorKind::Contended, message))
                })
            }
        }
    }
}

/// Keeps maintenance from asking again at once. Nothing depends on this write.
pub(super) async fn back_off(core: &Core, mut record: ConnectionRecord, retry_after: Option<Duration>) {
    let Some(due_at) = record.due_at else {
        return;
    };
    let before = record.version;
    let (Ok(retry_at), Ok(version)) =
        (schedule::retry_at(core, retry_after, core.now()), Version::random(&*core.entropy))
    else {
        return;
    };
    record.due_at = Some(due_at.max(retry_at));
    record.version = version;
    if let Err(error) = core.stores.connections.put(&record, Condition::Version(before), None).await {
        tracing::debug!(%error, "back-off not stored");
    }
}

pub(super) fn position(loaded: &Loaded) -> Position {
    let record = &loaded.record;
    Position { incarnation: record.incarnation, generation: record.generation, status: record.status }
}

pub(super) fn into_read(loaded: Loaded) -> Read {
    let Loaded { record, tokens } = loaded;
    Read { status: record.status, incarnation: record.incarnation, generation: record.generation, tokens }
}
