use serde_json::json;

use crate::error::ErrorKind;
use crate::oauth::testing::Fixture;
use crate::oauth::{Account, TokenReply, account_from_claims};
use crate::provider::spec::Spec;

const USERINFO: &str = "
    [identity]
    source = 'userinfo'
    id = ['/id']
    name = ['/nick', '/login']
    needs_scopes = ['read:user', 'user']
    call = { headers = { Accept = 'application/vnd.github+json' } }
    [present]
    scheme = 'OAuth'
    extra_headers = { Client-Id = '{client_id}' }
";

async fn reply(fixture: &Fixture, body: serde_json::Value) -> TokenReply {
    let reply = json!({ "access_token": "178.at", "token_type": "bearer", "extra": body });
    fixture.reply(200, "application/json", reply.to_string());
    fixture.refresh().await.expect("tokens")
}

#[tokio::test]
async fn userinfo_is_asked_with_the_token_as_the_provider_wants_it() {
    let fixture = Fixture::new(USERINFO);
    let tokens = reply(&fixture, json!({})).await;
    fixture.reply(200, "application/json", r#"{"id":583231,"email":null,"login":"octocat"}"#);
    let account = fixture.client().account(&tokens, &["user".into()]).await.expect("an answer");
    let expected = Account { id: "583231".into(), email: None, name: Some("octocat".into()) };
    assert_eq!(account, Some(expected));
    let seen = &fixture.seen()[1];
    assert_eq!(seen.url, "https://as.test/userinfo");
    assert_eq!(seen.header("authorization"), Some("OAuth 178.at"));
    assert_eq!(seen.header("client-id"), Some("id"));
    assert_eq!(seen.header("accept"), Some("application/vnd.github+json"));
}

#[tokio::test]
async fn userinfo_is_not_asked_without_a_scope_that_allows_it() {
    let fixture = Fixture::new(USERINFO);
    let tokens = reply(&fixture, json!({})).await;
    let account = fixture.client().account(&tokens, &["repo".into()]).await;
    assert_eq!(account.expect("no question"), None);
    assert_eq!(fixture.seen().len(), 1);
}

#[tokio::test]
async fn userinfo_failures_are_errors_without_a_body() {
    for (status, body, kind) in [
        (401, r#"{"message":"canary"}"#, ErrorKind::ProviderReplyInvalid),
        (200, r#"{"login":"canary"}"#, ErrorKind::ProviderReplyInvalid),
        (200, r#"{"id":"a\nb"}"#, ErrorKind::ProviderReplyInvalid),
        (200, "<html>canary", ErrorKind::ProviderReplyInvalid),
        (302, "canary", ErrorKind::ProviderReplyInvalid),
        (503, "canary", ErrorKind::ProviderUnavailable),
    ] {
        let fixture = Fixture::new(USERINFO);
        let tokens = reply(&fixture, json!({})).await;
        fixture.reply(status, "application/json", body);
        let error = fixture.client().account(&tokens, &["user".into()]).await.expect_err("failed");
        assert_eq!(error.kind(), &kind);
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[tokio::test]
async fn graphql_questions_are_posted() {
    let spec = "
        [identity]
        source = 'graphql'
        root = '/data/viewer'
        id = ['/id']
        call = { body = '{ viewer { id } }' }
    ";
    let fixture = Fixture::new(spec);
    let tokens = reply(&fixture, json!({})).await;
    fixture.reply(200, "application/json", r#"{"data":{"viewer":{"id":"L1","email":"a@b.test"}}}"#);
    let account = fixture.client().account(&tokens, &[]).await.expect("an answer").expect("an account");
    assert_eq!((account.id.as_str(), account.email.as_deref()), ("L1", Some("a@b.test")));
    assert_eq!(fixture.seen()[1].body, r#"{"query":"{ viewer { id } }"}"#);
}

#[tokio::test]
async fn identities_that_come_with_the_tokens() {
    let in_reply = Fixture::new("identity = { source = 'token_response', id = ['/extra/user/id'] }");
    let tokens = reply(&in_reply, json!({ "user": { "id": 7 } })).await;
    let account = in_reply.client().account(&tokens, &[]).await.expect("an answer");
    assert_eq!(account.expect("an account").id, "7");
    let tokens = reply(&in_reply, json!({})).await;
    assert!(in_reply.client().account(&tokens, &[]).await.is_err());

    let in_prefix = Fixture::new("identity = { source = 'token_prefix' }");
    let account = in_prefix.client().account(&tokens, &[]).await.expect("an answer");
    assert_eq!(account.expect("an account").id, "178");

    let elsewhere = Fixture::new("identity = { source = 'id_token' }");
    assert_eq!(elsewhere.client().account(&tokens, &[]).await.expect("an answer"), None);
}

#[test]
fn claims_make_an_account() {
    let claims = json!({ "sub": "1", "email": "a@b.test", "name": "" });
    let account = account_from_claims(&Spec::default(), &claims).expect("an account");
    assert_eq!((account.email.as_deref(), account.name), (Some("a@b.test"), None));
    assert_eq!(account_from_claims(&Spec::default(), &json!({ "sub": "x".repeat(513) })), None);
    assert_eq!(account_from_claims(&Spec::default(), &json!({ "sub": {} })), None);
}
