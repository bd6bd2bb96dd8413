use std::time::Duration;

use serde_json::json;

use crate::error::ErrorKind;
use crate::oauth::testing::{Fixture, NOW, assert_mute};
use crate::oauth::{Failure, FailureClass, TokenReply};

async fn refreshed(spec: &str, body: &str) -> Result<TokenReply, Failure> {
    Fixture::replying(spec, 200, body).refresh().await
}

/// What every reply that is no token reply does: the grant stays as it is.
async fn malformed(spec: &str, body: impl AsRef<[u8]>) -> String {
    let fixture = Fixture::new(spec);
    fixture.reply(200, "application/json", body);
    let failure = fixture.refresh().await.expect_err("malformed");
    assert_mute(&failure);
    assert_eq!(failure.class, FailureClass::Indeterminate);
    assert_eq!(failure.error.kind(), &ErrorKind::ProviderReplyInvalid);
    failure.error.to_string()
}

fn scopes(reply: &TokenReply) -> Option<Vec<&str>> {
    Some(reply.scopes.as_ref()?.iter().map(String::as_str).collect())
}

#[tokio::test]
async fn a_full_reply_is_read_whole() {
    let body = json!({
        "access_token": "at", "refresh_token": "rt", "token_type": "Bearer", "expires_in": 3600,
        "refresh_token_expires_in": 7200, "scope": "b a  b", "id_token": "x.y.z", "unknown": {"more": []},
    });
    let reply = Fixture::replying("", 200, &body.to_string()).exchange_one().await.expect("tokens");
    assert_eq!(reply.access_token.expose_secret(), "at");
    assert_eq!(reply.refresh_token.as_ref().map(|token| token.expose_secret()), Some("rt"));
    assert_eq!(reply.id_token.as_ref().map(|token| token.expose_secret()), Some("x.y.z"));
    assert_eq!(reply.expires_at, Some(NOW.saturating_add(Duration::from_secs(3600))));
    assert_eq!(reply.refresh_expires_at, Some(NOW.saturating_add(Duration::from_secs(7200))));
    assert_eq!(reply.earliest_refresh_at, None);
    assert_eq!(scopes(&reply), Some(vec!["b", "a"]));
    assert_eq!(reply.body.0, body);
    assert!(!format!("{reply:?}").contains("rt\""));
}

