//! Which addresses may be dialled. Pure: no network, no clock.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses and names that are allowed on top of the public internet.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) ranges: Vec<AddressRange>,
    pub(crate) loopback: bool,
}

impl Guard {
    /// Whether `host`, which stands for or resolves to `address`, may be dialled there.
    pub(crate) fn permits(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address)
            || self.ranges.iter().any(|range| range.contains(address))
            || self.hosts.contains(&host_key(host))
            || (self.loopback && is_loopback_host(host) && is_own_machine(address))
    }

    /// Whether `host` may be reached over plain HTTP.
    pub(crate) fn permits_plain_http(&self, host: &str) -> bool {
        self.loopback && is_loopback_host(host)
    }
}

/// Lower case, no brackets, no trailing dot: one spelling for a name or an address literal.
pub(crate) fn host_key(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn is_loopback_host(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1")
}

fn is_own_machine(address: IpAddr) -> bool {
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

/// Whether `address` is on the public internet, where a provider lives.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// IANA's special-purpose registry, multicast, and Azure's one address that is public in form only.
const SPECIAL_V4: [(Ipv4Addr, u8); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network; 0.0.0.0 reaches loopback
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // carrier-grade NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's host services
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local, cloud metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // IETF protocol assignments, Oracle's metadata
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays, retired
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved
    (Ipv4Addr::new(255, 255, 255, 255), 32),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|&(network, prefix)| in_v4(address, network, prefix))
}

const GLOBAL_UNICAST: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// RFC 6052: behind DNS64 every IPv4 provider has an address here, so the embedded one decides.
const NAT64: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// What is special within global unicast. All else that is special lies outside it: unspecified, loopback,
/// IPv4-compatible, NAT64 for local use (`64:ff9b:1::/48`), ULA, link-local, site-local, multicast.
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // IETF protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: a tunnel to any IPv4 address
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

fn is_public_v6(address: Ipv6Addr) -> bool {
    if in_v6(address, NAT64.0, NAT64.1) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    in_v6(address, GLOBAL_UNICAST.0, GLOBAL_UNICAST.1)
        && !SPECIAL_V6.iter().any(|&(network, prefix)| in_v6(address, network, prefix))
}

fn in_v4(address: Ipv4Addr, network: Ipv4Addr, prefix: u8) -> bool {
    let differing = address.to_bits() ^ network.to_bits();
    differing.leading_zeros() >= u32::from(prefix)
}

fn in_v6(address: Ipv6Addr, network: Ipv6Addr, prefix: u8) -> bool {
    let differing = address.to_bits() ^ network.to_bits();
    differing.leading_zeros() >= u32::from(prefix)
}

/// A network in CIDR form, such as `10.20.0.0/16`. An address alone stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressRange {
    network: IpAddr,
    prefix: u8,
}

impl AddressRange {
    /// `None` for what is no network, or has bits set to the right of the prefix (most likely a slip).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (network, prefix) = match text.split_once('/') {
            Some((network, prefix)) => (network.parse().ok()?, prefix.parse().ok()?),
            None => {
                let network: IpAddr = text.parse().ok()?;
                (network, if network.is_ipv4() { 32 } else { 128 })
            }
        };
        let host_bits_clear = match network {
            IpAddr::V4(v4) => prefix <= 32 && v4.to_bits().trailing_zeros() >= 32 - u32::from(prefix),
            IpAddr::V6(v6) => prefix <= 128 && v6.to_bits().trailing_zeros() >= 128 - u32::from(prefix),
        };
        host_bits_clear.then_some(Self { network, prefix })
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(v4)) => in_v4(v4, network, self.prefix),
            (IpAddr::V6(network), IpAddr::V6(v6)) => in_v6(v6, network, self.prefix),
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
