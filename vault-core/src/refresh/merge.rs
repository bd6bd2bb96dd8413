//! Token sets that come of a reply: what it says, and what stays of the old ones.

use std::time::Duration;

use zeroize::Zeroize as _;

use super::decide::MAX_ALTERNATES;
use crate::clock::Timestamp;
use crate::connection::{Access, TokenSet};
use crate::oauth::TokenReply;

/// The newest is last. Beyond the limit the oldest goes.
pub(super) fn keep_alternate(tokens: &mut TokenSet, refresh_token: Option<&str>) {
    let Some(refresh_token) = refresh_token else { return };
    let known = tokens.refresh_token.as_deref() == Some(refresh_token)
        || tokens.alternates.iter().any(|alternate| alternate == refresh_token);
    if known {
        return;
    }
    if tokens.alternates.len() == MAX_ALTERNATES {
        tokens.alternates.remove(0).zeroize();
    }
    tokens.alternates.push(refresh_token.to_owned());
}

/// What was asked for, and how the provider keeps it.
pub(super) struct Terms<'a> {
    pub(super) audience: &'a str,
    pub(super) now: Timestamp,
    pub(super) refresh_after: Timestamp,
    /// A refresh ends the access tokens before it.
    pub(super) old_access_dies: bool,
}

/// The new token set: what the reply does not say stays (RFC 6749 section 6).
pub(super) fn merged(old: &TokenSet, reply: &TokenReply, terms: &Terms<'_>) -> TokenSet {
    let mut tokens = old.clone();
    let text = reply.access_token.expose_secret();
    // The same text again is told from the old one by when it came: later than that one, whatever the clock says.
    let repeated = old.access(terms.audience).filter(|before| before.token == text);
    let after = repeated.map(|before| before.obtained_at.saturating_add(Duration::from_millis(1)));
    // Not said, they are those asked for.
    let asked = old.access(terms.audience).or_else(|| old.default_access());
    let scopes = reply.scopes.clone().or_else(|| asked.map(|access| access.scopes.clone()));
    if terms.old_access_dies {
        for access in &mut tokens.access {
            (access.expires_at, access.refresh_after) = (Some(terms.now), terms.now);
        }
    }
    tokens.put_access(Access {
        audience: terms.audience.to_owned(),
        token: text.to_owned(),
        expires_at: reply.expires_at,
        obtained_at: after.map_or(terms.now, |after| after.max(terms.now)),
        refresh_after: terms.refresh_after,
        scopes: scopes.unwrap_or_default(),
    });
    if let Some(refresh_token) = &reply.refresh_token {
        tokens.refresh_token.zeroize();
        tokens.refresh_token = Some(refresh_token.expose_secret().to_owned());
        tokens.refresh_expires_at = reply.refresh_expires_at;
    }
    tokens.refresh_expires_at = reply.refresh_expires_at.or(tokens.refresh_expires_at);
    tokens.earliest_refresh_at = reply.earliest_refresh_at;
    tokens.refreshed_at = terms.now;
    tokens.alternates.zeroize();
    for (name, value) in &reply.config {
        tokens.config.retain(|(other, _)| other != name);
        tokens.config.push((name.clone(), value.clone()));
    }
    for (name, secret) in &reply.secrets {
        tokens.secrets.iter_mut().filter(|(other, _)| other == name).for_each(|(_, old)| old.zeroize());
        tokens.secrets.retain(|(other, _)| other != name);
        tokens.secrets.push((name.clone(), secret.expose_secret().to_owned()));
    }
    tokens
}

pub(super) fn changed(old: &TokenSet, new: &TokenSet) -> bool {
    let scopes = |tokens: &TokenSet| tokens.default_access().map(|access| access.scopes.clone());
    old.config != new.config || scopes(old) != scopes(new)
}
