//! Just enough of an HTTP/1.1 client to visit the simulator: one request per connection, no redirects, no chunks.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

#[derive(Debug)]
pub(super) struct RawReply {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl RawReply {
    /// The first header of that lower-case name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(super) async fn connect(url: &Url) -> io::Result<TcpStream> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    TcpStream::connect((host, port)).await
}

pub(super) fn message(method: &str, url: &Url, headers: &[(&str, &str)], body: &str) -> String {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut text = format!(
        "{method} {}{query} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
        url.path(),
        url.authority(),
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n" + body
}

pub(super) async fn request(
    method: &str,
    url: &Url,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<RawReply> {
    let mut stream = connect(url).await?;
    stream.write_all(message(method, url, headers, body).as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    parse(&reply).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the reply is incomplete"))
}

pub(super) async fn post_form(url: &Url, headers: &[(&str, &str)], form: &str) -> io::Result<RawReply> {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    request("POST", url, &all, form).await
}

fn parse(bytes: &[u8]) -> Option<RawReply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let reply = RawReply { status, head, body: bytes[end + 4..].to_vec() };
    let whole = reply.header("content-length").is_none_or(|length| length.parse() == Ok(reply.body.len()));
    whole.then_some(reply)
}
