//! Name lookup with the guard in it. What is checked here is what is dialled: reqwest gets the addresses themselves
//! and never looks the name up again.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::guard::Guard;

/// Turns a name into addresses; a seam for tests.
#[async_trait]
pub(crate) trait Lookup: fmt::Debug + Send + Sync + 'static {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver.
#[derive(Debug)]
pub(crate) struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver {
    pub(crate) guard: Arc<Guard>,
    pub(crate) lookup: Arc<dyn Lookup>,
    /// The operator's own proxy may live anywhere.
    pub(crate) proxy_host: Option<String>,
}

impl GuardedResolver {
    /// One bad address condemns the name: a provider has no reason to publish one beside its own.
    async fn addresses(self, name: Name) -> Result<Addrs, Refused> {
        let host = name.as_str();
        let found = self.lookup.lookup(host).await.map_err(Refused::Lookup)?;
        let is_proxy = self.proxy_host.as_deref() == Some(host);
        match found.iter().find(|found| !self.guard.permits(host, found.ip())) {
            Some(bad) if !is_proxy => Err(Refused::Address(bad.ip())),
            _ => Ok(Box::new(found.into_iter())),
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.addresses(name).await?) })
    }
}

/// Why a name gave no address to dial.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("address {0} is not allowed")]
    Address(IpAddr),
    #[error("name lookup failed")]
    Lookup(#[source] io::Error),
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
