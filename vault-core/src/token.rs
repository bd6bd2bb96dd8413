//! What backend code gets.

use std::fmt;
use std::time::SystemTime;

use crate::connection::{DEFAULT_AUDIENCE, Found, Held, Opened};
use crate::id::ConnectionKey;

/// An access token, ready for use at the provider's API.
///
/// It is good for one purpose: to be put into the `Authorization` header of a request to the provider it is for. Ask the
/// vault again for the next request; that costs one read and is always fresh.
pub struct AccessToken {
    opened: Held,
    other: Option<Box<Other>>,
}

/// Which of the access tokens it is, if not the provider's usual one. In a place of its own: a token is handed around more
/// often than it is one of these.
struct Other {
    audience: Box<str>,
    found: Found,
}

impl AccessToken {
    /// `found` is what `opened` has for `audience`.
    #[inline]
    pub(crate) fn new(opened: Held, found: Found, audience: Box<str>) -> Self {
        let other = (*audience != *DEFAULT_AUDIENCE).then(|| Box::new(Other { audience, found }));
        Self { opened, other }
    }

    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    #[inline]
    pub(crate) fn found(&self) -> &Found {
        match &self.other {
            Some(other) => &other.found,
            None => self.opened.usual().expect("a token is made of what was found"),
        }
    }

    pub(crate) fn asked_audience(&self) -> &str {
        self.other.as_ref().map_or(DEFAULT_AUDIENCE, |other| &other.audience)
    }

    /// The token itself, for the `Authorization` header.
    #[must_use]
    #[inline]
    pub fn expose_secret(&self) -> &str {
        self.opened.token(self.found())
    }

    /// When it ends, where the provider said so.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.found().expires_at.map(SystemTime::from)
    }

    /// The scopes that the user granted.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.opened.scopes(self.found())
    }

    /// A value of the connection config: instance URL, realm id, subdomain and so on, under the provider's name for it.
    #[must_use]
    pub fn connection_config(&self, name: &str) -> Option<&str> {
        self.opened.config().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All values of the connection config.
    pub fn connection_config_iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.opened.config()
    }

    /// Which API it is for, if not the provider's usual one: as [asked for](crate::TokenRequest::audience).
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.other.as_ref().map(|other| &*other.audience)
    }

    /// Counts the token sets of this connection since it was connected, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.opened.generation
    }

    /// The connection it belongs to.
    #[must_use]
    pub fn connection(&self) -> &ConnectionKey {
        &self.opened.key
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("key", &self.opened.key)
            .field("generation", &self.opened.generation)
            .field("expires_at", &self.found().expires_at)
            .field("scopes", &self.scopes().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
