use std::time::Duration;

use crate::error::{ErrorKind, ReauthReason};
use crate::http::{HttpError, HttpErrorKind};
use crate::oauth::testing::{Fixture, NOW, assert_mute};
use crate::oauth::{Failure, FailureClass};

const REVOKED: ErrorKind = ErrorKind::NeedsReauthorization { reason: ReauthReason::GrantRevoked };

async fn refresh(spec: &str, status: u16, body: &str) -> Failure {
    let failure = Fixture::replying(spec, status, body).refresh().await.expect_err("refused");
    assert_mute(&failure);
    failure
}

async fn exchange(spec: &str, status: u16, body: &str) -> Failure {
    let failure = Fixture::replying(spec, status, body).exchange().await.expect_err("refused");
    assert_mute(&failure);
    failure
}

#[tokio::test]
async fn t01_an_error_with_status_200_is_an_error() {
    let failure = refresh("", 200, r#"{"error":"bad_refresh_token","error_description":"canary"}"#).await;
    assert_eq!((failure.class, failure.error.kind()), (FailureClass::InvalidGrant, &REVOKED));
    assert_eq!(failure.error.to_string(), "the provider refused the refresh token (bad_refresh_token)");
    let failure = exchange("", 200, r#"{"error":"bad_verification_code"}"#).await;
    assert_eq!(failure.error.kind(), &ErrorKind::ProviderReplyInvalid);
    let failure = refresh("", 200, r#"{"error":"incorrect_client_credentials"}"#).await;
    assert_eq!(failure.class, FailureClass::ClientMisconfigured);
}

#[tokio::test]
async fn t02_ok_false_is_an_error() {
    let slack = "response = { ok = { ptr = '/ok', equals = true } }";
    for spec in ["", slack] {
        let failure = refresh(spec, 200, r#"{"ok":false,"error":"invalid_refresh_token"}"#).await;
        assert_eq!(failure.class, FailureClass::InvalidGrant);
    }
    let unknown = refresh(slack, 200, r#"{"ok":false,"error":"canary_word","access_token":"canary"}"#).await;
    assert_eq!(unknown.class, FailureClass::Indeterminate);
    let none = refresh(slack, 200, r#"{"access_token":"canary","token_type":"bearer"}"#).await;
    assert_eq!(none.class, FailureClass::Indeterminate);
}

#[tokio::test]
async fn t02_providers_that_number_their_errors() {
    let wechat = "
        [response]
        ok = { ptr = '/errcode', absent = true }
        [[errors]]
        ptr = '/errcode'
        regex = '^(40030|42002)$'
        class = 'invalid_grant'
        [[errors]]
        ptr = '/errcode'
        equals = '-1'
        class = 'transient'
    ";
    let failure = refresh(wechat, 200, r#"{"errcode":42002,"errmsg":"canary"}"#).await;
    assert_eq!(failure.class, FailureClass::InvalidGrant);
    assert_eq!(failure.error.to_string(), "the provider refused the refresh token (status 200)");
    let failure = refresh(wechat, 200, r#"{"errcode":-1}"#).await;
    assert_eq!(failure.class, FailureClass::Indeterminate);
    let withings = "response = { root = '/body', ok = { ptr = '/status', is_in = [0] } }";
    let failure = refresh(withings, 200, r#"{"status":601,"body":{}}"#).await;
    assert_eq!(failure.class, FailureClass::Indeterminate);
}

#[tokio::test]
async fn t10_a_server_that_never_ends_runs_into_the_deadline() {
    let fixture = Fixture::new("").impatient();
    let failure = fixture.refresh().await.expect_err("timed out");
    assert_eq!(failure.class, FailureClass::Indeterminate);
    assert_eq!(failure.error.kind(), &ErrorKind::ProviderUnavailable);
    assert_eq!(failure.error.to_string(), "token request timed out");
}

#[tokio::test]
async fn t09_t11_faults_below_http() {
    use FailureClass::{Indeterminate, NotSent};
    use HttpErrorKind as K;
    let cases = [
        (K::AddressNotAllowed, ErrorKind::EndpointRefused),
        (K::Connect, ErrorKind::ProviderUnavailable),
        (K::InsecureEndpoint, ErrorKind::EndpointRefused),
        (K::Interrupted, ErrorKind::ProviderUnavailable),
        (K::Timeout, ErrorKind::ProviderUnavailable),
        (K::Tls, ErrorKind::EndpointRefused),
        (K::TooLarge, ErrorKind::ProviderReplyInvalid),
    ];
    for (kind, expected) in cases {
        let fixture = Fixture::new("");
        fixture.fail(HttpError::not_sent(kind, "as.test"));
        fixture.fail(HttpError::outcome_unknown(kind, "as.test"));
        for class in [NotSent, Indeterminate] {
            let failure = fixture.refresh().await.expect_err("failed");
            assert_eq!((failure.class, failure.error.kind()), (class, &expected), "{kind}");
        }
        assert_eq!(fixture.seen().len(), 2, "never sent twice");
    }
}

#[tokio::test]
async fn t17_a_refused_client_is_no_grants_fault() {
    for (status, error) in [(401, "invalid_client"), (400, "invalid_client"), (400, "unauthorized_client")] {
        let failure = refresh("", status, &format!(r#"{{"error":"{error}"}}"#)).await;
        assert_eq!(failure.class, FailureClass::ClientMisconfigured);
        assert_eq!(failure.error.kind(), &ErrorKind::ProviderMisconfigured);
        assert_eq!(failure.error.to_string(), format!("the provider refused the client ({error})"));
    }
    for status in [404, 410] {
        let failure = refresh("", status, "<html>gone</html>").await;
        assert_eq!(failure.class, FailureClass::ClientMisconfigured);
    }
}

#[tokio::test]
async fn t18_invalid_grant() {
    for status in [400, 401, 403] {
        let failure = refresh("", status, r#"{"error":"invalid_grant"}"#).await;
        assert_eq!((failure.class, failure.error.kind()), (FailureClass::InvalidGrant, &REVOKED));
    }
    let failure = exchange("", 400, r#"{"error":"invalid_grant"}"#).await;
    assert_eq!(failure.error.kind(), &ErrorKind::ProviderReplyInvalid);
    assert_eq!(failure.error.to_string(), "the provider refused the code (invalid_grant)");
}

#[tokio::test]
async fn interaction_and_denial() {
    let reason = ReauthReason::InteractionRequired;
    for error in ["interaction_required", "login_required", "consent_required", "access_denied"] {
        let failure = refresh("", 400, &format!(r#"{{"error":"{error}"}}"#)).await;
        assert_eq!(failure.class, FailureClass::InteractionRequired);
        assert_eq!(failure.error.kind(), &ErrorKind::NeedsReauthorization { reason });
    }
    let failure = exchange("", 400, r#"{"error":"access_denied"}"#).await;
    assert_eq!(failure.error.kind(), &ErrorKind::Denied);
}

#[tokio::test]
async fn t19_throttling_and_how_long() {
    let hour = Some(Duration::from_secs(3600));
    let date = |secs| {
        let time = std::time::SystemTime::from(NOW.saturating_add(Duration::from_secs(secs)));
        httpdate::fmt_http_date(time)
    };
    let cases = [
        ("120".to_owned(), Some(Duration::from_secs(120))),
        (" 0 ".to_owned(), Some(Duration::ZERO)),
        ("1000000000".to_owned(), hour),
        ("99999999999999999999999".to_owned(), hour),
        (date(90), Some(Duration::from_secs(90))),
        (date(1_000_000), hour),
        ("Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), Some(Duration::ZERO)),
        ("soon".to_owned(), None),
        ("-5".to_owned(), None),
        ("1.5".to_owned(), None),
        (String::new(), None),
    ];
    for (header, expected) in cases {
        let fixture = Fixture::new("");
        let body = r#"{"error":"invalid_grant"}"#;
        fixture.reply_with(429, &[("retry-after", &header)], body);
        let failure = fixture.refresh().await.expect_err("throttled");
        assert_eq!(failure.class, FailureClass::Throttled(expected), "{header}");
        assert_eq!(failure.error.retry_after(), expected);
        assert!(failure.error.is_retryable());
    }
    let failure = refresh("", 400, r#"{"error":"temporarily_unavailable"}"#).await;
    assert_eq!(failure.class, FailureClass::Throttled(None));
}

#[tokio::test]
async fn t20_server_errors_never_blame_the_grant() {
    let rule = "[[errors]]\nequals = 'invalid_grant'\nclass = 'invalid_grant'";
    for status in [408, 500, 502, 503, 504, 599] {
        for body in [r#"{"error":"invalid_grant"}"#, r#"{"error":"invalid_client"}"#, "<html>", ""] {
            let failure = refresh(rule, status, body).await;
            assert_eq!(failure.class, FailureClass::Indeterminate);
            assert_eq!(failure.error.kind(), &ErrorKind::ProviderUnavailable);
        }
    }
    let fixture = Fixture::new("");
    fixture.reply_with(503, &[("retry-after", "7")], "");
    let failure = fixture.refresh().await.expect_err("unavailable");
    assert_eq!(failure.error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn t20_a_rule_may_refine_an_outage_that_it_names() {
    let spec = "
        [[errors]]
        ptr = '/wait'
        class = 'denied'
        [[errors]]
        status = [500]
        equals = 'invalid_client'
        class = 'client_misconfigured'
        [[errors]]
        status = [503]
        class = 'throttled'
        retry_after = '/wait'
        [[errors]]
        status = [502]
        class = 'invalid_grant'
    ";
    let failure = refresh(spec, 500, r#"{"error":"invalid_client"}"#).await;
    assert_eq!(failure.class, FailureClass::ClientMisconfigured);
    for (body, wait) in [
        (r#"{"wait":30}"#, Some(30)),
        (r#"{"wait":"30"}"#, Some(30)),
        (r#"{"wait":1e9}"#, None),
        (r#"{"wait":1000000000}"#, Some(3600)),
        ("<html>", None),
    ] {
        let wait = wait.map(Duration::from_secs);
        assert_eq!(refresh(spec, 503, body).await.class, FailureClass::Throttled(wait), "{body}");
    }
    assert_eq!(refresh(spec, 502, "{}").await.class, FailureClass::Indeterminate);
}

#[tokio::test]
async fn t21_redirects_are_refused() {
    for status in [301, 302, 303, 307, 308] {
        let fixture = Fixture::new("");
        fixture.reply_with(
            status,
            &[("location", "https://evil.test/canary")],
            r#"{"error":"invalid_grant"}"#,
        );
        let failure = fixture.refresh().await.expect_err("redirected");
        assert_mute(&failure);
        assert_eq!(failure.class, FailureClass::Indeterminate);
        assert_eq!(failure.error.to_string(), format!("redirect refused (status {status})"));
        assert_eq!(fixture.seen().len(), 1);
    }
}

#[tokio::test]
async fn t22_nothing_of_an_error_body_is_shown() {
    let echo = "canary-old-refresh";
    let bodies = [
        format!(r#"{{"error":"{echo}"}}"#),
        format!(r#"{{"error":"invalid_grant","error_description":"{echo}"}}"#),
        format!(r#"{{"error":{{"message":"{echo}"}}}}"#),
        format!(r#"{{"{echo}":1}}"#),
        echo.to_owned(),
    ];
    for status in [200, 302, 400, 401, 403, 429, 500] {
        for body in &bodies {
            refresh("", status, body).await;
            exchange("", status, body).await;
        }
    }
}

#[tokio::test]
async fn unknown_errors_are_indeterminate() {
    for (status, body) in [
        (400, r#"{"error":"novel"}"#),
        (400, r#"{"message":"Invalid refresh token"}"#),
        (401, "<html>"),
        (403, ""),
        (418, "{}"),
    ] {
        let failure = refresh("", status, body).await;
        assert_eq!(failure.class, FailureClass::Indeterminate);
        assert_eq!(failure.error.kind(), &ErrorKind::ProviderReplyInvalid);
    }
}

#[tokio::test]
async fn the_providers_rules_come_first_in_order_and_by_phase() {
    let spec = "
        [[errors]]
        status = [401]
        class = 'throttled'
        [[errors]]
        phase = 'refresh'
        equals = 'invalid_request'
        class = 'invalid_grant'
        [[errors]]
        ptr = '/message'
        regex = '(?i)invalid refresh token'
        class = 'invalid_grant'
        [[errors]]
        equals = 'invalid_request'
        class = 'denied'
        [[errors]]
        ptr = '/errors/0/code'
        class = 'interaction_required'
    ";
    let cases = [
        (401, r#"{"error":"invalid_grant"}"#, FailureClass::Throttled(None)),
        (400, r#"{"error":"invalid_request"}"#, FailureClass::InvalidGrant),
        (400, r#"{"message":"Invalid Refresh token."}"#, FailureClass::InvalidGrant),
        (400, r#"{"errors":[{"code":7}]}"#, FailureClass::InteractionRequired),
        (400, r#"{"errors":[{"code":null}]}"#, FailureClass::Indeterminate),
        (400, r#"{"error":"invalid_client"}"#, FailureClass::ClientMisconfigured),
    ];
    for (status, body, class) in cases {
        assert_eq!(refresh(spec, status, body).await.class, class, "{body}");
    }
    let failure = exchange(spec, 400, r#"{"error":"invalid_request"}"#).await;
    assert_eq!(failure.error.kind(), &ErrorKind::Denied);
}
