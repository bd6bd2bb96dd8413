//! What backend code gets.

use std::fmt;
use std::time::SystemTime;

use crate::connection::{DEFAULT_AUDIENCE, Found, Held};
use crate::id::ConnectionKey;

/// An access token, ready for use at the provider's API.
///
/// It is good for one purpose: to be put into the `Authorization` header of a request to the provider it is for. Ask the
/// vault again for the next request; that costs one read and is always fresh.
pub struct AccessToken {
    pub(crate) key: ConnectionKey,
    pub(crate) opened: Held,
    pub(crate) found: Found,
    pub(crate) audience: String,
}

impl AccessToken {
    /// The token itself, for the `Authorization` header.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        self.opened.token(self.found)
    }

    /// When it ends, where the provider said so.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.found.expires_at.map(SystemTime::from)
    }

    /// The scopes that the user granted.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.opened.scopes(self.found)
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
        Some(self.audience.as_str()).filter(|audience| *audience != DEFAULT_AUDIENCE)
    }

    /// Counts the token sets of this connection since it was connected, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.opened.generation
    }

    /// The connection it belongs to.
    #[must_use]
    pub const fn connection(&self) -> &ConnectionKey {
        &self.key
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("key", &self.key)
            .field("generation", &self.opened.generation)
            .field("expires_at", &self.found.expires_at)
            .field("scopes", &self.scopes().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
