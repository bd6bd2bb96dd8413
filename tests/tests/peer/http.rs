//! A browser without a person, and just enough of an HTTP client: one request per connection, answers to the end of it.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// HTTP/1.0, so that no answer comes in chunks. A provider that does not answer fails the test.
pub(crate) async fn send(method: &str, url: &Url, headers: &str, body: &str) -> Reply {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let message = format!(
        "{method} {}{query} HTTP/1.0\r\nhost: {}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        url.path(),
        url.authority(),
        body.len()
    );
    let mut reply = Vec::new();
    let mut stream = TcpStream::connect(url.authority()).await.expect("the provider listens");
    stream.write_all(message.as_bytes()).await.expect("the provider reads");
    stream.read_to_end(&mut reply).await.expect("the provider answers");
    parse(&reply).expect("an HTTP reply")
}

fn parse(reply: &[u8]) -> Option<Reply> {
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(reply[..end].to_vec()).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, head, body: reply[end + 4..].to_vec() })
}

/// Follows redirects, with cookies, until one leads away from the origin of `url`; that one is not visited.
pub(crate) async fn browse(url: Url) -> Url {
    let home = url.origin();
    let mut cookies = BTreeMap::new();
    let mut at = url;
    for _ in 0..10 {
        if at.origin() != home {
            return at;
        }
        let jar: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let reply = send("GET", &at, &format!("cookie: {}\r\n", jar.join("; ")), "").await;
        for cookie in reply.headers("set-cookie") {
            let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
            let (name, value) = pair.expect("a cookie");
            cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = reply.headers("location").next();
        let location = location.unwrap_or_else(|| panic!("status {} is no redirect", reply.status));
        at = at.join(location).expect("a redirect to a URL");
    }
    panic!("the provider's redirects do not end");
}
