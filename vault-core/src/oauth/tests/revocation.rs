use std::time::Duration;

use http::Method;

use crate::error::ErrorKind;
use crate::http::{HttpError, HttpErrorKind};
use crate::oauth::testing::{Fixture, assert_mute};
use crate::oauth::{FailureClass, RevokeOutcome, RevokeTokens};
use crate::secret::{ClientSecret, SecretString};

fn shape(shape: &str) -> String {
    format!("[revoke]\nshape = '{shape}'")
}

#[tokio::test]
async fn rfc7009_sends_the_refresh_token_with_client_authentication() {
    let fixture = Fixture::new("");
    fixture.reply(200, "text/plain", "OK");
    assert_eq!(fixture.revoke().await.expect("revoked"), RevokeOutcome::Revoked);
    let seen = fixture.only();
    assert_eq!((seen.method.clone(), seen.url.as_str()), (Method::POST, "https://as.test/revoke"));
    assert_eq!(seen.body, "token=canary-refresh&token_type_hint=refresh_token");
    assert_eq!(seen.header("authorization"), Some("Basic aWQ6c2VjcmV0"));
}

#[tokio::test]
async fn which_tokens_are_sent() {
    for (which, expected) in [
        ("refresh", vec!["canary-refresh"]),
        ("access", vec!["canary-access"]),
        ("both", vec!["canary-refresh", "canary-access"]),
    ] {
        let fixture = Fixture::replying(&format!("[revoke]\nwhich = '{which}'"), 200, "");
        fixture.reply(200, "text/plain", "");
        fixture.revoke().await.expect("revoked");
        let sent: Vec<String> = fixture.seen().iter().map(|seen| seen.form()["token"].clone()).collect();
        assert_eq!(sent, expected);
    }
    let fixture = Fixture::new("");
    let none = RevokeTokens { access: None, refresh: None };
    let outcome = fixture.client().revoke(none).await.expect("nothing to do");
    assert_eq!(outcome, RevokeOutcome::Revoked);
}

