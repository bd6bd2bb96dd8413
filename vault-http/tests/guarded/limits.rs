//! Replies that are too long, too slow or broken off.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vault_core::http::{HttpClient as _, HttpError, HttpErrorKind};
use vault_http::GuardedHttp;

use crate::server::{Peer, Server, assert_unknown, client, get, ok, post, reply};

fn impatient() -> GuardedHttp {
    let builder = GuardedHttp::builder().danger_allow_loopback_http();
    builder.timeout(Duration::from_millis(300)).build().expect("the settings are valid")
}

fn capped(bytes: usize) -> GuardedHttp {
    let builder = GuardedHttp::builder().danger_allow_loopback_http();
    builder.body_limit(bytes).build().expect("the settings are valid")
}

async fn failure(http: &GuardedHttp, server: &Server) -> HttpError {
    let request = post(&server.url("/token"), "refresh_token=canary");
    http.send(request).await.expect_err("the reply is broken")
}

/// Sends `head`, then `chunk` until the client hangs up, and counts the bytes that went out.
async fn flood(head: &'static str, chunk: String) -> (Server, Arc<AtomicUsize>) {
    let sent = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&sent);
    let chunk: Arc<str> = chunk.into();
    let server = Server::start(move |mut peer: Peer| {
        let (chunk, count) = (Arc::clone(&chunk), Arc::clone(&count));
        async move {
            peer.request().await?;
            peer.send(head.as_bytes()).await?;
            loop {
                peer.send(chunk.as_bytes()).await?;
                count.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        }
    });
    (server.await, sent)
}

#[tokio::test]
async fn t09_a_body_up_to_the_cap_passes_and_one_byte_more_does_not() {
    let server = Server::answering(ok(&"x".repeat(1000))).await;
    let response = capped(1000).send(get(&server.url("/"))).await.expect("within the cap");
    assert_eq!(response.body().expose_secret().len(), 1000);
    assert_unknown(&failure(&capped(999), &server).await, HttpErrorKind::TooLarge);
}

#[tokio::test]
async fn t09_the_usual_cap_is_one_mebibyte() {
    let server = Server::answering(ok(&"x".repeat(1 << 20))).await;
    client().send(get(&server.url("/"))).await.expect("within the cap");
    let server = Server::answering(ok(&"x".repeat((1 << 20) + 1))).await;
    assert_unknown(&failure(&client(), &server).await, HttpErrorKind::TooLarge);
}

#[tokio::test]
async fn t09_d10_an_endless_body_is_cut_off_at_the_cap() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\n";
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 52428800\r\n\r\n";
    for head in [chunked, until_close, announced] {
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        let (server, sent) = flood(head, chunk).await;
        assert_unknown(&failure(&client(), &server).await, HttpErrorKind::TooLarge);
        // The cap, and what the kernel buffers on both sides.
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 16 << 20, "{sent} bytes were taken");
    }
}

#[tokio::test]
async fn t09_a_compressed_body_is_refused_and_not_expanded() {
    for coding in ["gzip", "GZIP", "br", "deflate", "zstd", "identity, gzip"] {
        let encoded = reply("200 OK", &[&format!("content-encoding: {coding}")], "\u{1f}not even gzip");
        let server = Server::answering(encoded).await;
        assert_unknown(&failure(&client(), &server).await, HttpErrorKind::Interrupted);
    }
    let server = Server::answering(reply("200 OK", &["content-encoding: Identity"], "plain")).await;
    let response = client().send(get(&server.url("/"))).await.expect("identity is no coding");
    assert_eq!(response.body().expose_secret(), b"plain");
}

#[tokio::test]
async fn t10_a_trickling_reply_ends_at_the_total_timeout() {
    let server = Server::start(|mut peer| async move {
        peer.request().await?;
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await?;
        loop {
            peer.send(b"x").await?;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    })
    .await;
    let started = Instant::now();
    assert_unknown(&failure(&impatient(), &server).await, HttpErrorKind::Timeout);
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn t10_a_server_that_never_answers_ends_at_the_total_timeout() {
    let server = Server::start(|mut peer| async move {
        peer.request().await?;
        pending().await
    })
    .await;
    assert_unknown(&failure(&impatient(), &server).await, HttpErrorKind::Timeout);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn t10_a_handshake_that_stalls_is_certainly_not_sent() {
    let server = Server::start(|peer| async move {
        let _open = peer;
        pending().await
    })
    .await;
    let builder = GuardedHttp::builder().danger_allow_loopback_http();
    let http = builder.connect_timeout(Duration::from_millis(200)).build().expect("the settings are valid");
    let url = format!("https://127.0.0.1:{}/", server.port);
    let error = http.send(post(&url, "x")).await.expect_err("TLS never starts");
    assert_eq!(error, HttpError::not_sent(HttpErrorKind::Timeout, "127.0.0.1"));
}

#[tokio::test]
async fn t11_a_reset_after_the_headers_leaves_the_outcome_unknown() {
    let server = Server::start(|mut peer| async move {
        peer.request().await?;
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"access_").await?;
        peer.reset()
    })
    .await;
    assert_unknown(&failure(&client(), &server).await, HttpErrorKind::Interrupted);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn t11_a_truncated_body_leaves_the_outcome_unknown() {
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"access_",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{\"access_\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "what is this",
    ] {
        let server = Server::start(move |mut peer| async move {
            peer.request().await?;
            peer.send(cut.as_bytes()).await
        })
        .await;
        assert_unknown(&failure(&client(), &server).await, HttpErrorKind::Interrupted);
        assert_eq!(server.requests().len(), 1, "{cut}");
    }
}

#[tokio::test]
async fn h03_endless_headers_are_cut_off() {
    let one_header = format!("x: {}", "y".repeat(0x1000));
    let many_headers = "x: y\r\n".repeat(1000);
    for chunk in [one_header, many_headers] {
        let (server, sent) = flood("HTTP/1.1 200 OK\r\n", chunk).await;
        assert_unknown(&failure(&client(), &server).await, HttpErrorKind::Interrupted);
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 16 << 20, "{sent} bytes were taken");
    }
}
