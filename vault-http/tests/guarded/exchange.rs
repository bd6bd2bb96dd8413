//! A plain exchange: what goes out, what comes back, and what must not stay behind.

use http::header::{AUTHORIZATION, COOKIE, HeaderValue, LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use vault_core::http::{HttpClient as _, HttpError, HttpErrorKind};

use crate::server::{Server, client, get, ok, post, reply};

#[tokio::test]
async fn a_request_arrives_as_given_and_the_reply_comes_back() {
    let server = Server::answering(reply("400 Bad Request", &["x-id: 7"], r#"{"error":"x"}"#)).await;
    let mut request = post(&server.url("/token?a=b"), "grant_type=refresh_token");
    *request.method_mut() = Method::PUT;
    request.headers_mut().insert("accept", HeaderValue::from_static("application/json"));

    let response = client().send(request).await.expect("a reply of any status is a success");
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()["x-id"], "7");
    assert_eq!(response.body().expose_secret(), br#"{"error":"x"}"#);

    let [request] = &server.requests()[..] else { panic!("one request") };
    assert!(request.starts_with("PUT /token?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ngrant_type=refresh_token"), "{request}");
    assert!(request.contains("\r\naccept: application/json\r\n"), "{request}");
    assert!(request.contains("\r\naccept-encoding: identity\r\n"), "{request}");
    let agent = concat!("\r\nuser-agent: token-vault/", env!("CARGO_PKG_VERSION"), "\r\n");
    assert!(request.contains(agent), "{request}");
}

#[tokio::test]
async fn t21_d10_a_redirect_is_returned_and_not_followed() {
    let target = Server::answering(ok("caught")).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let location = format!("location: {}", target.url("/stolen"));
        let server = Server::answering(reply(status, &[&location], "")).await;
        for request in [get(&server.url("/")), post(&server.url("/"), "refresh_token=canary")] {
            let response = client().send(request).await.expect("a redirect is a reply");
            assert_eq!(response.status().as_str(), &status[..3]);
            assert_eq!(response.headers()[LOCATION], target.url("/stolen"));
        }
        assert_eq!(server.requests().len(), 2, "{status}");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn h06_a_cookie_is_not_sent_back() {
    let server = Server::answering(reply("200 OK", &["set-cookie: session=canary; path=/"], "")).await;
    let http = client();
    for _ in 0..2 {
        let response = http.send(get(&server.url("/"))).await.expect("the server answers");
        assert!(response.headers().contains_key(SET_COOKIE));
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(!requests.concat().to_lowercase().contains(COOKIE.as_str()));
}

#[tokio::test]
async fn h08_a_header_lives_for_one_request() {
    let server = Server::answering(ok("")).await;
    let http = client();
    let mut first = post(&server.url("/first"), "body");
    first.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Basic canary"));
    http.send(first).await.expect("the server answers");
    http.send(get(&server.url("/second"))).await.expect("the server answers");

    let [first, second] = &server.requests()[..] else { panic!("two requests") };
    assert!(first.contains("\r\nauthorization: Basic canary\r\n"), "{first}");
    for leftover in ["authorization", "referer", "content-length", "canary"] {
        assert!(!second.to_lowercase().contains(leftover), "{second}");
    }
    assert_eq!(server.connections(), 1, "the connection is what may be shared");
}

#[tokio::test]
async fn a_closed_port_is_a_certain_failure_to_connect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback binds");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let error = client().send(post(&format!("http://{address}/"), "x")).await.expect_err("nobody listens");
    assert_eq!(error, HttpError::not_sent(HttpErrorKind::Connect, "127.0.0.1"));
}
