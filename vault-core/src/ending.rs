//! Ending a grant at its provider, unless another connection needs it.

use std::collections::BTreeMap;

use crate::connection::TokenSet;
use crate::connector::Registered;
use crate::core::Core;
use crate::error::Error;
use crate::event::Event;
use crate::id::ConnectionKey;
use crate::oauth::{RevokeOutcome, RevokeTokens, TokenReply};
use crate::provider::spec::{GrantConcurrency, Radius};
use crate::secret::SecretString;
use crate::store::{ConnectionFilter, ConnectionStatus, Page};

/// What ends at the provider.
pub(crate) struct Grant<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) account: Option<&'a str>,
    pub(crate) access: Option<SecretString>,
    pub(crate) refresh: Option<SecretString>,
    pub(crate) alternates: Vec<SecretString>,
    pub(crate) config: BTreeMap<String, String>,
}

impl<'a> Grant<'a> {
    /// Without what else the connection may have been given before.
    pub(crate) fn of(tokens: &'a TokenSet) -> Self {
        Self {
            client_id: &tokens.grant.client_id,
            account: tokens.grant.account.as_deref(),
            access: tokens.default_access().map(|access| SecretString::new(&access.token)),
            refresh: tokens.refresh_token.as_ref().map(SecretString::new),
            alternates: Vec::new(),
            config: tokens.config.iter().cloned().collect(),
        }
    }

    /// Whose account it is, nobody knows yet.
    pub(crate) fn issued(client_id: &'a str, config: &BTreeMap<String, String>, reply: &TokenReply) -> Self {
        let config = config.iter().chain(&reply.config);
        Self {
            client_id,
            account: None,
            access: Some(SecretString::new(reply.access_token.expose_secret())),
            refresh: reply.refresh_token.as_ref().map(|token| SecretString::new(token.expose_secret())),
            alternates: Vec::new(),
            config: config.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

/// What has become of a grant that is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Of another connection the account is not known: it may have the grant too, which is left to live.
    MaybeShared,
    /// The provider has not agreed yet.
    Pending,
    Revoked,
    /// Another connection has it too, and ends it when it goes.
    StillShared,
    /// The provider cannot revoke, or would not for too long.
    Unsupported,
}

/// Revokes tokens that were never stored, or whose record may not be: one try, and nothing stays owed.
pub(crate) async fn revoke_unstored(
    core: &Core,
    key: &ConnectionKey,
    registered: &Registered,
    grant: Grant<'_>,
) {
    let attempts = match end(core, key, registered, grant).await {
        Ok(Outcome::Revoked) => return core.report(&Event::Revoked { key: key.clone() }),
        Ok(Outcome::StillShared) => return,
        Ok(Outcome::MaybeShared) => 0,
        Ok(Outcome::Pending | Outcome::Unsupported) | Err(_) => 1,
    };
    core.report(&Event::RevocationAbandoned { key: key.clone(), attempts });
}

/// Revokes all of its tokens, unless that would end another connection.
pub(crate) async fn end(
    core: &Core,
    key: &ConnectionKey,
    registered: &Registered,
    grant: Grant<'_>,
) -> Result<Outcome, Error> {
    let spec = registered.provider.spec();
    if (spec.revoke.radius != Radius::Token || spec.grants.concurrency == GrantConcurrency::Shared)
        && let Some(shared) = sharing(core, key, grant.client_id, grant.account).await?
    {
        return Ok(shared);
    }
    let endpoints = registered.endpoints(core, &grant.config).await?;
    let tokens = RevokeTokens { access: grant.access.as_ref(), refresh: grant.refresh.as_ref() };
    let client = registered.client(core, &endpoints);
    let alternates =
        grant.alternates.iter().map(|refresh| RevokeTokens { access: None, refresh: Some(refresh) });
    for tokens in std::iter::once(tokens).chain(alternates) {
        match client.revoke(tokens).await.map_err(|failure| failure.error)? {
            RevokeOutcome::Revoked => {}
            RevokeOutcome::Unsupported => return Ok(Outcome::Unsupported),
        }
    }
    Ok(Outcome::Revoked)
}

/// Whether revoking would end a connection that this owner has now: same client, same account, and a provider that
/// revokes more than the one token, or gives the same one again. Asked right before revoking, not at the disconnect: the
/// user may have connected the account again while the revocation was owed, and of two siblings that go at once the last
/// must see that it is.
async fn sharing(
    core: &Core,
    gone: &ConnectionKey,
    client_id: &str,
    account: Option<&str>,
) -> Result<Option<Outcome>, Error> {
    let filter =
        ConnectionFilter { tenant: gone.tenant.clone(), owner: Some(gone.owner.clone()), connector: None };
    let (mut page, mut sharing) = (Page::first(100), None);
    loop {
        let listed = core.stores.connections.list(&filter, &page).await?;
        for other in listed.items.iter().filter(|other| other.status == ConnectionStatus::Active) {
            match core.open_summary(&other.key, other.incarnation, &other.summary).await {
                Ok(summary) if summary.client_id == client_id => match (account, &summary.account) {
                    (Some(account), Some(other)) if other.id == account => {
                        return Ok(Some(Outcome::StillShared));
                    }
                    (Some(_), Some(_)) => {}
                    _ => sharing = Some(Outcome::MaybeShared),
                },
                Err(error) if error.is_retryable() => return Err(error),
                _ => {}
            }
        }
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(sharing);
        }
    }
}