#[tokio::test]
async fn google_wants_no_client_authentication() {
    let fixture = Fixture::replying(&shape("rfc7009_noauth"), 200, "{}");
    assert_eq!(fixture.revoke().await.expect("revoked"), RevokeOutcome::Revoked);
    let seen = fixture.only();
    assert_eq!(seen.body, "token=canary-refresh&token_type_hint=refresh_token");
    assert_eq!(seen.header("authorization"), None);

    fixture.reply(400, "application/json", r#"{"error":"invalid_token","error_description":"canary"}"#);
    assert_eq!(fixture.revoke().await.expect("dead already"), RevokeOutcome::Revoked);
}

#[tokio::test]
async fn v01_failures_leave_the_revocation_owed() {
    for status in [408, 429, 500, 503] {
        for body in ["", r#"{"error":"invalid_token"}"#] {
            let fixture = Fixture::new("");
            fixture.reply_with(status, &[("retry-after", "9")], body);
            let failure = fixture.revoke().await.expect_err("not revoked");
            assert_eq!(failure.error.kind(), &ErrorKind::ProviderUnavailable);
            assert_eq!(failure.error.retry_after(), Some(Duration::from_secs(9)));
        }
    }
    let failure = Fixture::new("").impatient().revoke().await.expect_err("timed out");
    assert_eq!(failure.error.to_string(), "revocation request timed out");
    let fixture = Fixture::new("");
    fixture.fail(HttpError::not_sent(HttpErrorKind::Connect, "as.test"));
    let failure = fixture.revoke().await.expect_err("no connection");
    assert_eq!(failure.class, FailureClass::NotSent);
}

#[tokio::test]
async fn v02_unknown_tokens_are_revoked() {
    for error in ["invalid_token", "invalid_grant", "token_revoked"] {
        let fixture = Fixture::replying("", 400, &format!(r#"{{"error":"{error}"}}"#));
        assert_eq!(fixture.revoke().await.expect("dead already"), RevokeOutcome::Revoked);
    }
    let fixture = Fixture::replying("[revoke]\nsuccess = [404]", 404, "<html>");
    assert_eq!(fixture.revoke().await.expect("dead already"), RevokeOutcome::Revoked);
}

#[tokio::test]
async fn v03_what_cannot_be_revoked_says_so() {
    let fixture = Fixture::new(&shape("none"));
    assert_eq!(fixture.revoke().await.expect("final"), RevokeOutcome::Unsupported);
    let mut fixture = Fixture::new("");
    fixture.endpoints.revoke = None;
    assert_eq!(fixture.revoke().await.expect("final"), RevokeOutcome::Unsupported);
    let fixture = Fixture::replying("", 400, r#"{"error":"unsupported_token_type"}"#);
    assert_eq!(fixture.revoke().await.expect("final"), RevokeOutcome::Unsupported);
}

#[tokio::test]
async fn v08_a_failure_shows_nothing_of_the_token() {
    for status in [302, 400, 401, 403, 500] {
        let fixture = Fixture::replying("", status, r#"{"error":"canary-refresh","x":"canary-access"}"#);
        assert_mute(&fixture.revoke().await.expect_err("not revoked"));
    }
}

#[tokio::test]
async fn a_refused_client_gets_a_second_secret() {
    let mut fixture = Fixture::replying("", 401, r#"{"error":"invalid_client"}"#);
    fixture.secrets.push(ClientSecret::new("next"));
    fixture.reply(200, "text/plain", "");
    assert_eq!(fixture.revoke().await.expect("revoked"), RevokeOutcome::Revoked);

    let fixture = Fixture::replying("", 401, r#"{"error":"invalid_client"}"#);
    let failure = fixture.revoke().await.expect_err("refused");
    assert_eq!(failure.class, FailureClass::ClientMisconfigured);
}

#[tokio::test]
async fn slack_revokes_with_the_token_itself() {
    let fixture = Fixture::replying(&shape("post_bearer"), 200, r#"{"ok":true,"revoked":true}"#);
    assert_eq!(fixture.revoke().await.expect("revoked"), RevokeOutcome::Revoked);
    let seen = fixture.only();
    assert_eq!((seen.method.clone(), seen.body.as_str()), (Method::POST, ""));
    assert_eq!(seen.header("authorization"), Some("Bearer canary-access"));
    assert!(seen.headers["authorization"].is_sensitive());

    for error in ["token_revoked", "invalid_auth", "account_inactive"] {
        fixture.reply(200, "application/json", format!(r#"{{"ok":false,"error":"{error}"}}"#));
        assert_eq!(fixture.revoke().await.expect("dead already"), RevokeOutcome::Revoked);
    }
    fixture.reply(200, "application/json", r#"{"ok":false,"error":"ratelimited"}"#);
    let failure = fixture.revoke().await.expect_err("throttled");
    assert_eq!(failure.class, FailureClass::Throttled(None));
    fixture.reply(200, "application/json", r#"{"ok":false}"#);
    assert!(fixture.revoke().await.is_err());
}

#[tokio::test]
async fn bearer_shapes_take_401_for_dead() {
    for name in ["post_bearer", "delete_bearer"] {
        let fixture = Fixture::replying(&shape(name), 401, "");
        assert_eq!(fixture.revoke().await.expect("dead already"), RevokeOutcome::Revoked);
    }
    let fixture = Fixture::replying(&shape("delete_bearer"), 204, "");
    fixture.revoke().await.expect("revoked");
    assert_eq!(fixture.only().method, Method::DELETE);
}

#[tokio::test]
async fn a_living_grant_is_not_called_revoked_for_want_of_an_access_token() {
    let fixture = Fixture::new(&shape("post_bearer"));
    let tokens = RevokeTokens { access: None, refresh: Some(&SecretString::new("canary-refresh")) };
    let outcome = fixture.client().revoke(tokens).await.expect("nothing sent");
    assert_eq!(outcome, RevokeOutcome::Unsupported);
}

#[tokio::test]
async fn github_deletes_with_basic_and_json() {
    let mut fixture = Fixture::replying(&shape("delete_basic_json"), 204, "");
    fixture.endpoints.revoke = "https://api.test/applications/id/grant".parse().ok();
    assert_eq!(fixture.revoke().await.expect("revoked"), RevokeOutcome::Revoked);
    let seen = fixture.only();
    assert_eq!(
        (seen.method.clone(), seen.body.as_str()),
        (Method::DELETE, r#"{"access_token":"canary-access"}"#)
    );
    assert_eq!(seen.header("authorization"), Some("Basic aWQ6c2VjcmV0"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
}
