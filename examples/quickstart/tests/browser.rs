//! As much of a browser as the app needs: forms, cookies, and a look at every answer.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Keeps cookies and follows nothing.
#[derive(Debug, Default)]
pub(crate) struct Browser {
    cookie: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) fn get(&mut self, url: &str) -> Reply {
        self.send("GET", url, &[], "")
    }

    pub(crate) fn get_with(&mut self, url: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", url, headers, "")
    }

    /// Values are taken to need no escaping.
    pub(crate) fn post(&mut self, url: &str, form: &[(&str, &str)]) -> Reply {
        self.post_with(url, &[], form)
    }

    pub(crate) fn post_with(&mut self, url: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Reply {
        let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/x-www-form-urlencoded"));
        self.send("POST", url, &headers, &form.join("&"))
    }

    pub(crate) fn cookie(&self) -> &str {
        self.cookie.as_deref().expect("a session")
    }

    fn send(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let (host, path) = split(url);
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request += &format!("host: {host}\r\n");
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            request += &format!("cookie: {cookie}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n{body}", body.len());
        let reply = exchange(host, request.as_bytes());
        if let Some(set) = reply.header("set-cookie") {
            let pair = set.split(';').next().expect("a pair").to_owned();
            self.cookie = (!set.contains("Max-Age=0")).then_some(pair);
        }
        reply
    }
}

/// `host:port` and path of a URL.
fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").expect("a plain HTTP URL");
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

/// A server that refuses a request may answer and hang up before it has all of it.
fn exchange(host: &str, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(host).expect("somebody listens");
    let mut writer = stream.try_clone().expect("a second handle");
    let mut bytes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _: std::io::Result<()> = writer.write_all(request);
        });
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..read]);
        }
    });
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.body);
        self.header("location").expect("a redirect says where to")
    }

    /// The value of a hidden field.
    pub(crate) fn field(&self, name: &str) -> &str {
        let from = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&from).expect("a form with that field");
        rest.split('"').next().expect("a value")
    }
}

/// A parameter of a URL's query, as it is written there.
pub(crate) fn param<'a>(url: &'a str, name: &str) -> &'a str {
    let (_, query) = url.split_once('?').expect("a query");
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name).expect("a parameter").1
}
