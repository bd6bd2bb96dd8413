//! Which targets are refused before a byte leaves.

use std::io;
use std::net::TcpListener;

use url::Url;
use vault_core::http::{HttpClient as _, HttpError, HttpErrorKind};
use vault_http::GuardedHttp;

use crate::server::{Server, client, get, ok};

async fn refusal(http: &GuardedHttp, url: &str) -> HttpError {
    let error = http.send(get(url)).await.expect_err(url);
    assert!(!error.may_have_been_sent(), "{url}");
    error
}

#[tokio::test]
async fn d03_a_forbidden_address_is_refused_in_every_spelling() {
    let http = GuardedHttp::new().expect("the platform has root certificates");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback binds");
    listener.set_nonblocking(true).expect("a plain socket");
    let port = listener.local_addr().expect("bound").port();
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "0x7f.0x0.0x0.0x1",
        "0177.0.0.1",
        "017700000001",
        "127.255.255.254",
        "0",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fec0::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "172.16.0.1",
        "192.0.0.192",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "localhost",
        "LOCALHOST",
    ] {
        let error = refusal(&http, &format!("https://{host}:{port}/token")).await;
        assert_eq!(error.kind(), HttpErrorKind::AddressNotAllowed, "{host}");
    }
    let untouched = listener.accept().expect_err("nobody dialled");
    assert_eq!(untouched.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn d03_the_loopback_exception_is_for_its_three_hosts() {
    for host in ["127.0.0.2", "10.0.0.1", "[::ffff:127.0.0.2]"] {
        let error = refusal(&client(), &format!("https://{host}/")).await;
        assert_eq!(error.kind(), HttpErrorKind::AddressNotAllowed, "{host}");
    }
}

#[tokio::test]
async fn d08_plain_http_is_refused_unless_it_is_allowed_on_loopback() {
    let strict = GuardedHttp::builder().allow_host("127.0.0.1").allow_host("idp.internal").build();
    let strict = strict.expect("the settings are valid");
    let server = Server::answering(ok("")).await;
    for url in [
        server.url("/"),
        "http://provider.example/token".into(),
        "http://idp.internal/".into(),
        "http://[::1]/".into(),
    ] {
        let error = refusal(&strict, &url).await;
        assert_eq!(error.kind(), HttpErrorKind::InsecureEndpoint, "{url}");
    }
    for url in [
        "http://provider.example/token",
        "http://127.0.0.2/",
        "http://localhost.example/",
        "ftp://127.0.0.1/",
    ] {
        let error = refusal(&client(), url).await;
        assert_eq!(error.kind(), HttpErrorKind::InsecureEndpoint, "{url}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn credentials_in_a_url_are_refused_and_not_repeated() {
    for url in ["https://canary@provider.example/", "https://a:canary@provider.example/"] {
        let error = refusal(&client(), url).await;
        assert_eq!(error, HttpError::not_sent(HttpErrorKind::InsecureEndpoint, "provider.example"));
    }
}

#[tokio::test]
async fn a_target_that_is_no_absolute_url_is_refused() {
    for target in ["/token", "*", "provider.example", "provider.example:443", "https://1.2.3.4.5/"] {
        let mut request = get("https://provider.example");
        *request.uri_mut() = target.parse().expect("http takes it for a URI");
        let error = client().send(request).await.expect_err(target);
        assert!(!error.may_have_been_sent(), "{target}");
    }
}

#[tokio::test]
async fn e17_neither_errors_nor_debug_show_more_than_the_host() {
    let proxy = Url::parse("http://user:canary@127.0.0.1:1").expect("valid");
    let builder = GuardedHttp::builder().proxy(proxy);
    assert!(!format!("{builder:#?}").contains("canary"));
    let http = builder.build().expect("the settings are valid");
    assert!(!format!("{http:#?}").contains("canary"));
    for url in ["https://provider.example/canary?canary=1", "https://10.0.0.1/canary?canary=1"] {
        let error = refusal(&http, url).await;
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn malformed_settings_are_named() {
    let refused =
        |builder: vault_http::GuardedHttpBuilder| builder.build().expect_err("malformed").to_string();
    for host in ["", "https://idp.internal", "idp.internal:443", "a b", "[::1"] {
        assert!(refused(GuardedHttp::builder().allow_host(host)).contains(&format!("{host:?}")));
    }
    for range in ["", "10.0.0.0/33", "10.1.2.3/8", "idp.internal"] {
        assert!(refused(GuardedHttp::builder().allow_address_range(range)).contains(&format!("{range:?}")));
    }
    for url in ["socks5://127.0.0.1:1080", "ftp://proxy.example", "mailto:canary"] {
        let said = refused(GuardedHttp::builder().proxy(Url::parse(url).expect("valid")));
        assert_eq!(said, "proxy is not an http or https URL with a host");
    }
    for pem in ["", "canary", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let said = refused(GuardedHttp::builder().root_certificates(pem));
        assert_eq!(said, "root certificate is not PEM");
    }
    assert_eq!(refused(GuardedHttp::builder().body_limit(0)), "a timeout or the body limit is zero");
}
