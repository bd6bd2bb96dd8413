use serde_json::{Value, json};

use super::super::cached::FAILURE;
use super::super::scripted::{Answer, ManualClock, ScriptedHttp};
use super::*;

mod lookup;

const ISSUER: &str = "https://id.example";
const PLACE: &str = "https://id.example/.well-known/oauth-authorization-server";
const TIMEOUT: Duration = Duration::from_secs(10);

struct Bench {
    http: Arc<ScriptedHttp>,
    clock: Arc<ManualClock>,
    discovery: Arc<Discovery>,
}

impl Bench {
    fn new() -> Self {
        let (http, clock) = (ScriptedHttp::new(), ManualClock::new());
        let discovery = Discovery::new(
            Arc::clone(&http) as Arc<dyn HttpClient>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            TIMEOUT,
        );
        let discovery = Arc::new(discovery);
        Self { http, clock, discovery }
    }

    /// A bench whose provider answers at the first place with `answer`.
    fn answering(answer: Answer) -> Self {
        let bench = Self::new();
        bench.http.answer(PLACE, answer);
        bench
    }

    async fn look_up(&self) -> Result<Arc<Metadata>, Error> {
        self.discovery.metadata(ISSUER, &spec::Discovery::default()).await
    }
}

fn document() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://id.example/authorize",
        "token_endpoint": "https://id.example/token",
        "revocation_endpoint": "https://id.example/revoke",
        "jwks_uri": "https://id.example/keys",
        "userinfo_endpoint": "https://id.example/me",
        "authorization_response_iss_parameter_supported": true,
        "code_challenge_methods_supported": ["S256"],
        "something_else": {"is": ["ignored"]},
    })
}

fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut document = document();
    document[field] = value.into();
    document
}

/// The outcome for one document, with `hosts` allowed besides the issuer's.
async fn outcome(document: &Value, hosts: &[&str]) -> Result<Arc<Metadata>, Error> {
    let bench = Bench::answering(Answer::json(document));
    let spec = spec::Discovery {
        endpoint_hosts: hosts.iter().map(ToString::to_string).collect(),
        ..spec::Discovery::default()
    };
    bench.discovery.metadata(ISSUER, &spec).await
}

#[tokio::test]
async fn a_document_is_read_with_the_defaults_of_rfc_8414() {
    let metadata = outcome(&document(), &[]).await.expect("a good document");
    assert_eq!(metadata.issuer, ISSUER);
    assert_eq!(metadata.token.as_ref().map(Url::as_str), Some("https://id.example/token"));
    assert_eq!(metadata.jwks.as_ref().map(Url::as_str), Some("https://id.example/keys"));
    assert!(metadata.sends_iss);
    assert_eq!(metadata.auth_methods, ["client_secret_basic"]);
    assert_eq!(metadata.pkce_methods, Some(vec!["S256".to_owned()]));
    assert_eq!(metadata.scopes_supported, None);

    let bare = outcome(&json!({"issuer": ISSUER}), &[]).await.expect("a good document");
    assert!(!bare.sends_iss);
    assert_eq!((&bare.token, &bare.pkce_methods), (&None, &None));
}

#[tokio::test]
async fn the_well_known_places_are_tried_in_order() {
    let bench = Bench::new();
    let issuer = "https://id.example/a/b/";
    let spec = spec::Discovery::default();
    let error = bench.discovery.metadata(issuer, &spec).await.expect_err("nothing is there");
    assert_eq!(error.kind(), &ErrorKind::ProviderUnavailable);
    let places = [
        "https://id.example/.well-known/oauth-authorization-server/a/b",
        "https://id.example/.well-known/openid-configuration/a/b",
        "https://id.example/a/b/.well-known/openid-configuration",
    ];
    assert_eq!(bench.http.requests(), places);

    bench.clock.advance(FAILURE);
    bench.http.answer(places[2], Answer::json(&json!({"issuer": issuer})));
    let metadata = bench.discovery.metadata(issuer, &spec).await.expect("the third place has it");
    assert_eq!(metadata.issuer, issuer);

    let root = Bench::new();
    root.look_up().await.expect_err("nothing is there");
    assert_eq!(root.http.requests(), [PLACE, "https://id.example/.well-known/openid-configuration"]);
}

#[tokio::test]
async fn only_the_configured_url_is_asked_and_its_answer_is_not_shared() {
    let bench = Bench::answering(Answer::json(&document()));
    let elsewhere = spec::Discovery {
        url: Some("https://docs.example/metadata.json".into()),
        ..spec::Discovery::default()
    };
    let mut other = document();
    other["token_endpoint"] = json!("https://id.example/other");
    bench.http.answer("https://docs.example/metadata.json", Answer::json(&other));
    let configured = bench.discovery.metadata(ISSUER, &elsewhere).await.expect("a good document");
    let derived = bench.look_up().await.expect("a good document");
    assert_ne!(configured.token, derived.token);
    assert_eq!(bench.http.requests(), ["https://docs.example/metadata.json", PLACE]);
}

