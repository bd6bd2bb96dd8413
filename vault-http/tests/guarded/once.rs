//! H05: a request that may have been sent is never sent again.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use vault_core::http::{HttpClient as _, HttpError, HttpErrorKind};
use vault_http::GuardedHttp;

use crate::server::{Peer, Server, assert_unknown, client, get, ok, post};
use crate::tls::{Authority, accept};

#[tokio::test]
async fn h05_a_server_that_hangs_up_on_the_request_sees_it_once() {
    let server = Server::start(|mut peer| async move { peer.request().await }).await;
    for request in [post(&server.url("/token"), "refresh_token=canary"), get(&server.url("/"))] {
        let error = client().send(request).await.expect_err("no reply");
        assert_unknown(&error, HttpErrorKind::Interrupted);
    }
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.connections(), 2);
}

/// The case in which clients like to try again: the connection worked before.
#[tokio::test]
async fn h05_a_pooled_connection_that_dies_on_the_request_sees_it_once() {
    let server = Server::start(|mut peer| async move {
        peer.request().await?;
        peer.send(ok("").as_bytes()).await?;
        peer.request().await
    })
    .await;
    let http = client();
    http.send(get(&server.url("/first"))).await.expect("the server answers");
    let error = http.send(post(&server.url("/token"), "refresh_token=canary")).await;
    assert_unknown(&error.expect_err("no reply"), HttpErrorKind::Interrupted);
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.connections(), 1, "the second request used the pooled connection, and no other");
}

/// A connection that closed while idle took no byte of the request, so hyper may dial again: still one send.
#[tokio::test]
async fn h05_a_pooled_connection_that_closed_while_idle_costs_no_second_send() {
    let closed = Arc::new(Notify::new());
    let notify = Arc::clone(&closed);
    let server = Server::start(move |mut peer: Peer| {
        let notify = Arc::clone(&notify);
        async move {
            peer.request().await?;
            peer.send(ok("").as_bytes()).await?;
            drop(peer);
            notify.notify_one();
            Ok(())
        }
    })
    .await;
    let http = client();
    http.send(get(&server.url("/first"))).await.expect("the server answers");
    closed.notified().await;
    let second = http.send(post(&server.url("/token"), "refresh_token=canary")).await;
    // Whether the close was seen in time is a race; how often the request arrived is not.
    let arrived = server.requests().iter().filter(|request| request.contains("canary")).count();
    match second {
        Ok(_) => assert_eq!(arrived, 1),
        Err(error) => {
            assert!(error.may_have_been_sent());
            assert_eq!(arrived, 0);
        }
    }
}

/// RFC 9113, 8.7 lets a client repeat a refused stream on its own. The vault decides that, not the transport.
#[tokio::test]
async fn h05_a_refused_http2_stream_is_not_repeated() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["localhost"]);
    let server = Server::start(move |peer| refuse_streams(peer, acceptor.clone())).await;
    let builder = GuardedHttp::builder().danger_allow_loopback_http();
    let http = builder.root_certificates(authority.pem()).build().expect("the settings are valid");
    let url = format!("https://localhost:{}/token", server.port);
    let error = http.send(post(&url, "refresh_token=canary")).await.expect_err("refused");
    assert_eq!(error, HttpError::outcome_unknown(HttpErrorKind::Interrupted, "localhost"));
    assert_eq!(server.requests(), ["HEADERS"]);
    assert_eq!(server.connections(), 1);
}

/// The least of HTTP/2: settings, then `RST_STREAM(REFUSED_STREAM)` for each request.
async fn refuse_streams(peer: Peer, acceptor: tokio_rustls::TlsAcceptor) -> io::Result<()> {
    const HEADERS: u8 = 1;
    let (mut tls, notes) = accept(peer, &acceptor).await?;
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    tls.read_exact(&mut [0; 24]).await?;
    tls.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    tls.flush().await?;
    loop {
        let mut header = [0; 9];
        tls.read_exact(&mut header).await?;
        let [a, b, c, kind, _flags, stream @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        tls.read_exact(&mut payload).await?;
        if kind == HEADERS {
            notes.note("HEADERS");
            tls.write_all(&[0, 0, 4, 3, 0]).await?;
            tls.write_all(&stream).await?;
            tls.write_all(&[0, 0, 0, 7]).await?;
            tls.flush().await?;
        }
    }
}
