use serde_json::json as value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::simulator::{Endpoint, Fault, TokenState};

async fn ready() -> (Simulator, String) {
    let sim = Simulator::start().await;
    let token = sim.refresh_token().await;
    (sim, token)
}

fn state(sim: &Simulator, token: &str) -> TokenState {
    sim.describe(token).expect("known").state
}

#[tokio::test]
async fn fields_of_the_genuine_reply_change_once_and_for_the_grant_named() {
    let (sim, token) = ready().await;
    let fault = Fault::genuine()
        .set("expires_in", "3600")
        .set("scope", value!([]))
        .remove("refresh_token")
        .for_grant("refresh_token");
    sim.inject(Endpoint::Token, fault);
    sim.connect("grace", "calendar.read").await;
    let odd = json(&sim.refresh(&token).await);
    assert_eq!((&odd["expires_in"], &odd["scope"]), (&value!("3600"), &value!([])));
    assert_eq!(odd.get("refresh_token"), None);
    let fresh = sim.refresh_token().await;
    assert_eq!(json(&sim.refresh(&fresh).await)["expires_in"], 3600);
}

#[tokio::test]
async fn a_fault_lasts_as_long_as_it_was_told_to() {
    let (sim, token) = ready().await;
    sim.inject(Endpoint::Token, Fault::error(400, "invalid_grant").times(2));
    assert_eq!(sim.refresh(&token).await.status, 400);
    assert_eq!(sim.refresh(&token).await.status, 400);
    assert_eq!(state(&sim, &token), TokenState::Live);
    sim.inject(Endpoint::Token, Fault::html(502).forever());
    for _ in 0..3 {
        assert_eq!(sim.refresh(&token).await.status, 502);
    }
    sim.clear_faults();
    assert_eq!(sim.refresh(&token).await.status, 200);
}

#[tokio::test]
async fn errors_come_under_any_status() {
    let (sim, token) = ready().await;
    sim.inject(Endpoint::Token, Fault::error(200, "bad_refresh_token"));
    assert_eq!(error(&sim.refresh(&token).await), (200, "bad_refresh_token".into()));
    sim.inject(Endpoint::Token, Fault::not_ok("ratelimited"));
    assert_eq!(json(&sim.refresh(&token).await), value!({ "ok": false, "error": "ratelimited" }));
    sim.inject(Endpoint::Token, Fault::throttled("120"));
    let throttled = sim.refresh(&token).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("120")));
    sim.inject(Endpoint::Revoke, Fault::unavailable("7"));
    let unavailable = sim.post("/revoke", &[("token", &token)]).await.expect("a reply");
    assert_eq!((unavailable.status, unavailable.header("retry-after")), (503, Some("7")));
    assert!(sim.is_live(&token));
}

#[tokio::test]
async fn redirects_point_where_they_are_told() {
    let (sim, token) = ready().await;
    for status in [301, 302, 303, 307, 308] {
        let trap = sim.url("/trap");
        sim.inject(Endpoint::Token, Fault::redirect(status, trap.as_str()));
        let reply = sim.refresh(&token).await;
        assert_eq!((reply.status, reply.header("location")), (status, Some(trap.as_str())));
    }
    assert_eq!(sim.count(Endpoint::Elsewhere), 0);
    raw::request("GET", &sim.url("/trap"), &[], "").await.expect("a reply");
    assert_eq!(sim.count(Endpoint::Elsewhere), 1);
}

