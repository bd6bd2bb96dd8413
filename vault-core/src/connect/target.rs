//! Where the browser goes after the callback. Checked when the flow starts, and kept on the server: an open redirector
//! would hand the provider's trust to anybody (RFC 9700 section 4.11).

use url::Url;

use crate::error::{Error, ErrorKind, printable};

const MAX_BYTES: usize = 2048;

/// A path on this site, or exactly one of the allowed absolute URLs.
pub(crate) fn check(target: &str, allowed: &[String]) -> Result<(), Error> {
    if allowed.iter().any(|url| url == target) || is_local_path(target) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, format!("invalid return target: {}", printable(target))))
}

/// For the builder: an absolute URL of the host's own.
pub(crate) fn check_absolute(target: &str) -> Result<(), Error> {
    let fits = Url::parse(target).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
    });
    if fits {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidConfig, format!("invalid return target: {}", printable(target))))
}

/// Browsers and servers disagree about backslashes, control characters and encoded forms of both, so none of them may
/// occur, before or after decoding.
fn is_local_path(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let safe = |text: &str| {
        text.starts_with('/')
            && !text.starts_with("//")
            && !text.contains(['\\', '@'])
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    target.len() <= MAX_BYTES && plain(target) && safe(path) && decoded(path).is_some_and(|path| safe(&path))
}

fn decoded(path: &str) -> Option<String> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c03_a_return_target_is_a_local_path_or_exactly_an_allowed_url() {
        let allowed = ["https://app.example.com/done".to_owned()];
        for good in ["/", "/settings", "/a/b?x=1&mail=a@b#frag", "/%C3%A9", "https://app.example.com/done"] {
            assert!(check(good, &allowed).is_ok(), "{good}");
        }
        for bad in [
            "",
            "settings",
            "https://evil",
            "//evil",
            "/\\evil",
            "\\\\evil",
            "https:evil",
            "/%09/evil",
            "/%2F/evil",
            "/%5cevil",
            "/a\r\nSet-Cookie: x",
            "/a\tb",
            "/user@evil",
            "/%40evil",
            "javascript:alert(1)",
            "/%zz",
            "/%0d%0a",
            "https://app.example.com/done/",
            "https://app.example.com/done?x",
            "/ evil",
            "/\u{202e}",
        ] {
            assert!(check(bad, &allowed).is_err(), "{bad:?}");
        }
    }
}
