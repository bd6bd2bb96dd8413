use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Method;
use serde_json::{Value, json};

use crate::error::ErrorKind;
use crate::oauth::FailureClass;
use crate::oauth::testing::{Fixture, assert_mute};
use crate::provider::spec::ClientAuthKind;
use crate::secret::ClientSecret;

const OK: &str = r#"{"access_token":"at","token_type":"Bearer"}"#;
const AWKWARD: &str = "a:b%c+d e/\u{e9}";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
    pairs.iter().map(own).collect()
}

fn basic(seen: &str) -> String {
    let text = seen.strip_prefix("Basic ").expect("basic");
    String::from_utf8(BASE64_STANDARD.decode(text).expect("base64")).expect("text")
}

#[tokio::test]
async fn the_plain_exchange_is_the_rfcs() {
    let fixture = Fixture::replying("", 200, OK);
    fixture.exchange_one().await.expect("tokens");
    let seen = fixture.only();
    assert_eq!((seen.method.clone(), seen.url.as_str()), (Method::POST, "https://as.test/token"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(basic(seen.header("authorization").expect("credentials")), "id:secret");
    assert!(seen.headers["authorization"].is_sensitive());
    let expected = [
        ("code", "the-code"),
        ("code_verifier", "the-verifier"),
        ("grant_type", "authorization_code"),
        ("redirect_uri", "https://app.test/cb"),
    ];
    assert_eq!(seen.form(), map(&expected));
}

#[tokio::test]
async fn the_plain_refresh_is_the_rfcs() {
    let fixture = Fixture::replying("", 200, OK);
    fixture.refresh().await.expect("tokens");
    let expected = [("grant_type", "refresh_token"), ("refresh_token", "canary-old-refresh")];
    assert_eq!(fixture.only().form(), map(&expected));
}

#[tokio::test]
async fn h04_basic_credentials_are_form_encoded_before_base64() {
    let mut fixture = Fixture::replying("", 200, OK);
    fixture.client_id = "i:d".into();
    fixture.secrets = vec![ClientSecret::new(AWKWARD)];
    fixture.exchange().await.expect("tokens");
    let sent = basic(fixture.only().header("authorization").expect("credentials"));
    assert_eq!(sent, "i%3Ad:a%3Ab%25c%2Bd+e%2F%C3%A9");
}

#[tokio::test]
async fn h04_raw_basic_is_base64_alone() {
    let mut fixture = Fixture::replying("[client_auth]\nkinds = ['basic_raw']", 200, OK);
    fixture.secrets = vec![ClientSecret::new(AWKWARD)];
    fixture.exchange().await.expect("tokens");
    let seen = fixture.only();
    let sent = basic(seen.header("authorization").expect("credentials"));
    assert_eq!(sent, format!("id:{AWKWARD}"));
    assert!(!seen.form().contains_key("client_id"));
}

#[tokio::test]
async fn credentials_in_the_body_may_have_other_names() {
    let spec = "[client_auth]\nkinds = ['post']\nrename = { client_id = 'client_key' }";
    let fixture = Fixture::replying(spec, 200, OK);
    fixture.refresh().await.expect("tokens");
    let seen = fixture.only();
    assert_eq!(seen.header("authorization"), None);
    let form = seen.form();
    assert_eq!((form["client_key"].as_str(), form["client_secret"].as_str()), ("id", "secret"));
    assert!(!form.contains_key("client_id"));
}

#[tokio::test]
async fn public_clients_name_themselves_in_the_body() {
    for kind in [ClientAuthKind::Basic, ClientAuthKind::None] {
        let mut fixture = Fixture::replying("", 200, OK);
        fixture.auth = kind;
        if kind == ClientAuthKind::Basic {
            fixture.secrets.clear();
        }
        fixture.exchange().await.expect("tokens");
        let seen = fixture.only();
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(seen.form()["client_id"], "id");
        assert!(!seen.form().contains_key("client_secret"));
    }
}

#[tokio::test]
async fn json_bodies() {
    let spec = "[client_auth]\nkinds = ['json']\n[exchange.headers]\nNotion-Version = '2022-06-28'";
    let fixture = Fixture::replying(spec, 200, OK);
    fixture.exchange().await.expect("tokens");
    let seen = fixture.only();
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("notion-version"), Some("2022-06-28"));
    let expected = json!({
        "client_id": "id", "client_secret": "secret", "code": "the-code", "code_verifier": "the-verifier",
        "grant_type": "authorization_code", "redirect_uri": "https://app.test/cb",
    });
    assert_eq!(serde_json::from_str::<Value>(&seen.body).expect("JSON"), expected);
}

#[tokio::test]
async fn the_provider_may_demand_get_with_everything_in_the_query() {
    let spec = "
        client_auth = { kinds = ['query'], rename = { client_id = 'appid', client_secret = 'secret' } }
        response = { token_type = 'any' }
        [refresh]
        method = 'get'
        rename = { client_secret = '' }
    ";
    let fixture = Fixture::replying(spec, 200, OK);
    fixture.refresh().await.expect("tokens");
    let seen = fixture.only();
    assert_eq!(seen.method, Method::GET);
    let expected = "https://as.test/token?grant_type=refresh_token&refresh_token=canary-old-refresh&appid=id";
    assert_eq!(seen.url, expected);
    assert_eq!((seen.body.as_str(), seen.header("content-type")), ("", None));
}

#[tokio::test]
async fn h07_query_credentials_leave_the_rest_in_the_body() {
    let fixture = Fixture::replying("[client_auth]\nkinds = ['query']", 200, OK);
    fixture.exchange().await.expect("tokens");
    let seen = fixture.only();
    assert_eq!(seen.url, "https://as.test/token?client_id=id&client_secret=secret");
    assert_eq!(seen.form()["code"], "the-code");
}

#[tokio::test]
async fn h07_a_secret_does_not_slip_into_a_url() {
    let spec = "client_auth = { kinds = ['post'] }\nexchange = { body = 'query' }";
    let fixture = Fixture::new(spec);
    let failure = fixture.exchange().await.expect_err("refused");
    assert_eq!(failure.class, FailureClass::NotSent);
    assert_eq!(failure.error.to_string(), "the client secret would stand in a URL");
    assert!(fixture.seen().is_empty());
}

#[tokio::test]
async fn h07_no_url_of_an_ordinary_provider_carries_a_secret() {
    for kind in ["basic", "basic_raw", "post", "json", "none"] {
        let fixture = Fixture::replying(&format!("[client_auth]\nkinds = ['{kind}']"), 200, OK);
        fixture.reply(200, "application/json", OK);
        fixture.reply(200, "application/json", "");
        fixture.exchange().await.expect("tokens");
        fixture.refresh().await.expect("tokens");
        fixture.revoke().await.expect("revoked");
        assert!(fixture.seen().iter().all(|seen| !seen.url.contains('?')));
    }
}

#[tokio::test]
async fn own_parameters_come_from_where_the_provider_says() {
    let spec = "
        [authorize]
        resource = 'https://api.test/'
        scope = { separator = ',', required_for_refresh = ['offline'] }
        [exchange]
        send_scope = 'all'
        params = { action = 'requesttoken', state = { from = 'state' }, device_id = { from = 'callback.dev' } }
        [refresh]
        send_scope = 'subset'
        send_redirect_uri = true
        rename = { refresh_token = 'access_token' }
        params = { grant_type = 'ig_refresh_token', device_id = { from = 'conn.device' } }
    ";
    let mut fixture = Fixture::replying(spec, 200, OK);
    fixture.callback = map(&[("dev", "d-0")]);
    fixture.exchange().await.expect("tokens");
    let sent = fixture.only().form();
    let pairs = ["action", "state", "device_id", "scope", "resource"].map(|name| sent[name].as_str());
    assert_eq!(pairs, ["requesttoken", "the-state", "d-0", "read,write,offline", "https://api.test/"]);

    fixture.reply(200, "application/json", OK);
    fixture.refresh().await.expect("tokens");
    let expected = [
        ("access_token", "canary-old-refresh"),
        ("device_id", "d-1"),
        ("grant_type", "ig_refresh_token"),
        ("redirect_uri", "https://app.test/cb"),
        ("resource", "https://api.test/"),
        ("scope", "offline"),
    ];
    assert_eq!(fixture.seen()[1].form(), map(&expected));
}

#[tokio::test]
async fn a_parameter_without_a_value_stops_the_request() {
    let fixture = Fixture::new("[exchange.params]\ndevice_id = { from = 'callback.dev' }");
    let failure = fixture.exchange().await.expect_err("no value");
    assert_eq!((failure.class, failure.error.kind()), (FailureClass::NotSent, &ErrorKind::InvalidConfig));
    assert_eq!(failure.error.to_string(), "no value for token parameter device_id");
}

#[tokio::test]
async fn refreshing_may_have_an_endpoint_and_a_credential_of_its_own() {
    let spec = "[refresh_policy]\ncredential = 'client_credentials'";
    let mut fixture = Fixture::replying(spec, 200, OK);
    fixture.endpoints.refresh = Some("https://as.test/refresh".parse().expect("valid URL"));
    fixture.refresh().await.expect("tokens");
    let seen = fixture.only();
    assert_eq!(seen.url, "https://as.test/refresh");
    assert_eq!(seen.form(), map(&[("grant_type", "client_credentials")]));

    let fixture = Fixture::new("[refresh_policy]\ncredential = 'none'");
    let failure = fixture.refresh().await.expect_err("nothing to refresh with");
    assert_eq!(failure.class, FailureClass::NotSent);
}

#[tokio::test]
async fn the_next_secret_is_tried_once_after_invalid_client() {
    let mut fixture = Fixture::replying("", 401, r#"{"error":"invalid_client"}"#);
    fixture.secrets = ["one", "two"].map(ClientSecret::new).into();
    fixture.reply(200, "application/json", OK);
    fixture.refresh().await.expect("tokens");
    let sent: Vec<String> = fixture
        .seen()
        .iter()
        .map(|seen| seen.header("authorization").map(basic))
        .map(Option::unwrap_or_default)
        .collect();
    assert_eq!(sent, ["id:one", "id:two"]);

    fixture.reply(401, "application/json", r#"{"error":"invalid_client"}"#);
    fixture.reply(401, "application/json", r#"{"error":"invalid_client"}"#);
    let failure = fixture.refresh().await.expect_err("both refused");
    assert_eq!(failure.class, FailureClass::ClientMisconfigured);
    assert_eq!(fixture.seen().len(), 4);
}

#[tokio::test]
async fn no_other_error_is_answered_with_the_next_secret() {
    for error in ["invalid_grant", "redirect_uri_mismatch", "unauthorized_client", "server_error"] {
        let mut fixture = Fixture::replying("", 400, &json!({ "error": error }).to_string());
        fixture.secrets.push(ClientSecret::new("next"));
        let failure = fixture.refresh().await.expect_err("refused");
        assert_mute(&failure);
        assert_eq!(fixture.seen().len(), 1, "{error}");
    }
}

#[tokio::test]
async fn client_authentication_that_is_not_built_is_refused() {
    let fixture = Fixture::new("[client_auth]\nkinds = ['mtls']");
    let failure = fixture.refresh().await.expect_err("unsupported");
    assert_eq!((failure.class, failure.error.kind()), (FailureClass::NotSent, &ErrorKind::InvalidConfig));
}
