//! A provider inside this process, which costs nothing: so that what is measured is the vault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use vault_core::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use vault_core::secret::SecretBytes;
use vault_core::{Callback, ClientSecret, NewConnector, Provider};

pub const REDIRECT_URI: &str = "https://app.example.com/connect/callback";
/// Never expires during a run.
pub const LIFETIME_SECONDS: u32 = 30 * 24 * 60 * 60;

/// Answers every token request with new tokens; the access token has so many bytes.
#[derive(Debug, Clone)]
pub struct Scripted {
    access_token: Arc<str>,
    requests: Arc<AtomicU64>,
}

impl Scripted {
    pub fn new(token_bytes: usize) -> Self {
        Self { access_token: "x".repeat(token_bytes).into(), requests: Arc::default() }
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl HttpClient for Scripted {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let body = format!(
            r#"{{"access_token":"{}","token_type":"Bearer","expires_in":{LIFETIME_SECONDS},"refresh_token":"refresh-{number:040}"}}"#,
            self.access_token
        );
        let reply = http::Response::builder().header("content-type", "application/json");
        Ok(reply.body(SecretBytes::new(body.into_bytes())).expect("a valid reply"))
    }
}

pub fn connector(name: &str) -> NewConnector {
    let provider = Provider::from_toml(
        r#"
        id = "bench"
        name = "Bench"
        [endpoints]
        authorize = "https://provider.example.com/authorize"
        token = "https://provider.example.com/token"
        [refresh_policy]
        min_interval = 0
        "#,
    );
    NewConnector::new(name, provider.expect("a valid provider"))
        .client("client-id", ClientSecret::new("client-secret"))
        .scopes(["read", "write"])
}

/// What the browser brings back from `authorize_url`, once the user has agreed.
pub fn agree(authorize_url: &url::Url) -> Callback {
    let state = authorize_url.query_pairs().find(|(name, _)| name == "state").expect("a state").1;
    Callback::from_query(format!("code=the-code&state={state}")).expect("a callback")
}
