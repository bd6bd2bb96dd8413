use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("the test writes valid addresses")
}

/// First and last address of each special network, and the public neighbours on both sides.
const EDGES_V4: [(&str, &str, Option<&str>, Option<&str>); 16] = [
    ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
    ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
    ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
    ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
    ("168.63.129.16", "168.63.129.16", Some("168.63.129.15"), Some("168.63.129.17")),
    ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
    ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
    ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
    ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0")),
    ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0")),
    ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
    ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
    ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0")),
    ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0")),
    ("224.0.0.0", "239.255.255.255", Some("223.255.255.255"), None),
    ("240.0.0.0", "255.255.255.255", None, None),
];

#[test]
fn d03_special_ipv4_networks_end_exactly_at_their_edges() {
    for (first, last, before, after) in EDGES_V4 {
        assert!(!is_public(ip(first)), "{first}");
        assert!(!is_public(ip(last)), "{last}");
        for neighbour in [before, after].into_iter().flatten() {
            assert!(is_public(ip(neighbour)), "{neighbour}");
        }
    }
}

#[test]
fn d03_special_ipv4_addresses_stay_special_when_mapped_or_translated() {
    for (first, last, before, _) in EDGES_V4 {
        for special in [first, last] {
            assert!(!is_public(ip(&format!("::ffff:{special}"))), "mapped {special}");
            assert!(!is_public(ip(&format!("64:ff9b::{special}"))), "NAT64 {special}");
            assert!(!is_public(ip(&format!("::{special}"))), "compatible {special}");
        }
        if let Some(public) = before {
            assert!(is_public(ip(&format!("::ffff:{public}"))), "mapped {public}");
            assert!(is_public(ip(&format!("64:ff9b::{public}"))), "NAT64 {public}");
            assert!(!is_public(ip(&format!("::{public}"))), "compatible {public}");
        }
    }
}

#[test]
fn d03_special_ipv6_addresses_are_not_public() {
    for special in [
        "::",
        "::1",
        "::2",
        "::7f00:1",
        "64:ff9a:ffff::",
        "64:ff9b::1:0:0",
        "64:ff9b:1::",
        "64:ff9b:1:ffff:ffff:ffff:808:808",
        "100::",
        "1fff:ffff::",
        "2001::",
        "2001:0:808:808::",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2002::",
        "2002:7f00:1::",
        "2002:808:808::1",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff::",
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
        "4000::",
        "5f00::1",
        "fc00::",
        "fd00:ec2::254",
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe80::1",
        "febf:ffff::",
        "fec0::1",
        "feff:ffff::",
        "ff02::1",
        "ff0e::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        assert!(!is_public(ip(special)), "{special}");
    }
}

#[test]
fn public_addresses_are_public() {
    for public in [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "2000::",
        "2001:200::",
        "2001:4860:4860::8888",
        "2001:db7:ffff::",
        "2001:db9::",
        "2003::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
        "3ffe:ffff::",
        "3fff:1000::",
        "64:ff9b::8.8.8.8",
    ] {
        assert!(is_public(ip(public)), "{public}");
    }
}

#[test]
fn a_range_allows_its_addresses_and_no_others() {
    let guard = Guard {
        ranges: ["10.20.0.0/16", "fd12:3456::/32", "192.168.7.9"]
            .map(|text| AddressRange::parse(text).expect("the test writes valid ranges"))
            .to_vec(),
        ..Guard::default()
    };
    for inside in ["10.20.0.0", "10.20.255.255", "::ffff:10.20.1.2", "fd12:3456::1", "192.168.7.9"] {
        assert!(guard.permits("idp.internal", ip(inside)), "{inside}");
    }
    for outside in ["10.19.255.255", "10.21.0.0", "fd12:3457::1", "192.168.7.10", "127.0.0.1", "::10.20.1.2"]
    {
        assert!(!guard.permits("idp.internal", ip(outside)), "{outside}");
    }
}

#[test]
fn a_range_must_be_written_as_a_network() {
    for bad in [
        "",
        "/",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "::/129",
        "fd00::1/8",
        "10.0.0/8",
        "a/8",
        "10.0.0.0/-1",
    ] {
        assert_eq!(AddressRange::parse(bad), None, "{bad}");
    }
    for good in ["0.0.0.0/0", "::/0", "10.0.0.0/8", "10.0.0.1/32", "fd00::/8", "::1"] {
        assert!(AddressRange::parse(good).is_some(), "{good}");
    }
}

#[test]
fn a_named_host_is_allowed_in_any_spelling_and_alone() {
    let guard = Guard { hosts: ["idp.internal", "fd00::5"].map(host_key).into(), ..Guard::default() };
    assert!(guard.permits("idp.internal", ip("10.0.0.1")));
    assert!(guard.permits("IDP.internal.", ip("10.0.0.1")));
    assert!(guard.permits("[fd00::5]", ip("fd00::5")));
    assert!(!guard.permits("evil.idp.internal", ip("10.0.0.1")));
    assert!(!guard.permits("idp.internal.evil", ip("10.0.0.1")));
    assert!(!guard.permits_plain_http("idp.internal"));
}

#[test]
fn the_loopback_exception_holds_for_three_hosts_and_two_addresses() {
    let guard = Guard { loopback: true, ..Guard::default() };
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert!(guard.permits_plain_http(host), "{host}");
        assert!(guard.permits(host, ip("127.0.0.1")), "{host}");
        assert!(!guard.permits(host, ip("127.0.0.2")), "{host}");
        assert!(!guard.permits(host, ip("10.0.0.1")), "{host}");
    }
    for host in ["localhost.", "localhost.evil", "127.0.0.2", "evil.example"] {
        assert!(!guard.permits_plain_http(host), "{host}");
        assert!(!guard.permits(host, ip("127.0.0.1")), "{host}");
    }
}
