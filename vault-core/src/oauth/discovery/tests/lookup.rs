//! Servers that are down, slow or odd, and many lookups at once.

use super::super::super::cached::FRESH;
use super::*;
use crate::http::HttpErrorKind;

#[tokio::test]
async fn d10_redirects_are_refused() {
    for status in [301, 302, 303, 304, 307, 308] {
        let bench = Bench::answering(Answer::Reply(status, "application/json", document().to_string()));
        let error = bench.look_up().await.expect_err("a redirect");
        assert_eq!(error.kind(), &ErrorKind::EndpointRefused, "{status}");
        assert_eq!(bench.http.requests(), [PLACE]);
    }
}

#[tokio::test]
async fn d10_what_is_not_the_json_expected_is_refused() {
    let json = document().to_string();
    let doubled = json.replacen('{', r#"{"issuer":"https://evil.example","#, 1);
    for (content_type, body) in [
        ("text/html", json.clone()),
        ("text/json", json.clone()),
        ("application/jsonp", json.clone()),
        ("", json.clone()),
        ("application/json", json[..40].to_owned()),
        ("application/json", String::new()),
        ("application/json", "[]".to_owned()),
        ("application/json", "{}".to_owned()),
        ("application/json", "[".repeat(100_000)),
        ("application/json", doubled),
        ("application/json", with("token_endpoint", 7).to_string()),
        ("application/json", with("authorization_response_iss_parameter_supported", "yes").to_string()),
    ] {
        let bench = Bench::answering(Answer::Reply(200, content_type, body));
        let error = bench.look_up().await.expect_err(content_type);
        assert_eq!(error.kind(), &ErrorKind::ProviderReplyInvalid, "{content_type}: {error}");
        assert!(!error.to_string().contains("evil"), "{error}");
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON", "application/x+json"] {
        let bench = Bench::answering(Answer::Reply(200, content_type, json.clone()));
        bench.look_up().await.expect(content_type);
    }
}

#[tokio::test]
async fn d10_failures_below_http_keep_their_meaning() {
    for (failure, kind) in [
        (HttpErrorKind::AddressNotAllowed, ErrorKind::EndpointRefused),
        (HttpErrorKind::Tls, ErrorKind::EndpointRefused),
        (HttpErrorKind::TooLarge, ErrorKind::ProviderReplyInvalid),
        (HttpErrorKind::Connect, ErrorKind::ProviderUnavailable),
        (HttpErrorKind::Interrupted, ErrorKind::ProviderUnavailable),
    ] {
        let error = Bench::answering(Answer::Fail(failure)).look_up().await;
        assert_eq!(error.expect_err("a failure").kind(), &kind, "{failure}");
    }
}

#[tokio::test]
async fn d10_a_reply_that_never_ends_times_out() {
    let bench = Bench::answering(Answer::Never);
    let discovery = Arc::clone(&bench.discovery);
    let lookup = tokio::spawn(async move { discovery.metadata(ISSUER, &spec::Discovery::default()).await });
    bench.http.arrived(1).await;
    bench.clock.advance(TIMEOUT - Duration::from_millis(1));
    tokio::task::yield_now().await;
    assert!(!lookup.is_finished());
    bench.clock.advance(Duration::from_millis(1));
    let error = lookup.await.expect("no panic").expect_err("a timeout");
    assert_eq!(error.kind(), &ErrorKind::ProviderUnavailable);
}

#[tokio::test]
async fn d11_the_last_good_document_serves_while_the_provider_is_down() {
    let bench = Bench::answering(Answer::json(&document()));
    let first = bench.look_up().await.expect("a good document");
    for bad in [
        Answer::Fail(HttpErrorKind::Connect),
        Answer::Reply(503, "text/html", String::new()),
        Answer::Reply(404, "text/html", String::new()),
        Answer::json(&with("issuer", "https://evil.example")),
    ] {
        bench.http.answer(PLACE, bad);
        bench.clock.advance(Duration::from_secs(30 * 24 * 60 * 60));
        let asked = bench.http.requests().len();
        let later = bench.look_up().await.expect("the last good document");
        assert!(Arc::ptr_eq(&first, &later));
        assert!(bench.http.requests().len() > asked);
    }
    bench.http.answer(PLACE, Answer::json(&with("token_endpoint", "https://id.example/new")));
    bench.clock.advance(FAILURE);
    assert_ne!(first, bench.look_up().await.expect("a new document"));
}

#[tokio::test]
async fn d11_without_a_document_the_provider_is_unavailable_and_not_stormed() {
    for status in [500, 502, 503, 429, 408, 204] {
        let bench = Bench::answering(Answer::Reply(status, "application/json", String::new()));
        for _ in 0..10 {
            let error = bench.look_up().await.expect_err("no document");
            assert_eq!(error.kind(), &ErrorKind::ProviderUnavailable);
            assert!(error.is_retryable() && !error.needs_user_action());
        }
        assert_eq!(bench.http.requests().len(), 1, "{status}");
        bench.clock.advance(FAILURE);
        bench.http.answer(PLACE, Answer::json(&document()));
        bench.look_up().await.expect("a good document");
    }
}

#[tokio::test]
async fn a_document_is_fresh_for_an_hour() {
    let bench = Bench::answering(Answer::json(&document()));
    bench.look_up().await.expect("a good document");
    bench.clock.advance(FRESH - Duration::from_millis(1));
    bench.look_up().await.expect("a good document");
    assert_eq!(bench.http.requests().len(), 1);
    bench.clock.advance(Duration::from_millis(1));
    bench.look_up().await.expect("a good document");
    assert_eq!(bench.http.requests().len(), 2);
}

#[tokio::test]
async fn a_hundred_lookups_share_one_request_and_its_outcome() {
    for (answer, good) in [(Answer::json(&document()), true), (Answer::Fail(HttpErrorKind::Connect), false)] {
        let bench = Bench::answering(answer);
        bench.http.hold(true);
        let lookups: Vec<_> = (0..100)
            .map(|_| {
                let discovery = Arc::clone(&bench.discovery);
                tokio::spawn(async move { discovery.metadata(ISSUER, &spec::Discovery::default()).await })
            })
            .collect();
        bench.http.arrived(1).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        bench.http.hold(false);
        for lookup in lookups {
            assert_eq!(lookup.await.expect("no panic").is_ok(), good);
        }
        assert_eq!(bench.http.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_dropped_lookup_leaves_the_next_one_in_line_to_ask() {
    let bench = Bench::answering(Answer::json(&document()));
    bench.http.hold(true);
    let spawn = || {
        let discovery = Arc::clone(&bench.discovery);
        tokio::spawn(async move { discovery.metadata(ISSUER, &spec::Discovery::default()).await })
    };
    let (first, second) = (spawn(), spawn());
    bench.http.arrived(1).await;
    first.abort();
    bench.http.arrived(2).await;
    bench.http.hold(false);
    second.await.expect("no panic").expect("a good document");
    assert!(first.await.expect_err("aborted").is_cancelled());
}
