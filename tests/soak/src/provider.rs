use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use vault_core::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use vault_core::secret::SecretBytes;
use vault_core::{ClientSecret, NewConnector, Provider};

/// A provider in this process: new tokens for every request, and of two revocations one is refused at first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moody {
    requests: Arc<AtomicU64>,
    /// Revocations that were refused, tried again and taken.
    settled: Arc<AtomicU64>,
    refused: Arc<Mutex<HashSet<Vec<u8>>>>,
}

impl Moody {
    pub(crate) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// Whether it is to be tried again.
    fn refuses(&self, number: u64, revocation: &[u8]) -> bool {
        let mut refused = self.refused.lock().expect("nobody panics with it");
        if refused.remove(revocation) {
            self.settled.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        number.is_multiple_of(2) && refused.insert(revocation.to_owned())
    }
}

#[async_trait]
impl HttpClient for Moody {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let is_revocation = request.uri().path() == "/revoke";
        let body = if is_revocation {
            "{}".to_owned()
        } else {
            format!(
                r#"{{"access_token":"access-{number}","token_type":"Bearer","expires_in":3600,"refresh_token":"refresh-{number}"}}"#
            )
        };
        let is_refused = is_revocation && self.refuses(number, request.body().expose_secret());
        let reply = http::Response::builder().header("content-type", "application/json");
        let reply = reply.status(if is_refused { 503 } else { 200 });
        Ok(reply.body(SecretBytes::new(body.into_bytes())).expect("a good reply"))
    }
}

pub(crate) fn connector() -> NewConnector {
    let provider = Provider::from_toml(
        r#"
        id = "moody"
        name = "Moody"
        [endpoints]
        authorize = "https://provider.example.com/authorize"
        token = "https://provider.example.com/token"
        revoke = "https://provider.example.com/revoke"
        [refresh_policy]
        min_interval = 0
        "#,
    );
    NewConnector::new("moody", provider.expect("a valid provider file"))
        .client("client", ClientSecret::new("client secret"))
}
