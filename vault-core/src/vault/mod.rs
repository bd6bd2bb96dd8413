//! The entry type.

mod builder;
mod owner;

use std::sync::Arc;
use std::time::Duration;

pub use self::builder::VaultBuilder;
pub use self::owner::{OwnerHandle, TenantHandle};
use crate::connect::{Callback, Connected, SessionBinding, complete};
use crate::connector::Connectors;
use crate::core::Core;
use crate::error::Error;
use crate::id::{Owner, TenantId, UserId};
use crate::maintenance::{self, Maintenance};
use crate::refresh;
use crate::revoke_all::{RevokePace, RevokeReport, Scope, revoke_all};
use crate::token::AccessToken;

/// The token vault. Cheap to clone: clones share everything.
///
/// Methods need a tokio runtime. Those without a tenant work on `TenantId::default()`.
#[derive(Debug, Clone)]
pub struct Vault {
    core: Arc<Core>,
}

impl Vault {
    /// Starts building one.
    pub fn builder() -> VaultBuilder {
        VaultBuilder::new()
    }

    /// A tenant's part of the vault.
    ///
    /// A bad id is an error of the first operation on the handle: [`ErrorKind::InvalidInput`](crate::ErrorKind).
    pub fn tenant<T>(&self, tenant: T) -> TenantHandle
    where
        T: TryInto<TenantId>,
        Error: From<T::Error>,
    {
        TenantHandle::new(Arc::clone(&self.core), tenant.try_into().map_err(Error::from))
    }

    /// One app user's connections, in the default tenant.
    ///
    /// A bad id is an error of the first operation on the handle: [`ErrorKind::InvalidInput`](crate::ErrorKind).
    pub fn user<U>(&self, user: U) -> OwnerHandle
    where
        U: TryInto<UserId>,
        Error: From<U::Error>,
    {
        OwnerHandle::new(Arc::clone(&self.core), Ok(TenantId::default()), owner_of(user))
    }

    /// The connections that all users share, in the default tenant.
    #[must_use]
    pub fn shared(&self) -> OwnerHandle {
        OwnerHandle::new(Arc::clone(&self.core), Ok(TenantId::default()), Ok(Owner::Shared))
    }

    /// The default tenant's connectors.
    #[must_use]
    pub fn connectors(&self) -> Connectors {
        Connectors::new(Arc::clone(&self.core), TenantId::default())
    }

    /// Finishes an authorization when the browser comes back: checks everything, exchanges the code, stores the
    /// connection. Only then it answers.
    ///
    /// # Errors
    /// Hostile or broken callbacks: [`ErrorKind::UnknownState`], [`ErrorKind::SessionMismatch`],
    /// [`ErrorKind::IssuerMismatch`], [`ErrorKind::InvalidCallback`], [`ErrorKind::FlowExpired`]. The user or somebody
    /// changed their mind: [`ErrorKind::Denied`], [`ErrorKind::FlowCancelled`], [`ErrorKind::MissingScopes`],
    /// [`ErrorKind::AccountMismatch`]. The provider's answer: [`ErrorKind::ProviderUnavailable`],
    /// [`ErrorKind::ProviderReplyInvalid`], [`ErrorKind::ProviderMisconfigured`], [`ErrorKind::IdTokenInvalid`]. In every
    /// case nothing is stored, an existing connection works on, and the flow is closed: start a new one.
    ///
    /// # Cancel safety
    /// Once begun it finishes in a task of its own; a dropped future loses only the answer.
    ///
    /// [`ErrorKind::UnknownState`]: crate::ErrorKind::UnknownState
    /// [`ErrorKind::SessionMismatch`]: crate::ErrorKind::SessionMismatch
    /// [`ErrorKind::IssuerMismatch`]: crate::ErrorKind::IssuerMismatch
    /// [`ErrorKind::InvalidCallback`]: crate::ErrorKind::InvalidCallback
    /// [`ErrorKind::FlowExpired`]: crate::ErrorKind::FlowExpired
    /// [`ErrorKind::Denied`]: crate::ErrorKind::Denied
    /// [`ErrorKind::FlowCancelled`]: crate::ErrorKind::FlowCancelled
    /// [`ErrorKind::MissingScopes`]: crate::ErrorKind::MissingScopes
    /// [`ErrorKind::AccountMismatch`]: crate::ErrorKind::AccountMismatch
    /// [`ErrorKind::ProviderUnavailable`]: crate::ErrorKind::ProviderUnavailable
    /// [`ErrorKind::ProviderReplyInvalid`]: crate::ErrorKind::ProviderReplyInvalid
    /// [`ErrorKind::ProviderMisconfigured`]: crate::ErrorKind::ProviderMisconfigured
    /// [`ErrorKind::IdTokenInvalid`]: crate::ErrorKind::IdTokenInvalid
    #[tracing::instrument(name = "vault.connect.complete", skip_all)]
    pub async fn complete(&self, callback: Callback, binding: &SessionBinding) -> Result<Connected, Error> {
        complete(&self.core, callback, binding).await
    }

