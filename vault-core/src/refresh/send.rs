//! Steps 6 to 8: mark, gate, send. Then the outcome decides (`persist`, `outcome`).

use std::collections::BTreeMap;

use super::breaker::{BreakerId, Outcome};
use super::decide::{Spent, mark};
use super::driver::{Driver, Step};
use super::lease::Held;
use super::outcome::{Before, Sent};
use super::state::At;
use crate::connect::origin;
use crate::connection::DEFAULT_AUDIENCE;
use crate::connector::Registered;
use crate::error::{Error, ErrorKind};
use crate::id::AttemptId;
use crate::oauth::{RefreshRequest, TokenReply};
use crate::provider::spec::{RefreshPolicy, Spec};
use crate::secret::SecretString;

impl Driver {
    /// `may_resend`: whether there is another send left when the outcome of this one stays unknown.
    pub(super) async fn send(
        &self,
        lease: &Held<'_>,
        registered: &Registered,
        mut at: At,
        may_resend: bool,
    ) -> Result<Step, Error> {
        let config: BTreeMap<String, String> = at.tokens().config.iter().cloned().collect();
        let endpoints = registered.endpoints(&self.core, &config).await?;
        self.check_grant(&at, &registered.registration.client_id, &origin(endpoints.refresh_or_token()))?;

        let policy = &registered.provider.spec().refresh_policy;
        let audience = self.asked_audience(policy)?;
        let marked_at = self.core.clock.monotonic();
        // Step 6: the marker rides on the same write as the fence.
        let attempt = AttemptId::random(&*self.core.entropy)?;
        let Some(marker) = mark(&at.view(), attempt, lease.fence, lease.now()) else {
            return Ok(Step::Again);
        };
        let before = Before::of(&at);
        at.state.attempt = Some(marker);
        at.state.max_fence = lease.fence;
        if before.attempt.is_none() {
            at.state.unknown_since = Some(marker.started_at);
        }
        // Should this process die, another one asks again while the provider still answers.
        if let Some(again) = at.retry_within_leeway(policy, self.settle(registered)) {
            at.loaded.record.due_at = Some(at.loaded.record.due_at.map_or(again, |due| due.min(again)));
        }
        if !self.write(&mut at).await? {
            return Ok(Step::Again);
        }
        let spent = Spent {
            incarnation: at.loaded.record.incarnation,
            generation: at.loaded.record.generation,
            attempt,
            fence: lease.fence,
            promotions: at.state.promotions,
        };
        // Step 7.
        if !lease.covers(self.core.settings.http_timeout, marked_at) {
            self.take_back(at, &spent, before).await;
            return Ok(Step::Again);
        }
        // Step 8.
        let refresh_token = at.tokens().refresh_token.as_deref().map(SecretString::new);
        let access = at.tokens().access(&self.goal.audience).or_else(|| at.tokens().default_access());
        let scopes = access.map(|access| access.scopes.clone()).unwrap_or_default();
        let request = RefreshRequest {
            token: refresh_token.as_ref(),
            scopes: &scopes,
            audience,
            redirect_uri: &registered.registration.redirect_uri,
            config: &config,
        };
        match registered.client(&self.core, &endpoints).refresh(&request).await {
            Ok(reply) => {
                self.heard(registered, Outcome::Healthy);
                self.check_account(registered.provider.spec(), &at, &reply)?;
                self.persist(lease, registered, at, spent, reply).await.map(Step::Done)
            }
            Err(failure) => {
                let sent = Sent { at, spent, before, may_resend };
                self.failed(lease, registered, sent, failure).await
            }
        }
    }

    /// Nothing is sent while the provider is known to be down, or to refuse the client.
    pub(super) fn check_circuit(&self, registered: &Registered) -> Result<(), Error> {
        let now = self.core.clock.monotonic();
        let Err(open) = self.core.breakers.check(&BreakerId::of(&registered.record), now) else {
            return Ok(());
        };
        let (kind, why) = match open.misconfigured {
            true => (ErrorKind::ProviderMisconfigured, "the provider refuses the client"),
            false => (ErrorKind::ProviderUnavailable, "the provider fails every request"),
        };
        let message = format!("{}: {why}; nothing is sent for now", self.goal.key);
        Err(Error::new(kind, message).with_retry_after(Some(open.retry_after)))
    }

    /// What a request says about the client registration.
    pub(super) fn heard(&self, registered: &Registered, outcome: Outcome) {
        let now = self.core.clock.monotonic();
        self.core.breakers.record(&BreakerId::of(&registered.record), now, outcome);
    }

    /// The parameter and its value that ask for the audience's token. A provider that is not known to heed it would give
    /// the usual one, which would pass for another.
    pub(super) fn asked_audience(
        &self,
        policy: &RefreshPolicy,
    ) -> Result<Option<(&'static str, &str)>, Error> {
        match (policy.audience, self.goal.audience.as_str()) {
            (_, DEFAULT_AUDIENCE) => Ok(None),
            (Some(param), audience) => Ok(Some((param.name(), audience))),
            (None, _) => {
                let message = format!("{}: the provider issues no tokens by audience", self.goal.key);
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }

    /// Refresh tokens go to the origin that issued them, for the client that they were issued to, or nowhere.
    fn check_grant(&self, at: &At, client_id: &str, origin: &str) -> Result<(), Error> {
        let grant = &at.tokens().grant;
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

    /// A refresh that answers for somebody else is not stored, whatever the provider meant by it. The marker stays: the
    /// refresh token was spent.
    fn check_account(&self, spec: &Spec, at: &At, reply: &TokenReply) -> Result<(), Error> {
        match (&at.tokens().grant.account, reply.account_id(spec)) {
            (Some(before), Some(now)) if *before != now => {
                let message = format!("{}: the provider answered for another account", self.goal.key);
                Err(Error::new(ErrorKind::AccountMismatch, message))
            }
            _ => Ok(()),
        }
    }
}
