use super::spec::{PkceMode, Reuse};
use super::*;

const ENDPOINTS: &str = r#"
    [endpoints]
    authorize = "https://as.example/authorize?tenant=1"
    token = "https://as.example/token"
"#;

fn file(more: &str) -> String {
    format!("id = \"acme\"\nname = \"Acme\"\n{more}\n{ENDPOINTS}")
}

fn load(more: &str) -> Result<Provider, Error> {
    Provider::from_toml(&file(more))
}

fn refused(more: &str) -> String {
    let error = load(more).expect_err(more);
    assert_eq!(*error.kind(), ErrorKind::InvalidConfig, "{more}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

fn endpoint_refused(endpoints: &str) -> String {
    let text = format!("id = \"acme\"\nname = \"Acme\"\n[endpoints]\n{endpoints}");
    let error = Provider::from_toml(&text).expect_err(endpoints);
    assert_eq!(*error.kind(), ErrorKind::EndpointRefused, "{endpoints}");
    error.to_string()
}

#[test]
fn l02_unknown_fields_are_named_with_their_path() {
    for (more, path) in [
        ("authorize.pkce.mod = 'required'", "authorize.pkce.mod"),
        ("identiy.source = 'none'", "identiy"),
        ("response.expires.access.pointer = '/x'", "response.expires.access.pointer"),
        ("vars.host.positon = 'path'", "vars.host.positon"),
        ("exchange.params.x = { form = 'callback.y' }", "exchange.params.x"),
        ("errors = [{ statuss = [400] }]", "errors.statuss"),
        ("refresh_policy.reuse = { mode = 'strict', sec = 5 }", "refresh_policy.reuse"),
    ] {
        assert!(refused(more).contains(path), "{more}: {}", refused(more));
    }
    assert_eq!(
        refused("authorize.pkce.mod = 'required'"),
        "provider `acme`: unknown field authorize.pkce.mod"
    );
    assert!(refused("revoke.shape = 'rfc7010'").contains("revoke.shape: "));
    assert!(refused("granular = 'yes'").contains("granular: "));
}

#[test]
fn files_that_are_not_toml_are_refused_by_line() {
    let error = Provider::from_toml("id = \"a\"\nname = ").expect_err("no value");
    assert!(error.to_string().starts_with("line 2: "), "{error}");
}

#[test]
fn d08_insecure_endpoints_are_refused_at_load() {
    let text = endpoint_refused("authorize = 'https://as.example/a'\ntoken = 'http://as.example/t'");
    assert!(text.contains("insecure endpoint `token`"), "{text}");
    let local = "id = 'acme'\nname = 'Acme'\n[endpoints]\nauthorize = 'http://127.0.0.1:9/a'\ntoken = 'http://127.0.0.1:9/t'";
    assert!(Provider::from_toml(local).is_ok());
}

#[test]
fn d09_only_web_schemes() {
    for url in ["javascript:alert(1)", "file:///etc/passwd", "calc://x", "https://as.example/$(calc)"] {
        let text = endpoint_refused(&format!("authorize = '{url}'\ntoken = 'https://as.example/t'"));
        assert!(text.contains("endpoint `authorize`"), "{text}");
    }
}

#[test]
fn c14_endpoints_keep_their_query_and_have_no_fragment() {
    let endpoints = load("").expect("valid").resolve(&Vars::new()).expect("whole");
    assert_eq!(endpoints.authorize.as_str(), "https://as.example/authorize?tenant=1");
    let text = endpoint_refused("authorize = 'https://as.example/a#x'\ntoken = 'https://as.example/t'");
    assert!(text.contains("endpoint `authorize` has a fragment"), "{text}");
}

#[test]
fn c07_provider_files_cannot_set_protected_parameters() {
    for name in ["state", "redirect_uri", "code_challenge", "response_mode", "nonce", "scope", "request"] {
        let text = refused(&format!("authorize.params.{name} = 'x'"));
        assert!(text.contains(&format!("reserved parameter `{name}`")), "{text}");
    }
    let renamed = "authorize.params.client_key = 'x'\nauthorize.rename.client_id = 'client_key'";
    assert!(refused(renamed).contains("reserved parameter `client_key`"));
    assert!(refused("authorize.scope.param = 'scp'\nauthorize.params.scp = 'x'").contains("`scp`"));
    for rename in ["client_id = 'state'", "state = 'st'", "code_challenge = ''", "redirect_uri = ''"] {
        assert!(refused(&format!("authorize.rename.{rename}")).contains("authorize.rename"));
    }
    assert!(load("authorize.params.prompt = 'consent'\nauthorize.rename.response_type = ''").is_ok());
}

#[test]
fn c11_pkce_is_not_weakened_without_a_reason() {
    assert_eq!(load("").expect("valid").spec().authorize.pkce.mode, PkceMode::Required);
    assert!(refused("authorize.pkce.method_label = 'plain'").contains("method_label"));
    assert!(refused("authorize.pkce.mode = 'unsupported'").contains("reason"));
    assert!(refused("authorize.pkce = { mode = 'unsupported', reason = ' ' }").contains("reason"));
    assert!(refused("exchange.rename.code_verifier = ''").contains("code_verifier"));
    assert!(load("authorize.pkce = { mode = 'unsupported', reason = 'they say so' }").is_ok());
    assert!(load("authorize.pkce.method_label = 's256'").is_ok());
}

#[test]
fn what_does_not_hold_together_is_refused() {
    for (more, part) in [
        ("vars.host.position = 'full_host'", "declared and not used"),
        ("endpoints.revoke = 'https://{host}/r'", "undeclared variable `host`"),
        ("errors = [{ regex = '(' }]", "errors[0]"),
        ("errors = [{ class = 'denied' }]", "errors[0]"),
        ("errors = [{ status = [503], class = 'invalid_grant' }]", "never proves"),
        ("errors = [{ ptr = 'error', equals = 'x' }]", "JSON pointer"),
        ("response.fields.access = ['access_token']", "response.fields.access"),
        ("response.fields.access = []", "response.fields.access"),
        ("response.root = 'data'", "JSON pointer"),
        ("response.capture.team = { field = 'team' }", "JSON pointer"),
        ("response.capture.'/team' = {}", "needs a `field`"),
        ("callback.capture.shop = { field = 'shop', var = 'shop' }", "undeclared variable"),
        ("identity.id = ['/a~2']", "identity.id"),
        ("authorize.scope.defaults = ['a b']", "invalid scope at index 0"),
        ("authorize.url_suffix = '&state=x'", "url_suffix"),
        ("authorize.resource = 'https://api.example/#x'", "authorize.resource"),
        ("client_auth.kinds = []", "client_auth.kinds"),
        ("exchange.headers.Authorization = 'x'", "exchange: header `Authorization`"),
        ("refresh.headers.X = \"a\\nb\"", "refresh: header `X`"),
        ("exchange.params.x = { from = 'env.HOME' }", "params.x"),
        ("exchange.params.x = { from = 'conn.team' }", "params.x"),
        ("refresh.params.x = { from = 'callback.team' }", "params.x"),
        ("identity.source = 'graphql'", "identity.call.body"),
        ("present.header = 'a b'", "present.header"),
        ("exchange.params.client_secret = 'x'", "client_secret"),
        ("confidence = 'sure'", "confidence"),
        ("extends = 'google'", "catalog"),
        ("endpoints.discovery = {}", "needs `endpoints.issuer`"),
    ] {
        let (top, more) = match more.split_once("endpoints.") {
            Some(("", inner)) => ("", format!("{ENDPOINTS}\n{inner}")),
            _ => (more, ENDPOINTS.to_owned()),
        };
        let text = format!("id = \"acme\"\nname = \"Acme\"\n{top}\n{more}");
        let error = Provider::from_toml(&text).expect_err(&text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(Provider::from_toml("id = 'A'\nname = 'a'").is_err());
    assert!(Provider::from_toml("id = 'a'\nname = 'a'").is_err());
}

#[test]
fn what_the_engine_cannot_do_is_named() {
    assert_eq!(load("").expect("valid").unsupported(), None);
    for (more, field) in [
        ("authorize.par = true", "authorize.par"),
        ("authorize.jar = true", "authorize.jar"),
        ("authorize.response_mode = 'form_post'", "authorize.response_mode"),
        ("callback.hmac = { param = 'hmac' }", "callback.hmac"),
        ("client_auth.kinds = ['mtls', 'private_key_jwt']", "client_auth.kinds"),
        ("post_exchange = [{}]", "post_exchange"),
        ("refresh_policy.credential = 'access_token'", "refresh_policy.credential"),
        ("identity.source = 'introspection'", "identity.source"),
        ("revoke.shape = 'json_custom'", "revoke.shape"),
        ("present.api_host = 'https://api.example'", "present.api_host"),
    ] {
        let provider = load(more).expect(more);
        assert_eq!(provider.unsupported().as_deref(), Some(field), "{more}");
    }
    assert_eq!(load("client_auth.kinds = ['mtls', 'post']").expect("valid").unsupported(), None);
}

#[test]
fn built_in_files_load_resolve_and_are_supported() {
    let catalog = Catalog::builtin();
    let ids: Vec<&str> = catalog.ids().collect();
    assert_eq!(
        ids,
        [
            "generic_oidc",
            "github",
            "github_oauth_app",
            "gmail",
            "google",
            "google_calendar",
            "google_drive",
            "linkedin",
            "microsoft",
            "slack",
            "slack_bot",
        ]
    );
    for id in ids {
        let provider = catalog.provider(id).expect(id);
        assert_eq!((provider.id(), provider.unsupported()), (id, None));
        assert!(!provider.docs().is_empty(), "{id}");
        assert!(!provider.confidence().0.is_empty() && !provider.confidence().1.is_empty(), "{id}");
        let given = provider.spec().vars.contains_key("host");
        let given = given.then(|| ("host".to_owned(), "id.acme.example".to_owned()));
        let mut vars = vars::check_vars(provider.spec(), given.into_iter().collect(), |_| true).expect(id);
        vars.insert(vars::CLIENT_ID.into(), "Iv1.8a61f9b3a7aba766".into());
        let endpoints = provider.configured(&vars).expect(id);
        if provider.is_discovered() {
            assert_eq!(endpoints.issuer.as_deref(), Some("https://id.acme.example"));
            let missing = endpoints.complete().expect_err("no metadata yet").to_string();
            assert!(missing.starts_with("no authorize endpoint"), "{missing}");
        } else {
            endpoints.complete().expect(id);
        }
    }
}

#[test]
fn variables_reach_the_endpoints() {
    let catalog = Catalog::builtin();
    let with = |name: &str, value: &str| Vars::from([(name.to_owned(), value.to_owned())]);
    let microsoft = catalog.provider("microsoft").expect("built in");
    let endpoints = microsoft.resolve(&with("tenant", "organizations")).expect("valid");
    assert_eq!(endpoints.token.as_str(), "https://login.microsoftonline.com/organizations/oauth2/v2.0/token");
    let error = microsoft.resolve(&with("tenant", "x/../y")).expect_err("hostile");
    assert_eq!(error.to_string(), "invalid value for variable `tenant`");
    let error = microsoft.resolve(&Vars::new()).expect_err("missing");
    assert_eq!(error.to_string(), "missing variable `tenant`");
    let github = catalog.provider("github").expect("built in");
    let endpoints = github.resolve(&with("client_id", "Iv1.8a61")).expect("valid");
    assert_eq!(
        endpoints.revoke.expect("named").as_str(),
        "https://api.github.com/applications/Iv1.8a61/grant"
    );
}

#[test]
fn a_stored_provider_comes_back_whole() {
    let catalog = Catalog::builtin();
    for id in catalog.ids() {
        let provider = catalog.provider(id).expect(id);
        assert_eq!(Provider::from_stored(&provider.to_stored()).expect(id), provider);
    }
    let error = Provider::from_stored("{\"id\":").expect_err("cut");
    assert_eq!(*error.kind(), ErrorKind::CorruptRecord);
    let stored = catalog.provider("slack").expect("built in").to_stored();
    let weakened = stored.replace("https://slack.com", "http://slack.com");
    assert!(Provider::from_stored(&weakened).is_err());
}

#[test]
fn a_server_known_by_its_issuer() {
    let provider = Provider::oidc("acme", "https://id.acme.example/realms/staff/").expect("valid");
    assert_eq!((provider.id(), provider.unsupported()), ("acme", None));
    assert_eq!(provider.spec().authorize.pkce.mode, PkceMode::Required);
    assert_eq!(provider.spec().refresh_policy.reuse, Reuse::Family);
    let endpoints = provider.configured(&Vars::new()).expect("no variables");
    assert_eq!(endpoints.issuer.as_deref(), Some("https://id.acme.example/realms/staff/"));
    assert!(Provider::oidc("acme", "http://[::1]:8080").is_ok());
    for issuer in [
        "http://id.acme.example",
        "https://id.acme.example/?x",
        "https://id.acme.example#x",
        "https://u@id.acme.example",
        "https://{host}/",
        "id.acme.example",
        "",
    ] {
        assert!(Provider::oidc("acme", issuer).is_err(), "{issuer}");
    }
    assert!(Provider::oidc("Acme Inc", "https://id.acme.example").is_err());
}

#[test]
fn c04_a_scope_cannot_hold_the_separator() {
    let slack = Catalog::builtin().provider("slack").expect("built in");
    let error = slack.check_scopes(&["chat:write".into(), "a,b".into()]).expect_err("two in one");
    assert_eq!(error.to_string(), "invalid scope at index 1");
    assert_eq!(slack.check_scopes(&["a".into(), "a".into()]).expect("valid"), ["a"]);
}

#[test]
fn d06_endpoint_hosts_are_names_with_or_without_a_port() {
    let load = |host: &str| {
        Provider::from_toml(&format!(
            "id = 'acme'\nname = 'Acme'\n[endpoints]\nissuer = 'https://as.example'\n\
             discovery.endpoint_hosts = ['{host}']"
        ))
    };
    for host in ["api.example", "api.example:8443", "localhost:9"] {
        assert!(load(host).is_ok(), "{host}");
    }
    for host in
        ["", "*.example", "https://api.example", "api.example/x", "api.example:", "a.example:65536", "a:1:2"]
    {
        let error = load(host).expect_err(host).to_string();
        assert!(error.contains("endpoint_hosts"), "{error}");
    }
}
