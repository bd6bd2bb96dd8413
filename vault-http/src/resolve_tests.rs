use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vault_core::http::{HttpClient as _, HttpError, HttpErrorKind, HttpRequest};

use super::*;
use crate::GuardedHttp;

/// Gives each answer once, in turn.
#[derive(Debug)]
struct Script(Mutex<VecDeque<Vec<SocketAddr>>>);

impl Script {
    fn new<const N: usize>(answers: [&[&str]; N]) -> Arc<Self> {
        let parse = |answer: &[&str]| {
            let ips = answer.iter().map(|ip| ip.parse::<IpAddr>().expect("the test writes valid addresses"));
            ips.map(|ip| SocketAddr::new(ip, 0)).collect()
        };
        Arc::new(Self(Mutex::new(answers.into_iter().map(parse).collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().expect("no test panics with it").len()
    }
}

#[async_trait]
impl Lookup for Script {
    async fn lookup(&self, _: &str) -> io::Result<Vec<SocketAddr>> {
        let next = self.0.lock().expect("no test panics with it").pop_front();
        next.ok_or_else(|| io::Error::other("asked once too often"))
    }
}

async fn get(http: &GuardedHttp, url: &str) -> Result<Vec<u8>, HttpError> {
    let mut request = HttpRequest::default();
    *request.uri_mut() = url.parse().expect("the test writes valid URLs");
    Ok(http.send(request).await?.into_body().into_exposed())
}

async fn refusal(answer: &[&str]) -> HttpError {
    let http = GuardedHttp::builder().lookup(Script::new([answer])).build();
    let http = http.expect("the settings are valid");
    get(&http, "https://provider.example/token").await.expect_err("nothing may be dialled")
}

#[tokio::test]
async fn d03_a_name_that_leads_to_a_forbidden_address_is_refused() {
    for address in [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "2002:7f00:1::",
        "2001::1",
        "fe80::1",
        "fec0::1",
        "fd00:ec2::254",
    ] {
        let error = refusal(&[address]).await;
        assert_eq!(
            error,
            HttpError::not_sent(HttpErrorKind::AddressNotAllowed, "provider.example"),
            "{address}"
        );
    }
}

#[tokio::test]
async fn d03_one_forbidden_address_among_public_ones_condemns_the_name() {
    for answer in [&["93.184.216.34", "127.0.0.1"], &["10.0.0.1", "2606:4700::1"]] {
        assert_eq!(refusal(answer).await.kind(), HttpErrorKind::AddressNotAllowed);
    }
}

#[tokio::test]
async fn a_name_without_an_address_is_a_failure_to_connect() {
    let error = refusal(&[]).await;
    assert_eq!(error, HttpError::not_sent(HttpErrorKind::Connect, "provider.example"));
    let http = GuardedHttp::builder().lookup(Script::new([])).build().expect("the settings are valid");
    let error = get(&http, "https://provider.example/").await.expect_err("the lookup fails");
    assert_eq!(error, HttpError::not_sent(HttpErrorKind::Connect, "provider.example"));
}

/// 127.0.0.1 plays the public address (allowed for `localhost`), 127.0.0.2 the private one on the same port.
#[tokio::test]
async fn d04_rebinding_the_name_never_moves_the_dial_to_an_unchecked_address() {
    let public = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback binds");
    let port = public.local_addr().expect("bound").port();
    let private =
        TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).expect("the same port is free there");
    private.set_nonblocking(true).expect("a plain socket");
    let server = tokio::spawn(async move {
        let (mut socket, _) = public.accept().await.expect("the client dials");
        let mut head = [0; 1024];
        assert_ne!(socket.read(&mut head).await.expect("the client sends"), 0);
        let reply = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\npublic";
        socket.write_all(reply).await.expect("the client reads");
    });

    let script = Script::new([&["127.0.0.1"], &["127.0.0.2"]]);
    let lookup: Arc<dyn Lookup> = Arc::<Script>::clone(&script);
    let http = GuardedHttp::builder().danger_allow_loopback_http().lookup(lookup).build();
    let http = http.expect("the settings are valid");
    let url = format!("http://localhost:{port}/");

    assert_eq!(get(&http, &url).await.expect("the first answer is allowed"), b"public");
    assert_eq!(script.left(), 1, "one dial asks once");
    server.await.expect("the server is content");

    let error = get(&http, &url).await.expect_err("the second answer is not");
    assert_eq!(error, HttpError::not_sent(HttpErrorKind::AddressNotAllowed, "localhost"));
    let untouched = private.accept().expect_err("nobody dialled the private address");
    assert_eq!(untouched.kind(), io::ErrorKind::WouldBlock);
}