#[tokio::test]
async fn t03_without_a_usable_access_token_there_is_no_success() {
    for token in ["", r#""access_token":"","#, r#""access_token":null,"#, r#""access_token":7,"#] {
        let message =
            malformed("", format!(r#"{{{token}"token_type":"Bearer","refresh_token":"canary"}}"#)).await;
        assert_eq!(message, "malformed token response: access_token");
    }
}

#[tokio::test]
async fn t04_t05_no_empty_and_null_refresh_tokens_are_no_refresh_token() {
    for token in ["", r#""refresh_token":"","#, r#""refresh_token":null,"#] {
        let reply = refreshed("", &format!(r#"{{{token}"access_token":"at","token_type":"bearer"}}"#)).await;
        assert!(reply.expect("tokens").refresh_token.is_none());
    }
    let message = malformed("", r#"{"access_token":"at","token_type":"bearer","refresh_token":1}"#).await;
    assert_eq!(message, "malformed token response: refresh_token");
    let strict = "[refresh_policy]\nabsent_in_reply = 'error'";
    let message = malformed(strict, r#"{"access_token":"at","token_type":"bearer"}"#).await;
    assert_eq!(message, "malformed token response: refresh_token");
}

#[tokio::test]
async fn t07_forms_are_read_only_where_the_provider_says_so() {
    const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
    let body = "access_token=canary-at&token_type=bearer&expires_in=60&scope=repo%2Cgist";
    let fixture = Fixture::new("");
    fixture.reply(200, FORM, body);
    let failure = fixture.refresh().await.expect_err("no JSON");
    assert_mute(&failure);
    assert_eq!(failure.error.to_string(), "malformed token response: content type");
    assert_eq!(malformed("", body).await, "malformed token response: body");

    let fixture = Fixture::new("[response]\ncontent = 'form'\nscope_form = 'comma'");
    fixture.reply(200, FORM, body);
    let reply = fixture.refresh().await.expect("tokens");
    assert_eq!(reply.access_token.expose_secret(), "canary-at");
    assert_eq!(reply.expires_at, Some(NOW.saturating_add(Duration::from_secs(60))));
    assert_eq!(scopes(&reply), Some(vec!["repo", "gist"]));

    fixture.reply(200, FORM, "access_token=a&access_token=b&token_type=bearer");
    assert!(fixture.refresh().await.is_err(), "doubled field");
}

#[tokio::test]
async fn t08_an_html_page_is_no_reply() {
    for content_type in ["text/html", "application/json"] {
        let fixture = Fixture::new("");
        fixture.reply(200, content_type, "<html>canary: please log in to the Wi-Fi</html>");
        let failure = fixture.refresh().await.expect_err("no JSON");
        assert_mute(&failure);
        assert_eq!(failure.class, FailureClass::Indeterminate);
        assert_eq!(failure.error.kind(), &ErrorKind::ProviderReplyInvalid);
    }
}

#[tokio::test]
async fn t11_truncated_replies() {
    let whole = r#"{"access_token":"canary","refresh_token":"canary","token_type":"Bearer"}"#;
    for end in 0..whole.len() {
        assert_eq!(malformed("", &whole[..end]).await, "malformed token response: body");
    }
}

#[tokio::test]
async fn t12_duplicate_keys() {
    let body =
        r#"{"access_token":"a","refresh_token":"canary1","refresh_token":"canary2","token_type":"Bearer"}"#;
    assert_eq!(malformed("", body).await, "malformed token response: body");
}

#[tokio::test]
async fn t13_deep_nesting() {
    let body = format!(r#"{{"access_token":{}"#, "[".repeat(100_000));
    assert_eq!(malformed("", body).await, "malformed token response: body");
}

#[tokio::test]
async fn t14_bytes_that_no_token_has() {
    for bad in ["canary\\u0000", "canary\\n", "canary\\r\\nX: y", "canary\\u007f", "canary\u{e9}"] {
        for field in ["access_token", "refresh_token", "id_token"] {
            let other = if field == "access_token" { "x" } else { "access_token" };
            let body = format!(r#"{{"{field}":"{bad}","{other}":"at","token_type":"Bearer"}}"#);
            assert_eq!(malformed("", body).await, format!("malformed token response: {field}"));
        }
    }
    let bom = b"\xef\xbb\xbf{\"access_token\":\"canary\",\"token_type\":\"Bearer\"}";
    assert_eq!(malformed("", bom).await, "malformed token response: body");
    let utf8 = b"{\"access_token\":\"canary\xff\",\"token_type\":\"Bearer\"}";
    assert_eq!(malformed("", utf8).await, "malformed token response: body");
}

#[tokio::test]
async fn t15_token_types() {
    let body = |token_type: &str| format!(r#"{{"access_token":"at"{token_type}}}"#);
    let (optional, any) = ("[response]\ntoken_type = 'optional'", "[response]\ntoken_type = 'any'");
    let (upper, mac) = (r#","token_type":"BEARER""#, r#","token_type":"mac""#);
    for spec in ["", optional, any] {
        assert!(refreshed(spec, &body(upper)).await.is_ok());
    }
    assert_eq!(malformed("", body("")).await, "malformed token response: token_type");
    assert!(refreshed(optional, &body("")).await.is_ok());
    assert!(refreshed(any, &body("")).await.is_ok());
    assert_eq!(malformed("", body(mac)).await, "unsupported token type");
    assert_eq!(malformed(optional, body(mac)).await, "unsupported token type");
    assert!(refreshed(any, &body(mac)).await.is_ok());
}

#[tokio::test]
async fn t16_granted_scopes_in_every_form() {
    let cases = [
        ("", r#""a b""#, Some(vec!["a", "b"])),
        ("", "null", None),
        ("", r#""""#, None),
        ("comma", r#""a,b""#, Some(vec!["a", "b"])),
        ("comma", r#""a, b""#, Some(vec!["a", "b"])),
        ("space_or_comma", r#""a b,c""#, Some(vec!["a", "b", "c"])),
        ("array", r#"["a","b"]"#, Some(vec!["a", "b"])),
        ("array", "[]", None),
        ("from_callback", r#""a""#, None),
    ];
    for (form, scope, expected) in cases {
        let spec = if form.is_empty() { String::new() } else { format!("[response]\nscope_form = '{form}'") };
        let body = format!(r#"{{"access_token":"at","token_type":"bearer","scope":{scope}}}"#);
        let reply = refreshed(&spec, &body).await.expect("tokens");
        assert_eq!(scopes(&reply), expected, "{form} {scope}");
    }
    for scope in ["7", "[1]", r#""a\nb""#] {
        let body = format!(r#"{{"access_token":"at","token_type":"bearer","scope":{scope}}}"#);
        assert_eq!(malformed("", body).await, "malformed token response: scope");
    }
}

#[tokio::test]
async fn t16_scopes_may_be_granted_in_the_callback() {
    let spec = "callback = { granted_scope_param = 'scope' }\nresponse = { scope_form = 'from_callback' }";
    let mut fixture = Fixture::replying(spec, 200, r#"{"access_token":"at","token_type":"bearer"}"#);
    fixture.callback.insert("scope".into(), "read,activity:read_all".into());
    let reply = fixture.exchange_one().await.expect("tokens");
    assert_eq!(scopes(&reply), Some(vec!["read", "activity:read_all"]));
}

#[tokio::test]
async fn t23_the_same_refresh_token_is_taken_like_any_other() {
    let body = r#"{"access_token":"at","token_type":"bearer","refresh_token":"canary-old-refresh"}"#;
    let reply = refreshed("", body).await.expect("tokens");
    assert_eq!(reply.refresh_token.expect("a token").expose_secret(), "canary-old-refresh");
}

#[tokio::test]
async fn t24_long_tokens_are_kept_and_longer_ones_refused() {
    let body =
        |length: usize| json!({ "access_token": "c".repeat(length), "token_type": "bearer" }).to_string();
    for length in [8 * 1024, 16 * 1024] {
        let reply = refreshed("", &body(length)).await.expect("tokens");
        assert_eq!(reply.access_token.expose_secret().len(), length);
    }
    assert_eq!(malformed("", body(16 * 1024 + 1)).await, "token too large: access_token");
}

const SLACK: &str = "
    [response]
    root = '/authed_user'
    ok = { ptr = '/ok', equals = true }
    scope_form = 'comma'
    token_type = 'any'
    [response.roots_by_kind]
    bot = ''
    [response.capture]
    '/team/id' = { field = 'team_id', required = true }
    '/incoming_webhook/url' = { field = 'webhook', secret = true }
";

#[tokio::test]
async fn slack_answers_with_a_user_and_a_bot() {
    let body = json!({
        "ok": true, "access_token": "xoxb", "token_type": "bot", "scope": "commands,incoming-webhook",
        "team": {"id": "T1"}, "incoming_webhook": {"url": "https://hooks.test/canary"},
        "authed_user": {
            "id": "U1", "access_token": "xoxe.xoxp", "refresh_token": "xoxe-1", "token_type": "user",
            "scope": "chat:write,users:read", "expires_in": 43200,
        },
    });
    let grants = Fixture::replying(SLACK, 200, &body.to_string()).exchange().await.expect("tokens");
    let [user, bot] = grants.as_slice() else { panic!("two grants") };
    assert_eq!((user.slot.as_deref(), bot.slot.as_deref()), (None, Some("bot")));
    assert_eq!(user.reply.access_token.expose_secret(), "xoxe.xoxp");
    assert_eq!(scopes(&user.reply), Some(vec!["chat:write", "users:read"]));
    assert_eq!(user.reply.expires_at, Some(NOW.saturating_add(Duration::from_secs(43200))));
    assert_eq!(user.reply.config["team_id"], "T1");
    assert_eq!(user.reply.secrets["webhook"].expose_secret(), "https://hooks.test/canary");
    assert_eq!(bot.reply.access_token.expose_secret(), "xoxb");
    assert!(bot.reply.refresh_token.is_none() && bot.reply.expires_at.is_none());
    assert!(!format!("{grants:?}").contains("canary"));
}

#[tokio::test]
async fn slack_refresh_replies_have_the_token_at_the_top() {
    let body = r#"{"ok":true,"access_token":"xoxe.new","refresh_token":"xoxe-2","token_type":"user"}"#;
    let reply = refreshed(SLACK, body).await.expect("tokens");
    assert_eq!(reply.access_token.expose_secret(), "xoxe.new");
    // What else is in there is nobody's business.
    let body = r#"{"ok":true,"access_token":7,"authed_user":{"access_token":"xoxe.new"}}"#;
    let reply = refreshed(SLACK, body).await.expect("tokens");
    assert_eq!(reply.access_token.expose_secret(), "xoxe.new");
}

#[tokio::test]
async fn the_wrong_kind_of_token_is_not_taken_for_the_right_one() {
    let body = r#"{"ok":true,"access_token":"xoxb","token_type":"bot","team":{"id":"T1"}}"#;
    let failure = Fixture::replying(SLACK, 200, body).exchange().await.expect_err("no user token");
    assert_eq!(failure.error.to_string(), "malformed token response: access_token");
    let required = r#"{"ok":true,"authed_user":{"access_token":"xoxp"}}"#;
    let failure = Fixture::replying(SLACK, 200, required).exchange().await.expect_err("no team");
    assert_eq!(failure.error.to_string(), "malformed token response: team_id");
}

#[tokio::test]
async fn without_a_root_the_first_kind_with_a_token_is_the_one() {
    let spec = "response = { token_type = 'any', roots_by_kind = { bot = '', user = '/authed_user' } }";
    let body = r#"{"authed_user":{"access_token":"xoxp"}}"#;
    let reply = Fixture::replying(spec, 200, body).exchange_one().await.expect("tokens");
    assert_eq!(reply.access_token.expose_secret(), "xoxp");
}

#[tokio::test]
async fn linkedin_separates_scopes_with_commas_and_may_leave_the_type_out() {
    let spec = "response = { scope_form = 'comma', token_type = 'optional' }";
    let body = r#"{"access_token":"AQ","expires_in":5184000,"refresh_token":"AR",
        "refresh_token_expires_in":31536000,"scope":"email,openid,w_member_social"}"#;
    let reply = refreshed(spec, body).await.expect("tokens");
    assert_eq!(scopes(&reply), Some(vec!["email", "openid", "w_member_social"]));
    assert_eq!(reply.refresh_expires_at, Some(NOW.saturating_add(Duration::from_secs(31_536_000))));
}

#[tokio::test]
async fn wrapped_and_oddly_labelled_replies() {
    let instagram = "response = { root = '/data', unwrap_first = true, token_type = 'optional' }";
    let body = r#"{"data":[{"access_token":"IG","user_id":178}]}"#;
    let reply = Fixture::replying(instagram, 200, body).exchange_one().await.expect("tokens");
    assert_eq!(reply.access_token.expose_secret(), "IG");

    let wechat = "[response]\ncontent = 'json_any_type'\ntoken_type = 'optional'\nok = { ptr = '/errcode', absent = true }";
    let fixture = Fixture::new(wechat);
    fixture.reply(200, "text/plain", r#"{"access_token":"WX","expires_in":7200}"#);
    assert!(fixture.refresh().await.is_ok());
}
