//! What a read needs, once it is known what the store has.

use std::sync::Arc;
use std::time::Duration;

use super::flight::Goal;
use crate::clock::Timestamp;
use crate::connection::{Found, Held, Opened, TokenSet};
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation};
use crate::store::ConnectionStatus;
use crate::token::AccessToken;

/// The provider refused `token`: whoever says so first has it refreshed, everybody gets the current one.
pub(crate) async fn report_rejected(core: &Arc<Core>, token: &AccessToken) -> Result<AccessToken, Error> {
    let key = token.connection().clone();
    if let Some(cache) = &core.cache {
        cache.forget(&key);
    }
    // From the primary: a replica might only know of older tokens than the rejected one.
    let current = core.load_opened(&key).await?.ok_or_else(|| not_connected(&key))?;
    check_active(&key, &current)?;
    let audience = token.asked_audience();
    let found = current.access(audience);
    // A refresh for another audience leaves it as it is.
    let rejected = current.incarnation == token.opened().incarnation
        && (current.generation == token.opened().generation
            || found.as_ref().is_some_and(|found| {
                digest_of(current.token(found), found.obtained_at) == digest_of_token(token)
            }));
    if let Some(found) = found.filter(|found| !rejected && outlives(found, core.now())) {
        return Ok(AccessToken::new(Held::Own(Box::new(current)), found, audience.into()));
    }
    let goal = goal(
        &key,
        current.incarnation,
        current.generation,
        audience,
        rejected.then(|| digest_of_token(token)),
    );
    refreshed(core, key, goal, core.settings.wait, None, &[]).await
}

/// Steps 1 and 2 from the caller's side: wait until the deadline, and fall back on a token that still lives.
pub(super) async fn refreshed(
    core: &Arc<Core>,
    key: ConnectionKey,
    goal: Goal,
    wait: Duration,
    fallback: Option<(Held, Found)>,
    scopes: &[String],
) -> Result<AccessToken, Error> {
    let hurried = fallback.as_ref().is_some_and(|(_, found)| outlives(found, core.now()));
    let audience = goal.audience.clone().into_boxed_str();
    let landing = tokio::select! {
        biased;
        landing = core.flights.join(core, goal, hurried) => landing,
        () = core.clock.sleep(wait) => {
            Err(Error::new(ErrorKind::RefreshInProgress, format!("{key}: a refresh is under way")))
        }
    };
    match (landing, fallback) {
        (Ok(opened), _) => {
            check_active(&key, &opened)?;
            let found = opened.access(&audience).ok_or_else(|| {
                Error::new(ErrorKind::Contended, format!("{key}: refreshed for another audience meanwhile"))
            })?;
            check_scopes(&key, &opened, &found, scopes)?;
            Ok(AccessToken::new(Held::Shared(opened), found, audience))
        }
        (Err(error), Some((opened, found)))
            if (error.is_retryable() || is_operators(&error)) && outlives(&found, core.now()) =>
        {
            Ok(AccessToken::new(opened, found, audience))
        }
        (Err(error), _) => Err(error),
    }
}

/// Failures that say nothing against the grant: a token that still lives is served meanwhile.
fn is_operators(error: &Error) -> bool {
    use ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectorDisabled
            | K::EndpointRefused
            | K::IssuerMismatch
            | K::ProviderMisconfigured
            | K::ProviderReplyInvalid
            | K::UnknownConnector
    )
}

pub(super) fn goal(
    key: &ConnectionKey,
    incarnation: Incarnation,
    generation: u64,
    audience: &str,
    rejected: Option<[u8; 32]>,
) -> Goal {
    Goal { key: key.clone(), incarnation, generation, audience: audience.to_owned(), rejected }
}

/// Tells one access token from the next, also where a provider gives the same text again.
pub(super) fn digest_of(token: &str, obtained_at: Timestamp) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&obtained_at.as_millis().to_be_bytes()).update(token.as_bytes());
    hasher.finalize().into()
}

fn digest_of_token(token: &AccessToken) -> [u8; 32] {
    digest_of(token.expose_secret(), token.found().obtained_at)
}

pub(super) fn check_active(key: &ConnectionKey, opened: &Opened) -> Result<(), Error> {
    match opened.status {
        ConnectionStatus::Active => Ok(()),
        ConnectionStatus::NeedsReauthorization(reason) => Err(needs_reauthorization(key, reason)),
    }
}

pub(super) fn is_granted(opened: &Opened, found: &Found, scope: &str) -> bool {
    opened.scopes(found).any(|granted| granted == scope)
}

pub(super) fn check_scopes(
    key: &ConnectionKey,
    opened: &Opened,
    found: &Found,
    scopes: &[String],
) -> Result<(), Error> {
    let missing = scopes.iter().filter(|scope| !is_granted(opened, found, scope));
    let missing: Vec<String> = missing.cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("{key} lacks {}", missing.join(" "));
    Err(Error::new(ErrorKind::MissingScopes { missing }, message))
}

pub(super) fn needs_reauthorization(key: &ConnectionKey, reason: crate::error::ReauthReason) -> Error {
    Error::new(ErrorKind::NeedsReauthorization { reason }, format!("{key} needs reauthorization: {reason}"))
}

pub(super) fn not_connected(key: &ConnectionKey) -> Error {
    Error::new(ErrorKind::NotConnected, format!("no {key}"))
}

/// Whether it may be handed out without a refresh.
pub(super) fn is_good_enough(core: &Core, found: &Found, now: Timestamp, min_ttl: Duration) -> bool {
    // A token that was made a moment ago is as good as this provider's tokens get.
    let young = found.obtained_at.saturating_add(core.settings.min_refresh_interval).max(found.refresh_after);
    outlives(found, now.saturating_add(min_ttl)) || now < young && outlives(found, now)
}

fn outlives(found: &Found, moment: Timestamp) -> bool {
    ends_after(found.expires_at, moment)
}

pub(super) fn lives_beyond(tokens: &TokenSet, audience: &str, moment: Timestamp) -> bool {
    tokens.access(audience).is_some_and(|access| ends_after(access.expires_at, moment))
}

/// A token whose end is unknown is taken to live until the provider refuses it.
fn ends_after(expires_at: Option<Timestamp>, moment: Timestamp) -> bool {
    expires_at.is_none_or(|end| end > moment)
}
