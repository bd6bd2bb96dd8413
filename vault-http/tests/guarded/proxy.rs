//! Proxies. The environment of a running process cannot be changed safely, so these tests run this test binary again,
//! with variables set, and play the child's part when they find themselves in it.

use std::env;
use std::process::Command;

use url::Url;
use vault_core::http::{HttpClient as _, HttpError, HttpErrorKind};
use vault_http::GuardedHttp;

use crate::server::{Server, client, get, ok, post, reply};

const CHILD: &str = "GUARDED_HTTP_CHILD";

/// Runs the test called `name` alone in a child whose proxy variables all lead to `proxy`.
async fn run_child(name: &'static str, proxy: String, no_proxy: &'static str, target: String) {
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env::current_exe().expect("this binary has a path"));
        command.args(["--exact", name]).env(CHILD, target);
        for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env(variable, &proxy);
        }
        command.env("NO_PROXY", no_proxy).env_remove("no_proxy").env_remove("REQUEST_METHOD");
        command.output().expect("this binary runs")
    });
    let output = output.await.expect("the child ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

/// A proxy that lets nobody through.
async fn proxy() -> Server {
    Server::answering(reply("403 Forbidden", &[], "")).await
}

#[tokio::test]
async fn a_proxy_in_the_environment_is_ignored() {
    if let Ok(target) = env::var(CHILD) {
        let response = client().send(get(&target)).await.expect("reached directly");
        assert_eq!(response.body().expose_secret(), b"direct");
        let closed_port = "https://127.0.0.1:1/";
        let error = client().send(get(closed_port)).await.expect_err("nobody listens");
        assert_eq!(error, HttpError::not_sent(HttpErrorKind::Connect, "127.0.0.1"));
        return;
    }
    let (proxy, target) = (proxy().await, Server::answering(ok("direct")).await);
    let name = "proxy::a_proxy_in_the_environment_is_ignored";
    run_child(name, proxy.url(""), "", target.url("/")).await;
    assert_eq!(proxy.connections(), 0);
    assert_eq!(target.requests().len(), 1);
}

#[tokio::test]
async fn a_proxy_from_the_environment_is_used_on_request_and_never_for_loopback_http() {
    if let Ok(target) = env::var(CHILD) {
        let builder = GuardedHttp::builder().danger_allow_loopback_http().proxy_from_env();
        let http = builder.build().expect("the settings are valid");
        let error = http.send(post("https://provider.example/token", "x")).await.expect_err("403");
        assert_eq!(error, HttpError::not_sent(HttpErrorKind::Connect, "provider.example"));
        let response = http.send(get(&target)).await.expect("reached directly");
        assert_eq!(response.body().expose_secret(), b"direct");
        return;
    }
    let (proxy, target) = (proxy().await, Server::answering(ok("direct")).await);
    let with_password = proxy.url("").replace("http://", "http://user:pass@");
    let name = "proxy::a_proxy_from_the_environment_is_used_on_request_and_never_for_loopback_http";
    run_child(name, with_password, "", target.url("/")).await;
    let [request] = &proxy.requests()[..] else { panic!("one request") };
    assert!(request.starts_with("CONNECT provider.example:443 HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("proxy-authorization: basic "), "{request}");
}

#[tokio::test]
async fn d03_the_guard_is_back_for_hosts_that_bypass_the_proxy() {
    if env::var(CHILD).is_ok() {
        let http = GuardedHttp::builder().proxy_from_env().build().expect("the settings are valid");
        let error = http.send(get("https://localhost/")).await.expect_err("not public");
        assert_eq!(error, HttpError::not_sent(HttpErrorKind::AddressNotAllowed, "localhost"));
        return;
    }
    let proxy = proxy().await;
    let name = "proxy::d03_the_guard_is_back_for_hosts_that_bypass_the_proxy";
    run_child(name, proxy.url(""), "localhost", String::new()).await;
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn a_named_proxy_may_be_private_and_literals_stay_refused_before_it() {
    let server = proxy().await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}", server.port);
        let builder = GuardedHttp::builder().proxy(Url::parse(&url).expect("valid"));
        let http = builder.build().expect("the settings are valid");
        let error = http.send(get("https://169.254.169.254/")).await.expect_err("not public");
        assert_eq!(error, HttpError::not_sent(HttpErrorKind::AddressNotAllowed, "169.254.169.254"));
        let error = http.send(get("https://provider.example/")).await.expect_err("403");
        assert_eq!(error, HttpError::not_sent(HttpErrorKind::Connect, "provider.example"));
    }
    assert_eq!(server.requests().len(), 2);
}
