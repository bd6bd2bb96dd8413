//! The provider of `tests/oidc-provider`: its clients, and the calls that only tests may make. See its README.

use serde::Deserialize;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};
use vault_core::ClientSecret;
use vault_core::connector::{ClientAuth, NewConnector};
use vault_core::entropy::{Entropy as _, SystemEntropy};

use super::http;

/// A client of one test's own, so that tests do not see each other's calls and faults.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
    auth: ClientAuth,
    metadata: Value,
}

impl Client {
    fn new(id: &str, auth: ClientAuth, metadata: Value) -> Self {
        let secret = (auth != ClientAuth::None).then(|| format!("secret-{}", random()));
        Self { id: format!("{id}-{}", random()), secret, auth, metadata }
    }

    pub(crate) fn basic() -> Self {
        Self::new("basic", ClientAuth::Basic, json!({}))
    }

    pub(crate) fn post() -> Self {
        Self::new("post", ClientAuth::Post, json!({ "token_endpoint_auth_method": "client_secret_post" }))
    }

    pub(crate) fn public() -> Self {
        Self::new("public", ClientAuth::None, json!({ "token_endpoint_auth_method": "none" }))
    }

    /// Id and secret work only when they are form-urlencoded before they go into the header (RFC 6749 section 2.3.1).
    pub(crate) fn odd() -> Self {
        let client = Self::new("odd:id/ +&%", ClientAuth::Basic, json!({}));
        Self { secret: client.secret.map(|secret| format!("{secret}:/ +&%=?~")), ..client }
    }

    /// Its access tokens live for two seconds.
    pub(crate) fn short() -> Self {
        Self::new("short", ClientAuth::Basic, json!({ "test_access_ttl": 2 }))
    }

    /// As the operator of a vault registers it.
    pub(crate) fn connect(&self, connector: NewConnector) -> NewConnector {
        match &self.secret {
            Some(secret) => connector.client(&self.id, ClientSecret::new(secret)).client_auth(self.auth),
            None => connector.public_client(&self.id),
        }
    }
}

/// What the provider counted for one client.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Stats {
    pub(crate) token_calls: u64,
    pub(crate) refresh_calls: u64,
    pub(crate) refresh_ok: u64,
    pub(crate) revocations: u64,
    pub(crate) reuse_detected: u64,
    pub(crate) max_in_flight: u64,
}

#[derive(Debug)]
pub(crate) struct OidcProvider {
    issuer: String,
}

impl OidcProvider {
    /// The one that is running.
    pub(crate) fn running() -> Self {
        let issuer = std::env::var("VAULT_TEST_OIDC");
        let issuer = issuer.expect("VAULT_TEST_OIDC names the real provider: run this by `cargo xtask test`");
        Self { issuer }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Registers a client, or gives a registered one another secret.
    pub(crate) async fn register(&self, client: &Client) {
        let mut metadata = client.metadata.clone();
        metadata["client_id"] = client.id.as_str().into();
        if let Some(secret) = &client.secret {
            metadata["client_secret"] = secret.as_str().into();
        }
        self.call("POST", "/__test/clients", &[], &metadata.to_string()).await;
    }

    pub(crate) async fn stats(&self, client: &Client) -> Stats {
        let stats = self.call("GET", "/__test/stats", &[("client", &client.id)], "").await;
        serde_json::from_value(stats).expect("counters")
    }

    /// The client's calls, as the provider saw them.
    pub(crate) async fn log(&self, client: &Client) -> Vec<Value> {
        let log = self.call("GET", "/__test/log", &[], "").await;
        let calls = log.as_array().expect("a log").iter();
        calls.filter(|call| call["client_id"] == client.id.as_str()).cloned().collect()
    }

    /// One of the client's next calls meets this.
    pub(crate) async fn inject(&self, client: &Client, mut fault: Value) {
        fault["client_id"] = client.id.as_str().into();
        self.call("POST", "/__test/faults", &[], &fault.to_string()).await;
    }

    /// The person takes the client's access away, in their settings at the provider.
    pub(crate) async fn take_access_away(&self, person: &str, client: &Client) {
        let whose = [("account", person), ("client", &client.id)];
        let reply = self.call("POST", "/__test/revoke-grants", &whose, "").await;
        assert_eq!(reply["revoked"], 1, "there was access to take away");
    }

    /// Whether a token is good (RFC 7662), as any resource server would ask.
    pub(crate) async fn is_active(&self, token: &str) -> bool {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("client_id", "post"), ("client_secret", "post-secret"), ("token", token)])
            .finish();
        let reply = self.call("POST", "/token/introspection", &[], &form).await;
        reply["active"].as_bool().expect("an introspection reply")
    }

    async fn call(&self, method: &str, path: &str, query: &[(&str, &str)], body: &str) -> Value {
        let mut url = Url::parse(&format!("{}{path}", self.issuer)).expect("a URL");
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let form = "content-type: application/x-www-form-urlencoded\r\n";
        let reply = http::send(method, &url, form, body).await;
        assert_eq!(reply.status, 200, "{method} {path}");
        serde_json::from_slice(&reply.body).expect("JSON")
    }
}

/// Eight random bytes in hexadecimal digits.
pub(crate) fn random() -> String {
    let mut bytes = [0; 8];
    SystemEntropy::default().fill(&mut bytes).expect("random bytes");
    format!("{:016x}", u64::from_be_bytes(bytes))
}
