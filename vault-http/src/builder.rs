//! Settings of a [`GuardedHttp`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::{Host, Url};

use crate::client::GuardedHttp;
use crate::error::{BuildError, Fault};
use crate::guard::{AddressRange, Guard, host_key};
use crate::resolve::{GuardedResolver, Lookup, SystemLookup};
use crate::tls;

const USER_AGENT: &str = concat!("token-vault/", env!("CARGO_PKG_VERSION"));
/// Providers close idle connections after a minute or more; leaving first avoids meeting a closed one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_PER_HOST: usize = 8;
const HTTP2_HEADER_LIMIT: u32 = 64 * 1024;

/// Settings of a [`GuardedHttp`]; made by [`GuardedHttp::builder`]. All are optional.
#[must_use]
pub struct GuardedHttpBuilder {
    connect_timeout: Duration,
    timeout: Duration,
    body_limit: usize,
    hosts: Vec<String>,
    ranges: Vec<String>,
    loopback: bool,
    proxy: Proxy,
    roots: Vec<Vec<u8>>,
    lookup: Arc<dyn Lookup>,
}

enum Proxy {
    None,
    FromEnv,
    Url(Url),
}

impl Default for GuardedHttpBuilder {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            body_limit: 1024 * 1024,
            hosts: Vec::new(),
            ranges: Vec::new(),
            loopback: false,
            proxy: Proxy::None,
            roots: Vec::new(),
            lookup: Arc::new(SystemLookup),
        }
    }
}

impl GuardedHttpBuilder {
    /// The longest that name lookup, TCP and TLS may take together; 5 s unless set. Running out of it is a certain
    /// "not sent", so keep it below [`timeout`](Self::timeout).
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The longest that a whole exchange may take, name lookup to last byte; 20 s unless set. Keep it well below the
    /// vault's refresh lease.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// The longest reply body in bytes; 1 MiB unless set.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Lets this one host (a name, or an address) be dialled at any address, public or not. For an identity provider
    /// inside your own network.
    ///
    /// Whoever answers for the name in DNS chooses the address; prefer
    /// [`allow_address_range`](Self::allow_address_range) where the network is known.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// Lets any host be dialled in this network, for instance `10.20.0.0/16`, `fd12::/16` or a single address.
    pub fn allow_address_range(mut self, range: impl Into<String>) -> Self {
        self.ranges.push(range.into());
        self
    }

    /// Allows `localhost`, `127.0.0.1` and `[::1]` (so written, and at those two addresses), **also over plain
    /// HTTP**. For tests and development; a provider that can name its endpoints then reaches services on this
    /// machine.
    pub fn danger_allow_loopback_http(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Sends HTTPS requests through this `http` or `https` proxy, with its user and password if the URL has them.
    ///
    /// The proxy then looks names up and dials, so **it has to keep requests out of the private network**: the
    /// address guard only sees hosts that are written as addresses. TLS still ends at the provider.
    pub fn proxy(mut self, url: Url) -> Self {
        self.proxy = Proxy::Url(url);
        self
    }

    /// Like [`proxy`](Self::proxy), with the URL in `HTTPS_PROXY`, `https_proxy`, `ALL_PROXY` or `all_proxy` (the
    /// first that is set), if any, and without the proxy for hosts in `NO_PROXY` or `no_proxy`.
    pub fn proxy_from_env(mut self) -> Self {
        self.proxy = Proxy::FromEnv;
        self
    }

    /// Trusts these PEM certificates besides the platform's. For an identity provider with a private CA.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    #[cfg(test)]
    pub(crate) fn lookup(mut self, lookup: Arc<dyn Lookup>) -> Self {
        self.lookup = lookup;
        self
    }

    /// Checks the settings and makes the client. Reads the platform's root certificates, and with
    /// [`proxy_from_env`](Self::proxy_from_env) the environment; opens no connection.
    ///
    /// # Errors
    /// [`BuildError`] names the setting that is malformed.
    pub fn build(self) -> Result<GuardedHttp, BuildError> {
        if self.connect_timeout.is_zero() || self.timeout.is_zero() || self.body_limit == 0 {
            return Err(Fault::Zero.into());
        }
        let guard = Arc::new(self.guard()?);
        let proxy = self.proxy.resolve()?;
        let resolver = GuardedResolver {
            guard: Arc::clone(&guard),
            lookup: Arc::clone(&self.lookup),
            proxy_host: proxy.as_ref().and_then(Url::host_str).map(host_key),
        };
        let tls = tls::config(self.root_ders()?).map_err(Fault::Roots)?;
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(resolver)
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            // Another crate may have switched these features of reqwest on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .http2_max_header_list_size(HTTP2_HEADER_LIMIT);
        if let Some(url) = proxy {
            // Not for plain HTTP: that stays on this machine.
            let through = reqwest::Proxy::https(url).map_err(|_| Fault::Proxy)?;
            let except = matches!(self.proxy, Proxy::FromEnv).then(reqwest::NoProxy::from_env);
            client = client.proxy(through.no_proxy(except.flatten()));
        }
        Ok(GuardedHttp {
            client: client.build().map_err(Fault::Client)?,
            guard,
            timeout: self.timeout,
            body_limit: self.body_limit,
        })
    }

    fn guard(&self) -> Result<Guard, Fault> {
        let ranges = self.ranges.iter();
        let hosts = self.hosts.iter();
        Ok(Guard {
            ranges: ranges
                .map(|text| AddressRange::parse(text).ok_or_else(|| Fault::AddressRange(text.clone())))
                .collect::<Result<_, _>>()?,
            hosts: hosts
                .map(|text| parse_host(text).ok_or_else(|| Fault::Host(text.clone())))
                .collect::<Result<_, _>>()?,
            loopback: self.loopback,
        })
    }

    fn root_ders(&self) -> Result<Vec<CertificateDer<'static>>, Fault> {
        let mut ders = Vec::new();
        for pem in &self.roots {
            let before = ders.len();
            for der in CertificateDer::pem_slice_iter(pem) {
                ders.push(der.map_err(Fault::RootCertificate)?);
            }
            if ders.len() == before {
                return Err(Fault::RootCertificate(rustls::pki_types::pem::Error::NoItemsFound));
            }
        }
        Ok(ders)
    }
}

impl Proxy {
    fn resolve(&self) -> Result<Option<Url>, Fault> {
        let url = match self {
            Self::None => None,
            Self::Url(url) => Some(url.clone()),
            Self::FromEnv => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
                .map(|value| parse_proxy(&value))
                .transpose()?,
        };
        if url.as_ref().is_some_and(|url| !matches!(url.scheme(), "http" | "https") || !url.has_host()) {
            return Err(Fault::Proxy);
        }
        Ok(url)
    }
}

/// By custom the variable may leave `http://` out.
fn parse_proxy(value: &str) -> Result<Url, Fault> {
    let url = if value.contains("://") { Url::parse(value) } else { Url::parse(&format!("http://{value}")) };
    url.map_err(|_| Fault::Proxy)
}

/// The spelling under which a URL's host would be looked up.
fn parse_host(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    Host::parse(text).ok().map(|host| host_key(&host.to_string()))
}

impl fmt::Debug for GuardedHttpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedHttpBuilder")
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("body_limit", &self.body_limit)
            .field("hosts", &self.hosts)
            .field("ranges", &self.ranges)
            .field("loopback", &self.loopback)
            .finish_non_exhaustive()
    }
}