#[tokio::test]
async fn an_issuer_that_is_no_plain_https_url_is_never_asked() {
    let bench = Bench::new();
    for issuer in [
        "http://id.example",
        "https://id.example?tenant=1",
        "https://id.example#x",
        "https://user@id.example",
        "ftp://id.example",
        "id.example",
        "",
    ] {
        let error = bench.discovery.metadata(issuer, &spec::Discovery::default()).await;
        assert_eq!(error.expect_err(issuer).kind(), &ErrorKind::InvalidConfig, "{issuer}");
    }
    assert!(bench.http.requests().is_empty());
}

#[tokio::test]
async fn d05_metadata_of_another_issuer_is_refused() {
    for found in [
        "https://id.example/",
        "https://ID.example",
        "http://id.example",
        "https://id.example:443",
        "https://evil.example",
        "https://login.example/{tenantid}/v2.0",
        "",
    ] {
        let error = outcome(&with("issuer", found), &[]).await.expect_err(found);
        assert_eq!(error.kind(), &ErrorKind::IssuerMismatch, "{found}");
        assert_eq!(error.to_string(), format!("metadata of issuer https://id.example names issuer {found}"));
    }
}

#[tokio::test]
async fn d05_a_template_admits_itself_and_one_guid_and_nothing_else() {
    const GUID: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let spec = spec::Discovery {
        issuer_template: Some("https://id.example/{tenantid}/v2.0".into()),
        ..spec::Discovery::default()
    };
    let issuer = "https://id.example/common/v2.0";
    let place = "https://id.example/.well-known/openid-configuration/common/v2.0";
    for (found, admitted) in [
        (issuer.to_owned(), true),
        ("https://id.example/{tenantid}/v2.0".to_owned(), true),
        (format!("https://id.example/{GUID}/v2.0"), true),
        ("https://id.example/other/v2.0".to_owned(), false),
        (format!("https://id.example/{GUID}/x/v2.0"), false),
        (format!("https://evil.example/{GUID}/v2.0"), false),
        (format!("https://id.example/{GUID}/v2.0/"), false),
    ] {
        let bench = Bench::new();
        bench.http.answer(place, Answer::json(&json!({"issuer": found})));
        match bench.discovery.metadata(issuer, &spec).await {
            Ok(metadata) => assert!(admitted && metadata.issuer == found, "{found}"),
            Err(error) => assert!(!admitted && error.kind() == &ErrorKind::IssuerMismatch, "{found}"),
        }
    }
}

#[tokio::test]
async fn d06_endpoints_on_unrelated_origins_are_refused() {
    let fields =
        ["authorization_endpoint", "token_endpoint", "revocation_endpoint", "jwks_uri", "userinfo_endpoint"];
    for field in fields {
        for url in [
            "https://evil.example/x",
            "https://id.example.evil.example/x",
            "https://sub.id.example/x",
            "https://id.example:8443/x",
            "https://id.example@evil.example/x",
        ] {
            let error = outcome(&with(field, url), &["api.example"]).await.expect_err(url);
            assert_eq!(error.kind(), &ErrorKind::EndpointRefused, "{field} {url}");
            assert!(error.to_string().contains(field), "{error}");
        }
    }
    let error = outcome(&with("token_endpoint", "https://evil.example/x"), &[]).await;
    assert_eq!(
        error.expect_err("a foreign host").to_string(),
        "metadata of issuer https://id.example: token_endpoint is on another origin, https://evil.example"
    );
}

#[tokio::test]
async fn d06_endpoints_on_listed_hosts_are_taken() {
    let hosts = ["api.example", "keys.example:8443"];
    for url in ["https://api.example/k", "https://keys.example:8443/k", "https://id.example:443/k"] {
        outcome(&with("jwks_uri", url), &hosts).await.expect(url);
    }
    for url in ["https://api.example:8443/k", "https://keys.example/k"] {
        outcome(&with("jwks_uri", url), &hosts).await.expect_err(url);
    }
}

#[tokio::test]
async fn d06_endpoints_that_are_not_plain_https_are_refused() {
    for url in [
        "http://id.example/x",
        "http://127.0.0.1/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "myapp://id.example/x",
        "https://id.example/x#fragment",
        "https://user:pw@id.example/x",
        "https://id.example/$(calc)",
        "https://id.example/;calc|`calc`",
        "https://id.example/ x",
        "/token",
        "",
    ] {
        let error = outcome(&with("authorization_endpoint", url), &[]).await.expect_err(url);
        assert_eq!(error.kind(), &ErrorKind::EndpointRefused, "{url}");
    }
}

#[tokio::test]
async fn plain_http_is_for_issuers_on_loopback() {
    let bench = Bench::new();
    let issuer = "http://127.0.0.1:8080";
    let document = json!({"issuer": issuer, "token_endpoint": "http://127.0.0.1:8080/token"});
    bench
        .http
        .answer("http://127.0.0.1:8080/.well-known/oauth-authorization-server", Answer::json(&document));
    let metadata = bench.discovery.metadata(issuer, &spec::Discovery::default()).await;
    assert!(metadata.expect("a good document").token.is_some());
}
