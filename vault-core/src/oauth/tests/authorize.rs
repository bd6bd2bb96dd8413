use std::collections::BTreeMap;

use url::Url;

use crate::entropy::{Entropy, EntropyError, SystemEntropy};
use crate::error::{Error, ErrorKind};
use crate::oauth::testing::Fixture;
use crate::oauth::{AuthorizeRequest, new_verifier};
use crate::secret::SecretString;

/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn authorize(spec: &str, extra: &[(&str, &str)]) -> Result<Url, Error> {
    let fixture = Fixture::new(spec);
    let own = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
    fixture.client().authorize_url(&AuthorizeRequest {
        redirect_uri: "https://app.test/cb",
        scopes: &["a".into(), "b".into(), "a".into()],
        state: &SecretString::new("the-state"),
        verifier: Some(&SecretString::new(VERIFIER)),
        nonce: None,
        extra: &extra.iter().map(own).collect(),
    })
}

fn query(spec: &str, extra: &[(&str, &str)]) -> BTreeMap<String, String> {
    let url = authorize(spec, extra).expect("a URL");
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "doubled parameter in {url}");
    map
}

#[test]
fn the_plain_url_is_the_rfcs() {
    let url = authorize("", &[]).expect("a URL");
    assert_eq!(
        url.as_str(),
        "https://as.test/authorize?response_type=code&client_id=id&state=the-state\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256\
         &scope=a+b&redirect_uri=https%3A%2F%2Fapp.test%2Fcb"
    );
}

#[test]
fn h07_the_verifier_is_not_in_the_url() {
    assert!(!authorize("", &[]).expect("a URL").as_str().contains(VERIFIER));
}

#[test]
fn a_providers_differences_are_applied() {
    let spec = "
        [authorize]
        params = { access_type = 'offline', prompt = 'consent' }
        rename = { client_id = 'appid' }
        resource = 'https://api.test/'
        response_mode = 'form_post'
        url_suffix = '#wechat_redirect'
        [authorize.scope]
        separator = ','
        param = 'user_scope'
        required_for_refresh = ['offline', 'b']
        [authorize.pkce]
        method_label = 's256'
        hash = 'hex'
    ";
    let url = authorize(spec, &[("prompt", "none"), ("team", "t")]).expect("a URL");
    assert_eq!(url.fragment(), Some("wechat_redirect"));
    let query = query(spec, &[("prompt", "none"), ("team", "t")]);
    let expected = [
        ("access_type", "offline"),
        ("appid", "id"),
        ("code_challenge", "13d31e961a1ad8ec2f16b10c4c982e0876a878ad6df144566ee1894acb70f9c3"),
        ("code_challenge_method", "s256"),
        ("prompt", "none"),
        ("redirect_uri", "https://app.test/cb"),
        ("resource", "https://api.test/"),
        ("response_mode", "form_post"),
        ("response_type", "code"),
        ("state", "the-state"),
        ("team", "t"),
        ("user_scope", "a,b,offline"),
    ];
    assert_eq!(query, expected.map(|(name, value)| (name.into(), value.into())).into());
}

#[test]
fn parameters_that_do_not_apply_are_left_out() {
    let spec = "
        [authorize]
        redirect_uri = 'omitted'
        scope = { fixed_on_app = true }
        pkce = { mode = 'unsupported', reason = 'confidential client' }
    ";
    let names: Vec<String> = query(spec, &[]).into_keys().collect();
    assert_eq!(names, ["client_id", "response_type", "state"]);
}

#[test]
fn the_connector_cannot_change_what_protects_the_flow() {
    let renamed = "[authorize]\nrename = { client_id = 'appid' }";
    for name in ["state", "redirect_uri", "code_challenge", "nonce", "response_type", "scope", "appid"] {
        let error = authorize(renamed, &[(name, "x")]).expect_err("reserved");
        assert_eq!(error.kind(), &ErrorKind::InvalidInput);
    }
}

#[test]
fn pkce_is_not_left_out_silently() {
    let fixture = Fixture::new("");
    let result = fixture.client().authorize_url(&AuthorizeRequest {
        redirect_uri: "https://app.test/cb",
        scopes: &[],
        state: &SecretString::new("s"),
        verifier: None,
        nonce: None,
        extra: &BTreeMap::new(),
    });
    assert_eq!(result.expect_err("no verifier").to_string(), "PKCE verifier missing");
}

#[test]
fn verifiers_are_long_and_differ() {
    let first = new_verifier(&SystemEntropy).expect("random bytes");
    let second = new_verifier(&SystemEntropy).expect("random bytes");
    assert_ne!(first.expose_secret(), second.expose_secret());
    assert_eq!(first.expose_secret().len(), 43);
    let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    assert!(first.expose_secret().chars().all(unreserved));
}

#[test]
fn without_random_bytes_there_is_no_verifier() {
    #[derive(Debug)]
    struct Broken;
    impl Entropy for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError::new())
        }
    }
    assert!(new_verifier(&Broken).is_err());
}
