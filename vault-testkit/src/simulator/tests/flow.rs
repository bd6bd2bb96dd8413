use super::*;
use crate::simulator::{Account, ClientAuth, IssParam, TokenKind};

#[tokio::test]
async fn a_code_becomes_tokens_that_open_the_calendar() {
    let sim = Simulator::start().await;
    let url = sim.authorize_url("openid calendar.read");
    let callback = sim.browse(url).as_account("grace").await.expect("a redirect");
    assert!(callback.as_str().starts_with(REDIRECT_URI), "{callback}");
    assert_eq!(query(&callback, "state").as_deref(), Some("canary-state"));
    assert_eq!(query(&callback, "iss").as_deref(), Some(sim.issuer()));

    let reply = sim.exchange(&query(&callback, "code").expect("a code")).await;
    assert_eq!(json(&reply)["token_type"], "Bearer");
    assert_eq!(json(&reply)["expires_in"], 3600);
    assert_eq!(json(&reply)["scope"], "openid calendar.read");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let access = text(&reply, "access_token");
    assert_eq!(json(&sim.get("/userinfo", &access).await)["email"], "grace@example.com");
    let calendar = json(&sim.get("/calendar", &access).await);
    assert_eq!(calendar["account"], "grace@example.com");
    assert_eq!(calendar["events"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn the_calendar_wants_a_live_token_of_the_right_scope() {
    let (builder, hands) = timed();
    let sim = builder.start().await.expect("a port");
    let stranger = sim.get("/calendar", "simat_guess").await;
    assert_eq!(stranger.status, 401);
    assert!(stranger.header("www-authenticate").is_some_and(|challenge| challenge.contains("invalid_token")));

    let other_scope = text(&sim.connect("ada", "calendar.write").await, "access_token");
    let refused = sim.get("/calendar", &other_scope).await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.header("www-authenticate").is_some_and(|challenge| challenge.contains("insufficient_scope"))
    );

    let access = text(&sim.connect("ada", "calendar.read").await, "access_token");
    hands.advance(3599);
    assert_eq!(sim.get("/calendar", &access).await.status, 200);
    hands.advance(1);
    assert_eq!(sim.get("/calendar", &access).await.status, 401);
}

#[tokio::test]
async fn a_code_works_once_and_its_reuse_ends_what_came_of_it() {
    let sim = Simulator::start().await;
    let code = sim.code("ada", "calendar.read").await;
    let tokens = sim.exchange(&code).await;
    assert!(sim.is_live(&text(&tokens, "refresh_token")));
    assert_eq!(error(&sim.exchange(&code).await), (400, "invalid_grant".into()));
    assert!(!sim.is_live(&text(&tokens, "refresh_token")));
    assert!(!sim.is_live(&text(&tokens, "access_token")));
}

#[tokio::test]
async fn a_code_expires() {
    let (builder, hands) = timed();
    let sim = builder.start().await.expect("a port");
    let code = sim.code("ada", "calendar.read").await;
    hands.advance(60);
    assert_eq!(error(&sim.exchange(&code).await), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn pkce_and_the_exact_redirect_uri_are_enforced() {
    let sim = Simulator::start().await;
    let exchange = |code: String, uri: &'static str, verifier: &'static str| {
        let sim = sim.clone();
        async move {
            let pairs = [
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", uri),
                ("code_verifier", verifier),
            ];
            sim.post("/token", &pairs).await.expect("a reply").status
        }
    };
    let code = || sim.code("ada", "calendar.read");
    assert_eq!(exchange(code().await, REDIRECT_URI, "another-verifier").await, 400);
    assert_eq!(exchange(code().await, "http://127.0.0.1:9/callback", VERIFIER).await, 400);
    assert_eq!(exchange(code().await, REDIRECT_URI, VERIFIER).await, 200);

    let mut without = sim.authorize_url("");
    without.set_query(Some(&form(&[
        ("response_type", "code"),
        ("client_id", sim.client_id()),
        ("redirect_uri", REDIRECT_URI),
    ])));
    let callback = sim.browse(without).await.expect("a redirect");
    assert_eq!(query(&callback, "error").as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn nothing_is_sent_to_an_app_that_is_unknown() {
    let sim = Simulator::start().await;
    let mut url = sim.authorize_url("calendar.read");
    let query = url.query().unwrap_or_default().replace(sim.client_id(), "stranger");
    url.set_query(Some(&query));
    let failed = sim.browse(url).await.expect_err("no redirect");
    assert!(failed.to_string().contains("status 400"), "{failed}");
}

#[tokio::test]
async fn clients_authenticate_the_way_they_are_registered() {
    use base64::Engine as _;
    let basic = |user: &str, password: &str| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        format!("Basic {pair}")
    };
    let sim = Simulator::start().await;
    sim.add_client("a:b", "s+/%&=é", ClientAuth::Basic);
    sim.add_client("raw", "s+/%&=:é", ClientAuth::BasicRaw);
    sim.add_client("post", "s", ClientAuth::Post);
    sim.add_client("public", "", ClientAuth::None);
    let attempt = |authorization: Option<String>, body: &'static str| {
        let url = sim.url("/token");
        async move {
            let headers: Vec<_> =
                authorization.iter().map(|value| ("authorization", value.as_str())).collect();
            let body = format!("grant_type=refresh_token&refresh_token=none{body}");
            error(&raw::post_form(&url, &headers, &body).await.expect("a reply")).1
        }
    };
    let accepted = "invalid_grant";
    let refused = "invalid_client";
    assert_eq!(attempt(Some(basic("a%3Ab", "s%2B%2F%25%26%3D%C3%A9")), "").await, accepted);
    assert_eq!(attempt(Some(basic("raw", "s+/%&=:é")), "").await, accepted);
    assert_eq!(attempt(Some(basic("raw", "s%2B%2F%25%26%3D%3A%C3%A9")), "").await, refused);
    assert_eq!(attempt(Some(basic("post", "s")), "").await, refused);
    assert_eq!(attempt(None, "&client_id=post&client_secret=s").await, accepted);
    assert_eq!(attempt(None, "&client_id=post&client_secret=t").await, refused);
    assert_eq!(attempt(None, "&client_id=post").await, refused);
    assert_eq!(attempt(None, "&client_id=public").await, accepted);
    let both = attempt(Some(basic("post", "s")), "&client_id=post&client_secret=s").await;
    assert_eq!(both, "invalid_request");
}

#[tokio::test]
async fn the_switches_of_the_authorization_do_what_they_say() {
    let sim = Simulator::start().await;
    sim.switch(|switches| {
        switches.granted_scopes = Some(vec!["calendar.read".into()]);
        switches.account = Some("mallory".into());
        switches.iss = IssParam::Omitted;
    });
    let callback = sim.browse(sim.authorize_url("calendar.read calendar.write")).await.expect("a redirect");
    assert_eq!(query(&callback, "iss"), None);
    let info = sim.describe(&query(&callback, "code").expect("a code")).expect("known");
    assert_eq!((info.account.as_str(), info.kind), ("mallory", TokenKind::Code));
    assert_eq!(info.scopes, ["calendar.read"]);

    sim.switch(|switches| {
        switches.iss = IssParam::Other("https://evil.example".into());
        switches.deny = Some("access_denied".into());
        switches.deny_description = Some("not today".into());
    });
    let callback = sim.browse(sim.authorize_url("calendar.read")).await.expect("a redirect");
    assert_eq!(query(&callback, "iss").as_deref(), Some("https://evil.example"));
    assert_eq!(query(&callback, "error").as_deref(), Some("access_denied"));
    assert_eq!(query(&callback, "error_description").as_deref(), Some("not today"));
    assert_eq!(query(&callback, "code"), None);
}

#[tokio::test]
async fn the_consent_page_asks_and_obeys() {
    let builder = Simulator::builder()
        .interactive(true)
        .name("Cal & Co")
        .accounts([Account::new("zoe").named("<b>Zoë</b>"), Account::new("max")]);
    let sim = builder.start().await.expect("a port");
    let url = sim.authorize_url("calendar.read");
    let page = raw::request("GET", &url, &[], "").await.expect("a reply");
    let html = String::from_utf8(page.body.clone()).expect("text");
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    assert!(html.contains("Cal &amp; Co") && html.contains("&lt;b&gt;Zoë") && !html.contains("<script"));

    let allowed = sim.browse(url.clone()).by_hand().as_account("max").await.expect("a redirect");
    let info = sim.describe(&query(&allowed, "code").expect("a code")).expect("known");
    assert_eq!(info.account, "max");
    let denied = sim.browse(url).by_hand().deny().await.expect("a redirect");
    assert_eq!(query(&denied, "error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn dropping_the_last_handle_or_shutting_down_closes_the_port() {
    let sim = Simulator::start().await;
    let (clone, url) = (sim.clone(), sim.url("/jwks"));
    drop(sim);
    assert_eq!(raw::request("GET", &url, &[], "").await.expect("a reply").status, 200);
    clone.shutdown().await;
    assert!(raw::request("GET", &url, &[], "").await.is_err());
}
