//! What a URL must look like before a browser or a secret is sent there.

use url::{Host, Url};

use crate::error::{Error, ErrorKind, printable};

/// Parses the URL of an endpoint; `name` is for the error.
///
/// It must be absolute, `https` (or `http` on a loopback host), without user information and fragment, and written the
/// way that it is understood: no host or path that the URL parser would turn into another one.
pub(crate) fn endpoint_url(name: &str, text: &str) -> Result<Url, Error> {
    let refuse = |why: &str| Error::new(ErrorKind::EndpointRefused, format!("endpoint `{name}` {why}"));
    let Some(Split { scheme, authority, rest }) = split(text) else {
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        return Err(refuse(&format!("may not have the scheme `{}`", printable(scheme))));
    };
    if text.contains('#') {
        return Err(refuse("has a fragment"));
    }
    if authority.contains('@') {
        return Err(refuse("has user information"));
    }
    if let Some(other) = text.chars().find(|c| !is_plain(*c)) {
        return Err(refuse(&format!("contains the character `{}`", other.escape_debug())));
    }
    let url = Url::parse(text).map_err(|error| refuse(&format!("is not a URL: {error}")))?;
    let path = rest.split('?').next().unwrap_or_default();
    if !same_host(&url, host_of(authority)) || !(url.path() == path || path.is_empty()) {
        return Err(refuse("does not mean what it says"));
    }
    if scheme == "http" && !is_loopback(&url) {
        return Err(Error::new(
            ErrorKind::EndpointRefused,
            format!("insecure endpoint `{name}`: http is for loopback hosts only"),
        ));
    }
    Ok(url)
}

/// An issuer: an endpoint URL without a query (RFC 8414 2). It is compared byte for byte, so it stays text.
pub(crate) fn check_issuer(name: &str, text: &str) -> Result<(), Error> {
    let url = endpoint_url(name, text)?;
    if url.query().is_some() {
        return Err(Error::new(ErrorKind::EndpointRefused, format!("endpoint `{name}` has a query")));
    }
    Ok(())
}

/// The parts of an absolute http(s) URL, as written.
pub(super) struct Split<'a> {
    pub(super) scheme: &'static str,
    pub(super) authority: &'a str,
    /// Path and query.
    pub(super) rest: &'a str,
}

pub(super) fn split(text: &str) -> Option<Split<'_>> {
    let (scheme, after) = match text.strip_prefix("https://") {
        Some(after) => ("https", after),
        None => ("http", text.strip_prefix("http://")?),
    };
    let (authority, rest) = after.split_at(after.find(['/', '?', '#', '\\']).unwrap_or(after.len()));
    Some(Split { scheme, authority, rest })
}

/// A DNS name in its one lower-case form: labels of 1 to 63 letters, digits and inner hyphens (RFC 1123).
pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

pub(super) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The authority without its port.
pub(super) fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// A URL that is put on a command line by a careless program must not run anything there.
pub(crate) fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~/%:@&=+,?[]".contains(c)
}

fn same_host(url: &Url, written: &str) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == written && is_dns_name(written),
        Some(Host::Ipv4(address)) => address.to_string() == written,
        Some(Host::Ipv6(_)) => url.host_str() == Some(written),
        None => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let error = endpoint_url("token", text).expect_err(text);
        assert_eq!(*error.kind(), ErrorKind::EndpointRefused, "{text}");
        error.to_string()
    }

    #[test]
    fn d08_http_is_for_loopback_only() {
        for text in ["http://as.example/token", "http://10.0.0.1/", "http://localhost.example/"] {
            assert!(refusal(text).starts_with("insecure endpoint `token`"), "{text}");
        }
        for text in [
            "http://127.0.0.1:8080/token",
            "http://[::1]/token",
            "http://localhost/token",
            "https://as.example:8443/token?x=1",
        ] {
            assert!(endpoint_url("token", text).is_ok(), "{text}");
        }
    }

    #[test]
    fn d09_only_web_urls_without_shell_characters() {
        for text in [
            "javascript:alert(1)",
            "file:///etc/passwd",
            "myapp://x",
            "HTTPS://as.example/",
            "https:as.example/",
            "/token",
            "",
        ] {
            assert!(refusal(text).contains("scheme"), "{text}");
        }
        for text in ["https://as.example/$(id)", "https://as.example/a;b", "https://as.example/`id`"] {
            assert!(refusal(text).contains("character"), "{text}");
        }
    }

    #[test]
    fn c14_fragments_are_refused() {
        assert!(refusal("https://as.example/token#x").contains("fragment"));
        assert!(refusal("https://as.example#x").contains("fragment"));
    }

    #[test]
    fn urls_that_mean_another_place_are_refused() {
        assert!(refusal("https://user@as.example/").contains("user information"));
        for text in [
            "https://2130706433/",
            "https://0x7f.1/",
            "https://AS.example/",
            "https://as.example./",
            "https://as_.example/",
            "https://as.example/a/../b",
            "https://as.example/a/%2e%2e/b",
            "https://",
        ] {
            refusal(text);
        }
    }

    #[test]
    fn issuers_have_no_query() {
        assert!(check_issuer("issuer", "https://as.example/realm").is_ok());
        assert!(check_issuer("issuer", "https://as.example/?a=b").is_err());
    }
}
