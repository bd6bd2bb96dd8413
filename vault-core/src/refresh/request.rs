use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::read::{check_active, check_scopes, goal, is_good_enough, is_granted, not_connected, refreshed};
use crate::connection::{DEFAULT_AUDIENCE, Held};
use crate::core::Core;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::id::{ConnectorId, KeyParts, Owner, Slot, TenantId};
use crate::store::ConnectionStatus;
use crate::token::AccessToken;

/// A token read. Made by [`OwnerHandle::token`](crate::OwnerHandle::token); `.await` it.
///
/// It borrows the handle and the connector's id, as a future of an `async fn` would. For a task of its own, move them in:
///
/// ```
/// # use vault_core::{AccessToken, Error, Vault, id::ConnectorId};
/// # fn read(vault: &Vault, connector: ConnectorId) -> tokio::task::JoinHandle<Result<AccessToken, Error>> {
/// let alice = vault.user("alice");
/// tokio::spawn(async move { alice.token(&connector).await })
/// # }
/// ```
///
/// # Errors
/// What to do is in the kind: [`ErrorKind::NotConnected`], [`ErrorKind::NeedsReauthorization`] and
/// [`ErrorKind::MissingScopes`] want the user; [`ErrorKind::RefreshInProgress`], [`ErrorKind::ProviderUnavailable`],
/// [`ErrorKind::StoreUnavailable`] and [`ErrorKind::KeyUnavailable`] want another try later;
/// [`ErrorKind::ProviderMisconfigured`], [`ErrorKind::ConnectorDisabled`] and [`ErrorKind::EndpointRefused`] want the
/// operator.
///
/// # Cancel safety
/// Cancel safe: a refresh that this read began goes on in its own task, and its tokens are stored.
#[must_use = "nothing happens before it is awaited"]
pub struct TokenRequest<'a> {
    core: &'a Arc<Core>,
    scope: Result<&'a (TenantId, Owner), &'a Error>,
    connector: &'a ConnectorId,
    slot: Slot,
    min_ttl: Duration,
    wait: Duration,
    fresh: bool,
    /// What few reads ask for; in a place of its own, so that the others are quick to hand around.
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    audience: Box<str>,
    scopes: Vec<String>,
}

impl<'a> TokenRequest<'a> {
    #[inline]
    pub(crate) fn new(
        core: &'a Arc<Core>,
        scope: Result<&'a (TenantId, Owner), &'a Error>,
        connector: &'a ConnectorId,
    ) -> Self {
        let (min_ttl, wait) = (core.settings.min_ttl, core.settings.wait);
        Self { core, scope, connector, slot: Slot::default(), min_ttl, wait, fresh: false, more: None }
    }

    /// Which of the owner's accounts; the default slot when never called.
    pub fn slot(mut self, slot: Slot) -> Self {
        self.slot = slot;
        self
    }

    /// A token for that API, where a grant is good for several (RFC 8707): `https://files.example.com/`, as the provider
    /// names it. Each has an access token of its own, which no read for another gets. The provider's usual one when never
    /// called.
    ///
    /// Only for providers whose definition says how to ask (`refresh_policy.audience`); for others the read fails with
    /// [`ErrorKind::InvalidInput`].
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.more.get_or_insert_default().audience = audience.into().into_boxed_str();
        self
    }

    /// Refuses with [`ErrorKind::MissingScopes`] unless all of these were granted.
    pub fn require_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.more.get_or_insert_default().scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The token must live so much longer; 30 s by default. A token whose whole life is shorter is handed out when it is
    /// new.
    pub const fn min_ttl(mut self, min_ttl: Duration) -> Self {
        self.min_ttl = min_ttl;
        self
    }

    /// How long to wait for a refresh; 30 s by default.
    pub const fn wait_at_most(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Refreshes first, however long the stored token still lives.
    pub const fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    fn key(&self) -> Result<KeyParts<'_>, Error> {
        let (tenant, owner) = self.scope.map_err(Clone::clone)?;
        Ok(KeyParts { tenant, owner, connector: self.connector, slot: &self.slot })
    }

    /// Out of the token cache, if it has one that will do.
    fn cached(&mut self) -> Option<AccessToken> {
        let (Some(cache), false) = (&self.core.cache, self.fresh) else { return None };
        let now = self.core.reading();
        let opened = cache.get(&self.key().ok()?, now)?;
        let (audience, scopes) = match self.more.as_deref() {
            Some(More { audience, scopes }) => (&**audience, &scopes[..]),
            None => (DEFAULT_AUDIENCE, &[][..]),
        };
        let found = opened.access(audience)?;
        let will_do = opened.status == ConnectionStatus::Active
            && scopes.iter().all(|scope| is_granted(&opened, &found, scope))
            && is_good_enough(self.core, &found, now.time, self.min_ttl);
        will_do.then(|| {
            let audience = self.more.take().map(|more| more.audience).unwrap_or_default();
            AccessToken::new(Held::Shared(opened), found, audience)
        })
    }

    #[tracing::instrument(name = "vault.token", skip_all)]
    async fn answer(self) -> Result<AccessToken, Error> {
        let key = self.key()?.to_key();
        let Self { core, min_ttl, wait, fresh, more, .. } = self;
        let More { audience, scopes } = more.map(|more| *more).unwrap_or_default();
        // Step 0.
        let opened = core.read(&key).await?.ok_or_else(|| not_connected(&key))?;
        check_active(&key, &opened)?;
        let found = opened.access(&audience);
        if let Some(found) = found {
            check_scopes(&key, &opened, &found, &scopes)?;
            if !fresh && is_good_enough(core, &found, core.now(), min_ttl) {
                return Ok(AccessToken::new(opened, found, audience));
            }
        }
        let goal = goal(&key, opened.incarnation, opened.generation, &audience, None);
        let fallback = found.filter(|_| !fresh).map(|found| (opened, found));
        // Few reads come here: their futures need not make every read's larger.
        Box::pin(refreshed(core, key, goal, wait, fallback, &scopes)).await
    }
}

impl<'a> IntoFuture for TokenRequest<'a> {
    type Output = Result<AccessToken, Error>;
    type IntoFuture = TokenFuture<'a>;

    #[inline]
    fn into_future(self) -> TokenFuture<'a> {
        TokenFuture(Stage::Asked(self))
    }
}

/// A [`TokenRequest`] that is awaited.
#[must_use = "nothing happens before it is awaited"]
pub struct TokenFuture<'a>(Stage<'a>);

type Reading<'a> = Pin<Box<dyn Future<Output = Result<AccessToken, Error>> + Send + 'a>>;

enum Stage<'a> {
    Asked(TokenRequest<'a>),
    /// The cache did not have it.
    Reading(Reading<'a>),
    Answered,
}

impl Future for TokenFuture<'_> {
    type Output = Result<AccessToken, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Asked(request) = &mut self.0
            && let Some(token) = request.cached()
        {
            self.0 = Stage::Answered;
            return Poll::Ready(Ok(token));
        }
        let mut reading: Reading<'_> = match std::mem::replace(&mut self.0, Stage::Answered) {
            Stage::Asked(request) => Box::pin(request.answer()),
            Stage::Reading(reading) => reading,
            Stage::Answered => panic!("awaited again after it had answered"),
        };
        let polled = reading.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Stage::Reading(reading);
        }
        polled
    }
}

impl fmt::Debug for TokenFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("key", &self.key()).finish_non_exhaustive()
    }
}
