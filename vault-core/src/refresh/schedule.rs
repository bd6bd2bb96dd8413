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
/// end, give or take a tenth of that, so that tokens issued together do not come due together; sooner where the refresh
/// token would die of disuse; never before the provider allows.
pub(crate) fn due_at(
    core: &Core,
    spec: &Spec,
    tokens: &TokenSet,
    now: Timestamp,
) -> Result<Option<Timestamp>, EntropyError> {
    let policy = &spec.refresh_policy;
    if tokens.refresh_token.is_none() {
        return Ok(None);
    }
    let expires_at = tokens.default_access().and_then(|access| access.expires_at);
    let ahead_of_end = expires_at.filter(|_| policy.proactive).map(|expires_at| {
        let life = expires_at.saturating_since(now);
        let ahead = policy.early_by.map_or(AHEAD.max(life / 10), Duration::from_secs);
        (expires_at, ahead.min(life / 2))
    });
    // A refresh token that is not used for too long ends, whatever the access token does.
    let idle = policy.idle_lifetime.map(|secs| now.saturating_add(Duration::from_secs(secs)));
    let keep_alive = [idle, tokens.refresh_expires_at].into_iter().flatten().min().map(|end| {
        let life = end.saturating_since(now);
        (end, (life / 10).max(AHEAD).min(life / 2))
    });
    let moments = [ahead_of_end, keep_alive].into_iter().flatten();
    let moments = moments.map(|(end, ahead)| Ok(end.saturating_sub(jittered(&*core.entropy, ahead)?)));
    let Some(due) = moments.collect::<Result<Vec<_>, EntropyError>>()?.into_iter().min() else {
        return Ok(None);
    };
    let floor = now.saturating_add(min_interval(core, spec));
    let earliest = policy.earliest.map(|secs| now.saturating_add(Duration::from_secs(secs)));
    let due = due.max(floor).max(earliest.unwrap_or(due));
    Ok(Some(tokens.earliest_refresh_at.map_or(due, |earliest| due.max(earliest))))
}

/// When a grant that is given now ends for good, where the provider limits its whole life.
pub(crate) fn reconsent_due_at(spec: &Spec, now: Timestamp) -> Option<Timestamp> {
    Some(now.saturating_add(Duration::from_secs(spec.refresh_policy.absolute_lifetime?)))
}

/// Until when an access token that is had now is not replaced by another one as long as it lives.
pub(crate) fn refresh_after(
    core: &Core,
    spec: &Spec,
    earliest: Option<Timestamp>,
    now: Timestamp,
) -> Timestamp {
    let earliest = earliest.into_iter();
    let configured = spec.refresh_policy.earliest.map(|secs| now.saturating_add(Duration::from_secs(secs)));
    earliest.chain(configured).fold(now.saturating_add(min_interval(core, spec)), Timestamp::max)
}

/// The least time between two refreshes of one connection.
pub(crate) fn min_interval(core: &Core, spec: &Spec) -> Duration {
    spec.refresh_policy.min_interval.map_or(core.settings.min_refresh_interval, Duration::from_secs)
}

/// When to try again after so many failures in a row, or when the provider asked to.
pub(crate) fn retry_at(
    core: &Core,
    failures: u32,
    asked: Option<Duration>,
    now: Timestamp,
) -> Result<Timestamp, EntropyError> {
    let pause = RETRY * 2u32.saturating_pow(failures.clamp(1, 12) - 1);
    let wait = asked.unwrap_or(pause).clamp(RETRY, MAX_RETRY);
    // Who asked is not asked again before.
    let least = asked.unwrap_or_default().min(MAX_RETRY);
    Ok(now.saturating_add(jittered(&*core.entropy, wait)?.max(least)))
}

/// `span`, give or take a tenth.
pub(crate) fn jittered(entropy: &dyn Entropy, span: Duration) -> Result<Duration, EntropyError> {
    let mut byte = [0];
    entropy.fill(&mut byte)?;
    Ok(span.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0))
}
