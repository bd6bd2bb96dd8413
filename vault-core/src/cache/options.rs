use std::sync::Arc;
use std::time::Duration;

use crate::store::ConnectionWatch;

/// Keeps opened tokens in memory, for [`VaultBuilder::token_cache`](crate::VaultBuilder::token_cache): a read that finds
/// one costs neither a store call nor a decryption.
///
/// # What is given up
/// Without a [watch](Self::watch), a connection that **another process** disconnects, marks or refreshes is served as it
/// was for at most [`max_age`](Self::max_age). This vault's own writes count at once, and
/// [`report_rejected`](crate::Vault::report_rejected) and [`fresh`](crate::TokenRequest::fresh) never look in here.
///
/// With a watch, other processes' changes count as soon as they are told. While nobody tells, because the channel is not
/// up yet or broke, nothing is served from here, and whatever is kept is dropped.
///
/// # Memory
/// Access tokens lie in this process in clear, for as long as [`max_age`](Self::max_age); refresh tokens do not. They are
/// wiped when they leave, or when the last [`AccessToken`](crate::AccessToken) that shares them is dropped.
///
/// ```
/// use std::time::Duration;
/// use vault_core::{TokenCache, VaultBuilder};
/// use vault_core::store::ConnectionWatch;
///
/// fn with_cache(builder: VaultBuilder, watch: impl ConnectionWatch) -> VaultBuilder {
///     builder.token_cache(TokenCache::new().max_age(Duration::from_secs(10)).watch(watch))
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TokenCache {
    pub(crate) entries: u32,
    pub(crate) bytes: u64,
    pub(crate) max_age: Duration,
    pub(crate) watch: Option<Arc<dyn ConnectionWatch>>,
}

impl TokenCache {
    /// At most 10,000 tokens in 32 MiB, for 30 s, without a watch.
    pub const fn new() -> Self {
        Self { entries: 10_000, bytes: 32 << 20, max_age: Duration::from_secs(30), watch: None }
    }

    /// At most so many tokens.
    pub const fn entries(mut self, entries: u32) -> Self {
        self.entries = entries;
        self
    }

    /// At most so many bytes, as far as they can be counted. What is too large to share them is not kept.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// For so long after the store was asked, whatever happens; 30 s by default. Time that the machine slept counts,
    /// and a clock that is set forward ends it early. Also how often expired entries are looked for and wiped.
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Listens for other processes' changes, as backends that can push offer it. It must tell of the store that the vault
    /// reads from.
    pub fn watch(mut self, watch: impl ConnectionWatch) -> Self {
        self.watch = Some(Arc::new(watch));
        self
    }
}

impl Default for TokenCache {
    fn default() -> Self {
        Self::new()
    }
}
