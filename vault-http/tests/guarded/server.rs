//! TCP servers of a few lines: each connection is handed to a script, and what arrives is kept.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vault_core::http::{HttpError, HttpErrorKind, HttpRequest};
use vault_core::secret::SecretBytes;
use vault_http::GuardedHttp;

pub(crate) struct Server {
    pub(crate) port: u16,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    connections: Mutex<usize>,
    requests: Mutex<Vec<String>>,
}

impl Server {
    /// Runs `script` on each connection, for as long as the test's runtime lives.
    pub(crate) async fn start<S, F>(script: S) -> Self
    where
        S: Fn(Peer) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let port = listener.local_addr().expect("bound").port();
        let log = Arc::<Log>::default();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *kept.connections.lock().expect("not poisoned") += 1;
                // A script may fail: clients hang up on servers like these.
                tokio::spawn(script(Peer { stream, notes: Notes(Arc::clone(&kept)) }));
            }
        });
        Self { port, log }
    }

    /// Answers each request on each connection with `reply`.
    pub(crate) async fn answering(reply: impl Into<String>) -> Self {
        let reply: Arc<str> = reply.into().into();
        Self::start(move |mut peer| {
            let reply = Arc::clone(&reply);
            async move {
                loop {
                    peer.request().await?;
                    peer.send(reply.as_bytes()).await?;
                }
            }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        *self.log.connections.lock().expect("not poisoned")
    }

    /// Requests read so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.log.requests.lock().expect("not poisoned").clone()
    }
}

/// The server's side of one connection.
pub(crate) struct Peer {
    stream: TcpStream,
    notes: Notes,
}

/// Where a connection's requests are kept.
pub(crate) struct Notes(Arc<Log>);

impl Notes {
    pub(crate) fn note(&self, request: impl Into<String>) {
        self.0.requests.lock().expect("not poisoned").push(request.into());
    }
}

impl Peer {
    /// Reads one request with its body.
    pub(crate) async fn request(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(self.stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let mut body = vec![0; length.map_or(0, |digits| digits.parse().expect("a length"))];
        self.stream.read_exact(&mut body).await?;
        bytes.extend(body);
        self.notes.note(String::from_utf8_lossy(&bytes));
        Ok(())
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The bare socket, for TLS on top.
    pub(crate) fn into_parts(self) -> (TcpStream, Notes) {
        (self.stream, self.notes)
    }

    /// Ends the connection with RST instead of FIN.
    pub(crate) fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }
}

pub(crate) fn ok(body: &str) -> String {
    reply("200 OK", &[], body)
}

pub(crate) fn reply(status: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        write!(text, "{header}\r\n").expect("a String takes all");
    }
    text + "\r\n" + body
}

pub(crate) fn get(url: &str) -> HttpRequest {
    let mut request = HttpRequest::default();
    *request.uri_mut() = url.parse().expect("the test writes valid URLs");
    request
}

pub(crate) fn post(url: &str, body: &str) -> HttpRequest {
    let mut request = get(url);
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = SecretBytes::new(body.as_bytes().to_vec());
    request
}

/// A client that may talk to these servers, with all else as usual.
pub(crate) fn client() -> GuardedHttp {
    let builder = GuardedHttp::builder().danger_allow_loopback_http();
    builder.build().expect("the settings are valid")
}

/// The request may have arrived, and the server is one of these.
#[track_caller]
pub(crate) fn assert_unknown(error: &HttpError, kind: HttpErrorKind) {
    assert_eq!(*error, HttpError::outcome_unknown(kind, "127.0.0.1"));
}
