//! When to refresh, ahead of time.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::connection::TokenSet;
use crate::core::Core;
use crate::entropy::{Entropy, EntropyError};
use crate::provider::spec::Spec;

/// At least so long ahead of the end of an access token.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// When to try again after a failure that says nothing about the grant.
const RETRY: Duration = Duration::from_secs(60);
const MAX_RETRY: Duration = Duration::from_secs(60 * 60);

/// When maintenance should refresh these tokens: the greater of five minutes and a tenth of their life ahead of their
/// end, give or take a tenth of that, so that tokens issued together do not come due together.
pub(crate) fn due_at(
    core: &Core,
    spec: &Spec,
    tokens: &TokenSet,
    now: Timestamp,
) -> Result<Option<Timestamp>, EntropyError> {
    let expires_at = tokens.default_access().and_then(|access| access.expires_at);
    let (Some(expires_at), Some(_), true) =
        (expires_at, &tokens.refresh_token, spec.refresh_policy.proactive)
    else {
        return Ok(None);
    };
    let life = expires_at.saturating_since(now);
    let ahead = match spec.refresh_policy.early_by {
        Some(secs) => Duration::from_secs(secs),
        None => AHEAD.max(life / 10),
    };
    let ahead = jittered(&*core.entropy, ahead.min(life / 2))?;
    let floor = now.saturating_add(core.settings.min_refresh_interval);
    let due = expires_at.saturating_sub(ahead).max(floor);
    Ok(Some(tokens.earliest_refresh_at.map_or(due, |earliest| due.max(earliest))))
}

/// When to try again.
pub(crate) fn retry_at(
    core: &Core,
    asked: Option<Duration>,
    now: Timestamp,
) -> Result<Timestamp, EntropyError> {
    let wait = asked.unwrap_or(RETRY).clamp(RETRY, MAX_RETRY);
    Ok(now.saturating_add(jittered(&*core.entropy, wait)?))
}

/// `span`, give or take a tenth.
pub(crate) fn jittered(entropy: &dyn Entropy, span: Duration) -> Result<Duration, EntropyError> {
    let mut byte = [0];
    entropy.fill(&mut byte)?;
    Ok(span.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0))
}