    /// Tells the vault that the provider refused this token (401). The first to say so of a generation has it refreshed;
    /// everybody gets the token that is current then.
    ///
    /// # Errors
    /// As for a token read ([`TokenRequest`](crate::TokenRequest)).
    ///
    /// # Cancel safety
    /// As for a token read.
    #[tracing::instrument(name = "vault.report_rejected", skip_all)]
    pub async fn report_rejected(&self, token: &AccessToken) -> Result<AccessToken, Error> {
        refresh::report_rejected(&self.core, token).await
    }

    /// One bounded pass of the work that nobody waits for: refreshes what is due, tries owed revocations again, removes
    /// expired flows, each at most `limit`. Any number of processes may run it at once.
    ///
    /// Of one connector, only as many refreshes run at once in this process as its provider's definition allows, 4 by
    /// default; a slow provider does not hold up the others. After 20 seconds the pass begins nothing new, and answers
    /// without waiting for what still [runs](Maintenance::running). It waits as long where a low `limit` was reached with
    /// requests to a slow provider under way; [`Maintenance::more`] says when to go on at once.
    ///
    /// # Errors
    /// When the store fails. What fails for a single connection is counted, reported to the observer and tried again in
    /// a later pass.
    ///
    /// # Cancel safety
    /// Cancel safe: refreshes and revocations under way go on in their own tasks.
    #[tracing::instrument(name = "vault.maintain", skip_all)]
    pub async fn maintain(&self, limit: u32) -> Result<Maintenance, Error> {
        self.core.check_open()?;
        maintenance::pass(&self.core, limit).await
    }

    /// Runs [`maintain`](Self::maintain) every half minute until [`shutdown`](Self::shutdown), and again after a second
    /// where [more](Maintenance::more) is to do. Faults are logged, panics
    /// reported as [`Event::TaskPanicked`](crate::event::Event::TaskPanicked), and neither ends it.
    pub fn spawn_maintenance(&self) {
        // Not one of the tracked tasks: it waits for them to be closed.
        tokio::spawn(maintenance::run(Arc::clone(&self.core)));
    }

    /// Break-glass: disconnects every connection of every tenant, then revokes the grants at their providers.
    ///
    /// All connections go out of reach first, as fast as the store takes it, each with the revocation that it owes. The
    /// revocations follow, of each connector no faster than `pace`; a provider that throttles (429) gets the pause that it
    /// asks for, which can make this call a long one, while the others go on. What cannot be revoked now stays owed, for
    /// maintenance. Done is done: if this stops or is stopped, call it again, and it continues. Switch off the connectors
    /// first, lest somebody connect meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::ShuttingDown`](crate::ErrorKind::ShuttingDown). Everything else is in the [report](RevokeReport).
    ///
    /// # Cancel safety
    /// A dropped future begins no more; what it took out of reach is gone, and what is owed for it stays owed.
    #[tracing::instrument(name = "vault.revoke_all", skip_all)]
    pub async fn revoke_all(&self, pace: RevokePace) -> Result<RevokeReport, Error> {
        revoke_all(&self.core, &Scope::Everything, pace).await
    }

    /// Begins no new work and waits for what is under way: refreshes whose tokens are not stored yet, callbacks,
    /// revocations. Answers whether all of it ended within `patience`.
    ///
    /// Afterwards, tokens that need no refresh can still be read.
    ///
    /// # Cancel safety
    /// Cancel safe: the vault stays closed, and work under way goes on.
    pub async fn shutdown(&self, patience: Duration) -> bool {
        self.core.tasks.close();
        self.core.closing.cancel();
        tokio::select! {
            biased;
            () = self.core.tasks.wait() => true,
            () = self.core.clock.sleep(patience) => false,
        }
    }

    pub(crate) const fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

fn owner_of<U>(user: U) -> Result<Owner, Error>
where
    U: TryInto<UserId>,
    Error: From<U::Error>,
{
    Ok(Owner::User(user.try_into()?))
}