#[tokio::test]
async fn a_dropped_connection_carries_nothing_whether_or_not_the_server_acted() {
    let (sim, token) = ready().await;
    sim.inject(Endpoint::Token, Fault::dropped());
    let lost = sim.try_refresh(&token).await.expect_err("no reply");
    assert_eq!(lost.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(state(&sim, &token), TokenState::Live);

    sim.inject(Endpoint::Token, Fault::dropped().after_acting());
    sim.try_refresh(&token).await.expect_err("no reply");
    assert_eq!(state(&sim, &token), TokenState::Spent);
    let acted: Vec<_> = sim.refreshes().iter().map(|call| (call.acted, call.status)).collect();
    assert_eq!(acted, [(false, None), (true, None)]);
}

/// What arrives of a refresh before the connection ends, and how it ends.
async fn received(sim: &Simulator, token: &str) -> (String, io::Result<usize>) {
    let url = sim.url("/token");
    let body = form(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_id", sim.client_id()),
        ("client_secret", sim.client_secret()),
    ]);
    let message = raw::message("POST", &url, &[("content-type", "application/x-www-form-urlencoded")], &body);
    let mut stream = raw::connect(&url).await.expect("a connection");
    stream.write_all(message.as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await;
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

#[tokio::test]
async fn a_torn_reply_breaks_off_in_its_body_with_a_reset() {
    let (sim, token) = ready().await;
    sim.inject(Endpoint::Token, Fault::genuine().torn_at(10));
    let (text, end) = received(&sim, &token).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("content-length"), "{head}");
    assert_eq!(body.len(), 10);
    assert_eq!(end.expect_err("a reset").kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(state(&sim, &token), TokenState::Spent);
}

#[tokio::test]
async fn slow_replies_arrive_whole_if_one_waits() {
    let (builder, hands) = timed();
    let sim = builder.start().await.expect("a port");
    let token = sim.refresh_token().await;
    sim.inject(Endpoint::Token, Fault::genuine().delayed(Duration::from_secs(19)));
    let late = sim.refresh(&token).await;
    assert_eq!((late.status, hands.slept()), (200, 19));

    sim.inject(Endpoint::Token, Fault::genuine().dripping(Duration::from_secs(1)));
    let dripped = sim.refresh(&text(&late, "refresh_token")).await;
    assert_eq!(json(&dripped)["token_type"], "Bearer");
    assert_eq!(hands.slept(), 19 + dripped.body.len() as u64 - 1);
}

#[tokio::test]
async fn what_was_done_can_be_reported_as_a_failure() {
    let (sim, token) = ready().await;
    sim.inject(Endpoint::Token, Fault::error(400, "invalid_grant").status(503).after_acting());
    assert_eq!(error(&sim.refresh(&token).await), (503, "invalid_grant".into()));
    assert_eq!(state(&sim, &token), TokenState::Spent);
    let cookie = Fault::genuine().header("set-cookie", "track=1").when(|call| !call.has_cookie());
    sim.inject(Endpoint::Jwks, cookie);
    let reply = raw::request("GET", &sim.url("/jwks"), &[("cookie", "a=b")], "").await.expect("a reply");
    assert_eq!(reply.header("set-cookie"), None);
    let reply = raw::request("GET", &sim.url("/jwks"), &[], "").await.expect("a reply");
    assert_eq!(reply.header("set-cookie"), Some("track=1"));
}

/// Reads until that much of a reply is there.
async fn read_until(sim: &Simulator, path: &str, enough: impl Fn(&[u8]) -> bool) -> tokio::net::TcpStream {
    let url = sim.url(path);
    let mut stream = raw::connect(&url).await.expect("a connection");
    stream.write_all(raw::message("GET", &url, &[], "").as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    while !enough(&bytes) {
        assert!(stream.read_buf(&mut bytes).await.expect("more bytes") > 0, "the reply ended");
    }
    stream
}

#[tokio::test]
async fn an_endless_reply_goes_on_until_the_simulator_stops() {
    let sim = Simulator::start().await;
    sim.inject(Endpoint::Discovery, Fault::endless());
    let path = "/.well-known/openid-configuration";
    let mut stream = read_until(&sim, path, |bytes| bytes.len() > 1 << 20).await;
    sim.shutdown().await;
    let end = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(end.expect_err("a reset").kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_stalled_reply_keeps_the_connection_open_until_the_simulator_stops() {
    let sim = Simulator::start().await;
    sim.inject(Endpoint::Jwks, Fault::genuine().stalled_at(5));
    let mut stream = read_until(&sim, "/jwks", |bytes| bytes.ends_with(b"\r\n\r\n{\"key")).await;
    let more = stream.try_read(&mut [0]);
    assert_eq!(more.expect_err("nothing yet").kind(), io::ErrorKind::WouldBlock);
    sim.shutdown().await;
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn bodies_take_odd_shapes() {
    let (sim, token) = ready().await;
    sim.inject(Endpoint::Token, Fault::oversized(300_000));
    assert_eq!(sim.refresh(&token).await.body.len(), 300_000);
    assert!(sim.is_live(&token));

    let doubled = |body: Vec<u8>| {
        let text = String::from_utf8_lossy(&body).replacen('{', r#"{"refresh_token":"twice","#, 1);
        text.into_bytes()
    };
    sim.inject(Endpoint::Token, Fault::genuine().map_body(doubled));
    let body = String::from_utf8(sim.refresh(&token).await.body).expect("text");
    assert_eq!(body.matches("\"refresh_token\"").count(), 2);

    let token = sim.refresh_token().await;
    sim.inject(Endpoint::Token, Fault::genuine().form_encoded());
    let reply = sim.refresh(&token).await;
    assert_eq!(reply.header("content-type"), Some("application/x-www-form-urlencoded"));
    let pairs: Vec<(String, String)> = form_urlencoded::parse(&reply.body).into_owned().collect();
    assert!(pairs.contains(&("expires_in".into(), "3600".into())));

    sim.inject(Endpoint::Discovery, Fault::genuine().gzipped());
    let zipped =
        raw::request("GET", &sim.url("/.well-known/openid-configuration"), &[], "").await.expect("a reply");
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.body[..2], [0x1f, 0x8b]);
}

#[tokio::test]
async fn a_fault_that_does_not_fit_says_so() {
    let sim = Simulator::start().await;
    sim.inject(Endpoint::Revoke, Fault::genuine().set("odd", true));
    let reply = sim.post("/revoke", &[("token", "x")]).await.expect("a reply");
    assert_eq!(reply.status, 500);
    assert!(String::from_utf8_lossy(&reply.body).contains("not a JSON object"));
}

#[tokio::test]
async fn a_confused_provider_answers_for_somebody_else() {
    let (sim, token) = ready().await;
    sim.inject(Endpoint::Token, Fault::genuine().for_account("mallory"));
    let reply = sim.refresh(&token).await;
    assert_eq!(sim.describe(&text(&reply, "access_token")).expect("known").account, "mallory");
}
